"""Index and retirement, whoever dies where: what was interrupted is done again, nothing is lost and nothing doubled."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import Conflict, Unavailable
from shared.observations import Failure, Status
from shared.routing import Route
from tests.unit.worlds import Backend, Crash, Flaky, Fuse, Overtaken, Plan, Stage, Wire, event

CURATE = Route("curate", frozenset({"A.B"}), "{data.table}", "work", {})
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
PLACES = 100
PASSED = (dt.timedelta(minutes=5), 15 * DAY, 2 * HOUR, 15 * DAY, 2 * HOUR)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(CURATE)
    made.actions["work"] = made.backend = Backend(made.clock, {2: Plan(ends=Status.FAILED, failure=Failure.PERMANENT)})
    for table in ("demand", "weather"):
        made.send(*(event(f"{table}-{number}", table=table) for number in range(3)))
    made.send(event("other", "C.D"), event("demand-1", table="demand"), "{")
    made.play()
    yield made
    made.close()


def tick(stage: Stage, wire: Wire | None = None) -> None:
    """One tick of a process that may die, fail or be overtaken in it."""
    with contextlib.suppress(Crash, Unavailable, Conflict):
        stage.process(wire).upkeep.tick()


def whole(stage: Stage) -> dict[str, Any]:
    """All that may not change, whatever happens to a tick."""
    operations = stage.process().operations
    return {
        "counts": operations.counts(),
        "explained": [operations.explain(f"{table}-{n}") for table in ("demand", "weather") for n in range(3)],
        "told": [operations.explain(row["id"]) for row in operations.events() if row["origin"] == "sluice"],
    }


def rest(stage: Stage) -> dict[str, Any]:
    """What is left in the lanes."""
    return {
        f"{lane.route}/{lane.key}": [
            len(stage.lanes.events(lane.name, generation)) for generation in range(1, lane.generation + 1)
        ]
        for lane in stage.lanes.all_lanes()
    }


def undisturbed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether every answer is as it was, but for the deliveries that came meanwhile."""
    came = {"deliveries": len(PASSED), "ignored": len(PASSED)}
    counts = {name: count + came.get(name, 0) for name, count in before["counts"].items()}
    return {**before, "counts": counts} == after


def life(stage: Stage, wire: Wire) -> None:
    """The ticks of a life with one accident, and then of undisturbed ones."""
    for number, passed in enumerate(PASSED):
        stage.clock.time += passed
        stage.process().loop.submit("event_grid", [event(f"meanwhile-{number}", "C.D")]).result()
        tick(stage, wire)
        if getattr(wire, "dead", False):
            wire = Wire()


def test_an_undisturbed_life_empties_the_lanes_and_changes_no_answer(stage: Stage) -> None:
    before = whole(stage)
    assert any(any(left) for left in rest(stage).values())
    wire = Wire()
    life(stage, wire)
    assert PLACES - 20 < len(wire.places) < PLACES
    assert not any(any(left) for left in rest(stage).values())
    assert undisturbed(before, whole(stage))


@pytest.mark.parametrize(("accident", "after"), [(Fuse, True), (Flaky, False), (Flaky, True)])
@pytest.mark.parametrize("at", range(1, PLACES, 2))
def test_whoever_dies_or_fails_anywhere_is_made_good_by_the_next(
    stage: Stage, at: int, accident: Any, after: bool
) -> None:
    before = whole(stage)
    life(stage, accident(at, after=after))
    assert not any(any(left) for left in rest(stage).values())
    assert undisturbed(before, whole(stage))
    answers = stage.process().loop.submit("event_grid", [event("demand-0", table="demand")]).result()
    assert [str(answer.outcome) for answer in answers] == ["duplicate"]


@pytest.mark.parametrize("at", range(1, PLACES, 2))
def test_two_may_do_it_at_once(stage: Stage, at: int) -> None:
    before = whole(stage)
    life(stage, Overtaken(at, lambda: tick(stage)))
    assert not any(any(left) for left in rest(stage).values())
    assert undisturbed(before, whole(stage))


def test_a_tick_says_what_it_has_done(stage: Stage) -> None:
    stage.clock.time += dt.timedelta(minutes=5)
    kept = stage.process().upkeep.tick()
    assert kept.indexed == stage.process().operations.counts()["deliveries"]
    assert not stage.process().upkeep.tick()


def test_the_index_does_not_hold_payloads(stage: Stage) -> None:
    stage.clock.time += dt.timedelta(minutes=5)
    tick(stage)
    kept = b"".join(content for content, _, _ in stage.blobs._blobs.values())
    assert b"eventType" not in kept
    assert json.loads(stage.blobs._blobs["catalog.json"][0])["files"] == {"memory": len(stage.journal._lines)}


def test_a_damaged_record_of_the_journal_hides_no_other(stage: Stage) -> None:
    before, lines = whole(stage)["counts"], stage.journal._lines
    [ignored] = [number for number, line in enumerate(lines) if '"id": "other"' in line]
    lines[ignored] = '{"kind": "deli'
    lines.append("not json, demand-1")
    left = before | {"deliveries": before["deliveries"] - 1, "ignored": before["ignored"] - 1}
    assert whole(stage)["counts"] == left
    stage.clock.time += dt.timedelta(minutes=5)
    assert stage.process().upkeep.tick().indexed == left["deliveries"]
    assert whole(stage)["counts"] == left
