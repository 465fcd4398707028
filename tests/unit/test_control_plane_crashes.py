"""A process may die at any call, before it or after it took effect; an answer may be lost; another may overtake it.

The scenario is played once to count its calls; then once for each call.  Whatever happens, every input is
acknowledged, each attempt has exactly one effect, every run ends, every lane empties and each own event is absorbed
exactly once.
"""

from __future__ import annotations

import collections
import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.flow import Flow
from shared.intake import Outcome
from shared.observations import Failure, Status
from shared.phases import Phase
from shared.requests import own_event_id
from shared.routing import Emits, Route
from shared.runs import Retry
from tests.unit.worlds import Backend, Flaky, Fuse, Overtaken, Plan, Stage, Wire, event

SECOND = dt.timedelta(seconds=1)
CURATE = Route(
    "curate", frozenset({"A.B"}), "demand", "work", {"set": "{manifest.url}"}, guard="compaction",
    flow=Flow(2 * SECOND, 30 * SECOND), timeout=600 * SECOND,
    emits=Emits("Sluice.DatasetPublished", "gold/{key}", {"version": "{result.version}", "table": "{key}"}),
)  # fmt: skip
TRAIN = Route(
    "train", frozenset({"Sluice.DatasetPublished"}), "{data.table}", "unsure", {"v": "{event.data.version}"},
    retry=Retry(2, 3 * SECOND, frozenset({Failure.TRANSIENT})), timeout=600 * SECOND,
)  # fmt: skip
INPUTS = ("1", "2", "compact-3")


def stage(*, exclusive: bool = False) -> Stage:
    """A burst, a duplicate and a late event; curate outlasts several sweeps, train fails once and then succeeds."""
    made = Stage(CURATE, TRAIN)
    long, done = (Plan(seconds=seconds, quiet=seconds, result={"version": 7}) for seconds in (200, 2))
    broken = Plan(seconds=2, quiet=2, ends=Status.FAILED, failure=Failure.TRANSIENT)
    made.backend = Backend(made.clock, {1: long}, exclusive=exclusive)
    made.unsure = Backend(made.clock, {1: broken, 2: done}, exclusive=exclusive)
    made.actions |= {"work": made.backend, "unsure": made.unsure}
    made.send(event("1"))
    made.send(event("2"), at=1)
    made.send(event("1"), at=1.5)
    made.send(event("compact-3"), at=3.5)
    return made


def check(played: Stage) -> None:
    """What must be true of the scenario, whatever happened on the way."""
    assert played.at_rest(), played.unrest()
    assert played.poison == []
    assert [receipt.outcome for receipt in played.receipts if receipt.outcome is Outcome.REJECTED] == []

    curates, trains = played.runs("curate"), played.runs("train")
    sets = [entry["id"] for run in curates for entry in played.set_of(run)]
    assert sorted(sets) == sorted(INPUTS), "every event is in exactly one set"
    assert sorted(played.absorbed("curate", "demand")) == sorted(INPUTS)

    for run in (*curates, *trains):
        assert run.phase in (Phase.SUCCEEDED, Phase.SKIPPED)
        assert not run.event_due
        assert run.reason
        assert run.manifest is not None

    worked = [run for run in curates if run.phase is Phase.SUCCEEDED]
    assert worked
    assert played.backend.attempts() == {(run.id, 1): 1 for run in worked}
    assert played.unsure.attempts() == {(run.id, attempt): 1 for run in trains for attempt in (1, 2)}

    store = played.lanes.store_id
    published = [own_event_id(run, store) for run in worked]
    assert sorted(played.absorbed("train", "demand")) == sorted(published), "own events are absorbed exactly once"
    fed = [entry["id"] for run in trains for entry in played.set_of(run)]
    assert sorted(fed) == sorted(published)
    told = {own_event_id(run, store) for run in (*curates, *trains)}
    assert {heard["id"] for heard in played.listeners.heard} == told, "listeners hear every end"
    assert {record["id"] for record in played.records()} == told | set(INPUTS)


@pytest.fixture(scope="module")
def calls() -> list[str]:
    """Every port call of the undisturbed scenario."""
    return undisturbed(exclusive=False)


def undisturbed(*, exclusive: bool, sweeping: bool = True) -> list[str]:
    wire, played = Wire(), stage(exclusive=exclusive)
    try:
        played.play(wire, sweeping=sweeping)
        check(played)
    finally:
        played.close()
    return wire.places


def disturbed(
    wires: Callable[[Stage], Iterator[Wire] | list[Wire]], *, exclusive: bool = False, sweeping: bool = True
) -> str | None:
    """Play the scenario on these wires; answers what was wrong afterwards."""
    played = stage(exclusive=exclusive)
    try:
        played.play(*wires(played), sweeping=sweeping)
        check(played)
    except AssertionError as error:
        return str(error).splitlines()[0]
    finally:
        played.close()
    return None


def test_the_scenario_reaches_every_port(calls: list[str]) -> None:
    assert {place.split(".")[0] for place in calls} == {
        "journal", "lanes", "due", "bells", "sets", "work", "unsure", "compaction", "listeners", "index",
    }  # fmt: skip
    counted = collections.Counter(calls)
    assert counted["work.start"] == 1, "the compaction alone starts nothing"
    assert counted["unsure.start"] == 2
    assert counted["lanes.hand_over"] == counted["lanes.move"] == 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
def test_a_process_that_dies_at_any_call_loses_and_doubles_nothing(after: bool, exclusive: bool) -> None:
    places, wrong = undisturbed(exclusive=exclusive), []
    for number, place in enumerate(places, 1):
        said = disturbed(lambda _: [Fuse(number, after=after)], exclusive=exclusive)  # noqa: B023
        wrong += [f"call {number}, {place}: {said}"] if said else []
    assert wrong == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
def test_redelivery_alone_resumes_what_a_killed_process_had_in_hand(after: bool, exclusive: bool) -> None:
    """The sweep is for what got lost; a message whose handler died is not lost, and nothing waits for a sweep."""
    places, wrong = undisturbed(exclusive=exclusive, sweeping=False), []
    for number, place in enumerate(places, 1):
        said = disturbed(lambda _: [Fuse(number, after=after)], exclusive=exclusive, sweeping=False)  # noqa: B023
        wrong += [f"call {number}, {place}: {said}"] if said else []
    assert wrong == []


@pytest.mark.parametrize("after", [False, True], ids=["without_effect", "answer_lost"])
@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
def test_any_call_that_does_not_answer_loses_and_doubles_nothing(after: bool, exclusive: bool) -> None:
    """The process lives on, and cannot know whether its call had an effect."""
    places, wrong = undisturbed(exclusive=exclusive), []
    for number, place in enumerate(places, 1):
        said = disturbed(lambda _: [Flaky(number, after=after)], exclusive=exclusive)  # noqa: B023
        wrong += [f"call {number}, {place}: {said}"] if said else []
    assert wrong == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 160), st.booleans()), min_size=2, max_size=6), st.booleans())
def test_processes_that_die_again_and_again_lose_and_double_nothing(
    deaths: list[tuple[int, bool]], exclusive: bool
) -> None:
    assert disturbed(lambda _: [Fuse(at, after=after) for at, after in deaths], exclusive=exclusive) is None


@pytest.mark.parametrize("exclusive", [False, True], ids=["shared", "exclusive"])
def test_a_process_that_is_overtaken_at_any_call_doubles_nothing(exclusive: bool) -> None:
    """The other process is handed every message that can be seen, the one in hand included."""
    places, wrong = undisturbed(exclusive=exclusive), []

    def overtaken(number: int) -> Callable[[Stage], list[Wire]]:
        def wires(played: Stage) -> list[Wire]:
            other = played.process()
            return [Overtaken(number, lambda: played.drain(other))]

        return wires

    for number, place in enumerate(places, 1):
        said = disturbed(overtaken(number), exclusive=exclusive)
        wrong += [f"call {number}, {place}: {said}"] if said else []
    assert wrong == []


def test_a_process_that_is_overtaken_by_a_redelivery_absorbs_it_once(calls: list[str]) -> None:
    """The sender sends its first event again, to another process, at every call."""
    wrong = []
    for number, place in enumerate(calls, 1):

        def wires(played: Stage) -> list[Wire]:
            other = played.process()
            again = lambda: played.receipts.extend(other.loop.submit("event_grid", [event("1")]).result())  # noqa: E731
            return [Overtaken(number, again)]  # noqa: B023

        said = disturbed(wires)
        wrong += [f"call {number}, {place}: {said}"] if said else []
    assert wrong == []
