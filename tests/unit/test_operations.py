"""What operators can ask and do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import NotFound, Unavailable
from shared.flow import Flow
from shared.intake import Outcome
from shared.operations import Operations
from shared.phases import Phase
from shared.requests import own_event_id
from shared.routing import Emits, Route, Routes
from tests.unit.worlds import NOON, Backend, Plan, Stage, event

SECOND = dt.timedelta(seconds=1)
CURATE = Route(
    "curate", frozenset({"A.B"}), "demand", "work", {}, flow=Flow(2 * SECOND, 30 * SECOND), guard="compaction",
    emits=Emits("Sluice.DatasetPublished", "gold/{key}", {"table": "{key}"}),
)  # fmt: skip
TRAIN = Route("train", frozenset({"Sluice.DatasetPublished"}), "{data.table}", "work", {})
RELEASE = Route("release", frozenset({"Image.Pushed"}), "{data.repository}", "outside", {})


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A chain of three: curate tells train, and an image from outside continues the chain with a release."""
    made = Stage(CURATE, TRAIN, RELEASE)
    yield made
    made.close()


def ask(stage: Stage) -> Operations:
    return stage.process().operations


def ids(rows: Any) -> list[str]:
    return [row["id"] for row in rows]


def plain(answer: Any) -> None:
    """Every answer can be printed as JSON."""
    assert json.loads(json.dumps(answer)) == answer


# -- events and counts ---------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(stage: Stage) -> Stage:
    """One delivery of each outcome and more, a second apart."""
    for seconds, payload in enumerate([event("1"), event("2", "E.F"), "{", event("1"), event("3")]):
        stage.send(payload, at=seconds)
    stage.play()
    return stage


def test_deliveries_are_listed_newest_first_with_outcome_and_reason(mixed: Stage) -> None:
    rows = [row for row in ask(mixed).events() if row["origin"] == "event_grid"]
    plain(rows)
    assert [(row["id"], row["outcome"]) for row in rows] == [
        ("3", "routed"), ("1", "duplicate"), (None, "rejected"), ("2", "ignored"), ("1", "routed"),
    ]  # fmt: skip
    assert [row["reason"].split(",")[0].split(":")[0] for row in rows] == [
        "curate", "curate", "the body is not JSON", "no route listens to E.F", "curate",
    ]  # fmt: skip
    assert rows[0] == {
        "received": (NOON + 4 * SECOND).isoformat(), "id": "3", "type": "A.B", "subject": "x/demand",
        "outcome": "routed", "reason": "curate: lane demand, generation 2", "origin": "event_grid",
        "reference": "memory@4",
    }  # fmt: skip


def test_what_is_derived_later_agrees_with_the_receipts(mixed: Stage) -> None:
    listed = {row["reference"]: row["outcome"] for row in ask(mixed).events()}
    assert len(mixed.receipts) == 5
    assert {receipt.reference: receipt.outcome for receipt in mixed.receipts}.items() <= listed.items()


@pytest.mark.parametrize("outcome", [*Outcome, "routed"])
def test_deliveries_can_be_narrowed_to_one_outcome(mixed: Stage, outcome: str) -> None:
    rows = ask(mixed).events(outcome)
    assert rows
    assert {row["outcome"] for row in rows} == {str(outcome)}


@pytest.mark.parametrize("limit", [1, "2", 3])
def test_deliveries_can_be_limited_to_the_newest(mixed: Stage, limit: Any) -> None:
    operations = ask(mixed)
    assert operations.events(limit=limit) == operations.events()[: int(limit)]
    assert len(operations.events("routed", limit)) == int(limit)


@pytest.mark.parametrize(("outcome", "limit"), [("lost", 50), (None, "many"), (None, 0), (None, -1), (None, "")])
def test_an_outcome_or_limit_that_is_none_is_an_error_of_the_caller(
    mixed: Stage, outcome: str | None, limit: Any
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ask(mixed).events(outcome, limit)


def test_counts_add_up_to_all_deliveries(mixed: Stage) -> None:
    counts = ask(mixed).counts()
    plain(counts)
    assert counts == {"deliveries": 9, "routed": 4, "ignored": 3, "duplicate": 1, "rejected": 1}
    assert counts["deliveries"] == sum(counts[outcome] for outcome in Outcome)


def test_an_empty_store_answers_with_nothing(stage: Stage) -> None:
    operations = ask(stage)
    assert (operations.events(), operations.runs(), operations.lanes()) == ([], [], [])
    assert operations.counts() == {"deliveries": 0, "routed": 0, "ignored": 0, "duplicate": 0, "rejected": 0}


def test_a_delivery_that_was_never_acknowledged_says_so(stage: Stage) -> None:
    def absorb(*_: Any) -> Any:
        raise Unavailable("no answer")

    stage.lanes.absorb = absorb  # type: ignore[method-assign]
    process = stage.process()
    with pytest.raises(Unavailable):
        process.loop.submit("event_grid", [event("1")]).result()
    (row,) = process.operations.events()
    assert row["reason"] == "curate: not absorbed: it was refused, or never acknowledged"


# -- runs, lanes, health -------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_as_plain_data(stage: Stage) -> None:
    stage.backend = stage.actions["work"] = Backend(stage.clock, {1: Plan(result={"n": 1})})
    stage.send(event("1"))
    stage.play()
    rows = ask(stage).runs()
    plain(rows)
    assert [(row["route"], row["phase"]) for row in rows] == [("train", "succeeded"), ("curate", "succeeded")]
    curate = rows[1]
    assert curate["created"] == (NOON + 2 * SECOND).isoformat()
    assert curate["ended"] == (NOON + 5 * SECOND).isoformat()
    assert (curate["attempt"], curate["generation"], curate["key"]) == (1, 1, "demand")
    assert curate["remote"] == {"id": "remote-0", "url": None}
    assert curate["result"] == {"n": 1, "guard": {"proceed": True, "reason": "data"}}


def test_lanes_say_what_they_collect_for_what_they_wait_and_what_runs(stage: Stage) -> None:
    process = stage.process()
    for number in range(3):
        process.loop.submit("event_grid", [event(str(number))]).result()
    stage.work(process)
    (settling,) = process.operations.lanes()
    assert settling == {
        "route": "curate", "key": "demand", "generation": 1, "collecting": 3, "running": [], "queued": [],
        "approval": [], "waits_until": (NOON + 2 * SECOND).isoformat(),
    }  # fmt: skip
    while not stage.runs():
        stage.step(process)
    process.loop.submit("event_grid", [event("late")]).result()
    (busy,) = process.operations.lanes()
    assert (busy["running"], busy["generation"], busy["collecting"], busy["waits_until"]) == ([1], 2, 1, None)
    stage.play()
    assert [(lane["route"], lane["collecting"], lane["running"]) for lane in ask(stage).lanes()] == [
        ("curate", 0, []), ("train", 0, []),
    ]  # fmt: skip
    plain(ask(stage).lanes())


def test_health_names_the_store_and_the_rules_in_force(stage: Stage) -> None:
    assert ask(stage).health() == {
        "status": "ok", "store": stage.lanes.store_id, "rules": "digest", "routes": ["curate", "train", "release"],
    }  # fmt: skip


# -- explain -------------------------------------------------------------------------------------------------------


@pytest.fixture
def chain(stage: Stage) -> Stage:
    """Two events, a curation, a training, an image pushed from outside that knows its chain, its release."""
    stage.send(event("1"), event("2"))
    stage.play()
    stage.actions["outside"] = Backend(stage.clock, {1: Plan(correlation=stage.runs("train")[0].correlation)})
    stage.clock.pass_(10)
    stage.send(event("image", "Image.Pushed", repository="demand"), at=1000)
    stage.play()
    return stage


def test_an_event_is_explained_forwards_from_its_run_to_the_last_of_the_chain(chain: Stage) -> None:
    told = ask(chain).explain("1")
    plain(told)
    assert [row["outcome"] for row in told["deliveries"]] == ["routed"]
    assert told["because"] == [], "it came from outside"
    (curate,) = told["led_to"]
    (train,) = curate["led_to"]
    (release,) = train["led_to"]
    assert [step["route"] for step in (curate, train, release)] == ["curate", "train", "release"]
    assert [step["phase"] for step in (curate, train, release)] == ["succeeded"] * 3
    assert curate["told"] == own_event_id(chain.runs("curate")[0], chain.lanes.store_id)
    assert curate["history"][-1].endswith("succeeded: remote-0 has succeeded")
    assert release["led_to"] == []


def test_both_events_of_a_set_led_to_its_run(chain: Stage) -> None:
    operations = ask(chain)
    assert operations.explain("1")["led_to"] == operations.explain("2")["led_to"]


def test_an_end_is_explained_backwards_to_the_events_that_began_the_chain(chain: Stage) -> None:
    release = chain.runs("release")[0]
    told = ask(chain).explain(own_event_id(release, chain.lanes.store_id))
    plain(told)
    (because,) = told["because"]
    assert because["run"] == release.id
    (image,) = because["events"]
    assert image["id"] == "image"
    (train,) = image["because"]
    (published,) = train["events"]
    (curate,) = published["because"]
    assert (train["route"], curate["route"]) == ("train", "curate")
    assert [(item["id"], item["because"]) for item in curate["events"]] == [("1", []), ("2", [])]


def test_an_event_in_the_middle_is_explained_both_ways(chain: Stage) -> None:
    told = ask(chain).explain(own_event_id(chain.runs("curate")[0], chain.lanes.store_id))
    assert [step["route"] for step in told["because"]] == ["curate"]
    assert [step["route"] for step in told["led_to"]] == ["train"]
    assert ask(chain).explain("image")["because"][0]["route"] == "train"


def test_every_delivery_of_an_event_is_shown_oldest_first(mixed: Stage) -> None:
    assert [row["outcome"] for row in ask(mixed).explain("1")["deliveries"]] == ["routed", "duplicate"]


def test_what_is_still_collected_says_so(stage: Stage) -> None:
    process = stage.process()
    process.loop.submit("event_grid", [event("1")]).result()
    assert process.operations.explain("1")["led_to"] == [
        {"route": "curate", "key": "demand", "generation": 1, "phase": "collecting"}
    ]


def test_what_was_ignored_led_to_nothing_and_says_why(mixed: Stage) -> None:
    told = ask(mixed).explain("2")
    assert (told["because"], told["led_to"]) == ([], [])
    assert told["deliveries"][0]["reason"] == "no route listens to E.F"


def test_an_event_that_is_not_in_the_journal_is_not_found(mixed: Stage) -> None:
    for asked in (ask(mixed).explain, ask(mixed).replay):
        with pytest.raises(NotFound, match="'nobody'"):
            asked("nobody")


def test_runs_that_were_skipped_are_no_chain(stage: Stage) -> None:
    """A run that never got as far as a request has no chain; two of them have nothing to do with each other."""
    stage.send(event("compact-1"))
    stage.send(event("compact-2"), at=100)
    stage.play()
    assert [run.phase for run in stage.runs()] == [Phase.SKIPPED, Phase.SKIPPED]
    operations = ask(stage)
    assert [run["generation"] for run in operations.explain("compact-1")["led_to"]] == [1]
    assert operations.explain("compact-1")["led_to"][0]["led_to"] == []
    assert operations.explain("compact-2")["because"] == []


def test_two_events_that_share_an_id_are_both_explained(stage: Stage) -> None:
    """Workspace events of one job can share an id; type and subject tell them apart."""
    stage.send(event("same"))
    stage.send(event("same", "Image.Pushed", repository="demand"), at=100)
    stage.actions["outside"] = Backend(stage.clock)
    stage.play()
    told = ask(stage).explain("same")
    assert [step["route"] for step in told["led_to"]] == ["curate", "release"]


# -- training ------------------------------------------------------------------------------------------------------


def test_a_training_is_asked_for_by_an_event_like_any_other(stage: Stage) -> None:
    types, options = frozenset({"Sluice.TrainingRequested"}), {"why": "{event.data.reason}"}
    asked = dataclasses.replace(TRAIN, types=types, options=options)
    stage.routes = Routes((asked,), "asked")
    told = ask(stage).train("demand", "ada", "the holidays are over")
    plain(told)
    assert told["outcome"] == "routed"
    stage.play()
    (run,) = stage.runs("train")
    assert run.key == "demand"
    assert run.request is not None
    assert run.request["options"] == {"why": "ada asked for it: the holidays are over"}


def test_a_training_that_no_route_takes_says_so(stage: Stage) -> None:
    told = ask(stage).train("demand", "ada")
    assert told["outcome"] == "ignored"
    assert "no route listens to Sluice.TrainingRequested" in told["said"]
    with pytest.raises(ValueError, match="on which table"):
        ask(stage).train("", "ada")


# -- replay --------------------------------------------------------------------------------------------------------


def test_a_replay_joins_what_the_event_has_already_started(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    told = ask(stage).replay("1")
    plain(told)
    assert [receipt["outcome"] for receipt in told["receipts"]] == ["duplicate"]
    assert [step["route"] for step in told["led_to"]] == ["curate"]
    stage.play()
    assert len(stage.runs("curate")) == 1
    assert len(stage.backend.effects) == 2


def test_a_replay_goes_by_todays_routes_and_is_explained_like_any_delivery(stage: Stage) -> None:
    every = stage.routes
    stage.routes = Routes((), "none")
    stage.send(event("1"))
    stage.play()
    assert stage.runs() == []
    stage.routes = every
    told = ask(stage).replay("1")
    assert [receipt["outcome"] for receipt in told["receipts"]] == ["routed"]
    assert [step["phase"] for step in told["led_to"]] == ["collecting"]
    stage.play()
    assert [run.phase for run in stage.runs()] == [Phase.SUCCEEDED] * 2
    explained = ask(stage).explain("1")
    assert [row["outcome"] for row in explained["deliveries"]] == ["ignored", "routed"]
    assert [step["route"] for step in explained["led_to"]] == ["curate"]


def test_a_replay_is_on_record(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    ask(stage).replay("1")
    (note,) = stage.records("replay")
    assert (note["event"], note["reference"]) == ("1", "memory@0")
    assert [record["origin"] for record in stage.records() if record["id"] == "1"] == ["event_grid", "replay"]


def test_a_rejected_delivery_that_has_an_id_can_be_replayed_and_is_rejected_again(stage: Stage) -> None:
    stage.send('{"id": "odd", "eventType": "A.B", "eventTime": "yesterday"}')
    stage.play()
    (receipt,) = ask(stage).replay("odd")["receipts"]
    assert receipt["outcome"] == "rejected"
    assert "time" in receipt["reason"]


def test_a_replay_that_the_store_cannot_take_is_an_error(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()

    async def append(*_: Any) -> Any:
        raise Unavailable("no answer")

    stage.journal.append = append  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        ask(stage).replay("1")


# -- poison --------------------------------------------------------------------------------------------------------


def test_a_message_that_the_host_gave_up_on_is_on_record_and_told(stage: Stage) -> None:
    ask(stage).note_poison("sluice-run", b'{"route": "\xff"}')
    (note,) = stage.records("poison")
    assert (note["queue"], note["body"]) == ("sluice-run", '{"route": "\ufffd"}')
    assert note["received"] == NOON.isoformat()
    assert [name for name, _, _ in stage.telemetry.events] == ["poison message"]
    assert ask(stage).counts()["deliveries"] == 0, "a note is no delivery"
