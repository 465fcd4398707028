"""What a run asks of its backend, and the event that it raises when it ends."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from shared import requests, runs
from shared.events import Event, parse
from shared.observations import Observation, Remote, Status
from shared.phases import Phase
from shared.requests import Newest
from shared.routing import Emits, Route
from shared.runs import Retry, Run
from shared.templates import Missing

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
STORE = "0123456789abcdef0123456789abcdef"
MANIFEST = {"url": "https://store/sets/1.json", "sha256": "ab" * 32, "count": 3}
SETTINGS = {"lake_account": "lake"}


def event(data: dict[str, Any] | None = None) -> Event:
    (read,) = parse(json.dumps({"id": "e1", "eventType": "A.B", "subject": "s/t", "data": data or {}}))
    assert isinstance(read, Event)
    return read


def run() -> Run:
    return runs.opened("curate", "demand", 4, "quiet", NOON)


def route(options: dict[str, Any] | None = None, emits: Emits | None = None) -> Route:
    return Route("curate", frozenset({"A.B"}), "{subject}", "emit", options or {}, emits=emits)


def freeze(options: dict[str, Any], newest: Event | None = None, bindings: dict[str, str] | None = None) -> Any:
    held = Newest(newest, bindings or {}, {"B": newest}.get)
    return requests.freeze(run(), route(options), MANIFEST, held, "chain", SETTINGS)


def ended(phase: Phase, result: dict[str, Any] | None = None) -> Run:
    """A run that has come to this end."""
    starting = runs.prepared(run(), MANIFEST, {"token": "t"}, "chain", NOON)
    if phase is Phase.FAILED:
        return runs.refused(starting, "no permission", NOON)
    if phase is Phase.SKIPPED:
        return runs.skipped(run(), MANIFEST, "only compaction", NOON)
    status = Status.SUCCEEDED if phase is Phase.SUCCEEDED else Status.CANCELLED
    seen = Observation(status, "as told", result=result or {})
    return runs.observed(runs.started(starting, Remote("17"), NOON), seen, NOON + dt.timedelta(minutes=5), Retry())


# -- the chain -----------------------------------------------------------------------------------------------------


def test_a_chain_begins_with_the_identity_of_its_first_event() -> None:
    assert requests.correlation(event(), "f00") == "f00"
    assert requests.correlation(None, "f00") == "f00"


def test_our_own_events_carry_their_chain_on() -> None:
    assert requests.correlation(event({"Correlation": "older"}), "f00") == "older"


@pytest.mark.parametrize("carried", ["", None, 5, ["x"], {"a": 1}])
def test_what_is_no_chain_begins_one(carried: Any) -> None:
    assert requests.correlation(event({"correlation": carried}), "f00") == "f00"


# -- the request ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{key}", "demand"),
        ("{run.id}", run().id),
        ("{run.generation}", 4),
        ("{run.correlation}", "chain"),
        ("{manifest.url}", MANIFEST["url"]),
        ("{manifest.sha256}", MANIFEST["sha256"]),
        ("{manifest.count}", 3),
        ("abfss://gold@{settings.lake_account}.dfs/{key}", "abfss://gold@lake.dfs/demand"),
        ("{event.subject}", "s/t"),
        ("{event.data.gold_version}", 7),
        ("{event.data.Gold_Version}", 7),
        ("{version}", "00041"),
        (-1, -1),
    ],
)
def test_an_option_may_name_everything_that_is_known_of_the_run(template: Any, value: Any) -> None:
    request = freeze({"x": {"deep": [template]}}, event({"gold_version": 7}), {"version": "00041"})
    assert request["options"] == {"x": {"deep": [value]}}


@pytest.mark.parametrize("template", ["{event.data.none}", "{settings.none}", "{none}", "{result.x}", "{event}"])
def test_an_option_without_a_value_is_named(template: str) -> None:
    with pytest.raises(Missing) as caught:
        freeze({"x": template}, event())
    assert caught.value.name == template.strip("{}")


def test_an_option_over_an_event_needs_an_event() -> None:
    with pytest.raises(Missing):
        freeze({"x": "{event.id}"}, None)


def test_an_option_may_name_the_newest_event_of_a_type_in_the_set() -> None:
    assert freeze({"x": "{set.B.data.v}"}, event({"v": 7}))["options"] == {"x": 7}
    with pytest.raises(Missing):
        freeze({"x": "{set.C.data.v}"}, event({"v": 7}))


def test_a_request_says_for_which_run_set_and_chain_it_is() -> None:
    request = freeze({"a": 1})
    assert request == {
        "action": "emit", "run": run().id, "manifest": MANIFEST, "correlation": "chain", "options": {"a": 1},
    }  # fmt: skip


def test_attempts_differ_in_number_and_token_alone() -> None:
    frozen = freeze({"a": 1})
    first, second = (requests.numbered(frozen, STORE, run(), attempt) for attempt in (1, 2))
    again = requests.numbered(first, STORE, run(), 2)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["token"] != second["token"]
    assert {**first, "attempt": 0, "token": ""} == {**second, "attempt": 0, "token": ""}
    assert again == second, "a retry numbers the request of the last attempt"
    assert first["token"] == runs.token(STORE, "curate", "demand", 4, 1)


def test_a_wiped_store_never_meets_old_tokens() -> None:
    assert requests.numbered({}, STORE, run(), 1) != requests.numbered({}, "f" * 32, run(), 1)


# -- our own event -------------------------------------------------------------------------------------------------

EMITS = Emits("Sluice.DatasetPublished", "gold/{key}", {"version": "{result.gold_version}", "of": "{run.id}"})


def told(phase: Phase, emits: Emits | None = None, result: dict[str, Any] | None = None) -> dict[str, Any]:
    return requests.own_event(ended(phase, result), route(emits=emits), STORE, SETTINGS)


@pytest.mark.parametrize(
    ("phase", "type_"),
    [
        (Phase.SUCCEEDED, "Sluice.RunSucceeded"), (Phase.FAILED, "Sluice.RunFailed"),
        (Phase.SKIPPED, "Sluice.RunSkipped"), (Phase.CANCELLED, "Sluice.RunCancelled"),
    ],
)  # fmt: skip
def test_every_end_raises_an_event_with_its_reason(phase: Phase, type_: str) -> None:
    body = told(phase)
    assert (body["eventType"], body["subject"]) == (type_, f"runs/{run().id}")
    assert body["data"]["reason"] == ended(phase).reason
    assert (body["data"]["run"], body["data"]["route"], body["data"]["key"]) == (run().id, "curate", "demand")


def test_a_success_raises_what_the_route_emits() -> None:
    body = told(Phase.SUCCEEDED, EMITS, {"gold_version": 7, "more": "x"})
    assert (body["eventType"], body["subject"]) == ("Sluice.DatasetPublished", "gold/demand")
    assert (body["data"]["version"], body["data"]["of"]) == (7, run().id)
    assert body["data"]["correlation"] == "chain"
    assert "more" not in body["data"]


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.SKIPPED, Phase.CANCELLED])
def test_what_the_route_emits_is_for_success_alone(phase: Phase) -> None:
    assert told(phase, EMITS)["eventType"] == f"Sluice.Run{phase.capitalize()}"


def test_an_event_that_lacks_a_value_is_told_as_a_plain_success_with_the_fault() -> None:
    body = told(Phase.SUCCEEDED, EMITS, {"other": 1})
    assert body["eventType"] == "Sluice.RunSucceeded"
    assert body["data"]["fault"] == (
        "Sluice.DatasetPublished was not raised: it needs result.gold_version, which has no value"
    )
    assert body["data"]["other"] == 1


def test_an_event_without_a_subject_of_its_own_is_about_the_run() -> None:
    assert told(Phase.SUCCEEDED, Emits("Sluice.X"))["subject"] == f"runs/{run().id}"


def test_a_result_cannot_pass_for_the_runs_own_facts() -> None:
    body = told(Phase.SUCCEEDED, None, {"run": "another", "correlation": "another"})
    assert (body["data"]["run"], body["data"]["correlation"]) == (run().id, "chain")


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.final])
def test_telling_twice_is_telling_once(phase: Phase) -> None:
    first, again = parse(json.dumps([told(phase), told(phase)]))
    assert isinstance(first, Event)
    assert isinstance(again, Event)
    assert first.identity == again.identity
    assert first.id == requests.own_event_id(ended(phase), STORE)
    assert first.time == ended(phase).ended_at


def test_the_events_of_two_runs_or_two_stores_are_never_one() -> None:
    other = dataclasses.replace(ended(Phase.FAILED), generation=5)
    ids = {requests.own_event_id(*pair) for pair in [(ended(Phase.FAILED), STORE), (other, STORE), (other, "f" * 32)]}
    assert len(ids) == 3


def test_each_end_of_a_run_has_an_id_of_its_own_and_the_first_is_as_it_always_was() -> None:
    failed = ended(Phase.FAILED)
    again = runs.reopened(runs.told(failed), {"token": "t2"}, "asked for", NOON, None)
    first, second = requests.own_event_ids(runs.refused(runs.admitted(again, "free", NOON), "no", NOON), STORE)
    assert first == requests.own_event_id(failed, STORE) == f"{failed.id}-{STORE[:8]}"
    assert second == f"{first}-2"


def test_a_join_that_was_missed_raises_its_own_event_and_says_what_is_missing() -> None:
    missed = runs.passed_over(run(), "C.D did not come", NOON, ("C.D",))
    told = requests.own_event(missed, route(), STORE, SETTINGS)
    assert (told["eventType"], told["data"]["missing"]) == ("Sluice.JoinMissed", ["C.D"])
