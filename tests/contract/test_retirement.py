"""What retirement promises: what is old leaves the lanes, nothing is taken in twice, and no set is lost."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from shared import lanes as flow
from shared import runs
from shared.flow import Flow
from shared.lanes import LaneKey
from shared.observations import Failure, Status
from shared.routing import Route
from shared.runs import Phase, Run
from tests.contract.conftest import Store
from tests.contract.plants import DAY, Plant, payload
from tests.unit.worlds import Plan

SECOND = dt.timedelta(seconds=1)
CURATE = Route("curate", frozenset({"A.B"}), "demand", "work", {}, flow=Flow(2 * SECOND, 60 * SECOND))
LANE = LaneKey("curate", "demand")


@pytest.fixture
def plant(fresh: Store) -> Plant:
    return Plant(fresh, CURATE)


def run_of(plant: Plant, generation: int) -> Run:
    found = plant.store.lanes.run(LANE, generation)
    assert found is not None
    return found[0]


def age(plant: Plant) -> int:
    """Let everything that has ended become old, and retire it; answers how many rows went."""
    plant.tick()
    return sum(plant.tick(passed).retired for passed in (15 * DAY, dt.timedelta(hours=2)))


def set_of(plant: Plant, run: Run) -> list[str]:
    name = str((run.manifest or {})["url"]).partition("sets/")[2]
    return [entry["id"] for entry in json.loads(plant.store.sets.read(name))["events"]]


def test_pages_and_dedupe_rows_leave_the_lane_and_its_runs_stay(plant: Plant) -> None:
    plant.receive([payload(plant, f"e{number}") for number in range(250)])
    plant.work()
    identities = [event.identity for event in plant.store.lanes.events(LANE, 1)]
    assert age(plant) == 250
    assert plant.store.lanes.events(LANE, 1) == []
    assert plant.store.lanes.absorbed(LANE, identities) == {}
    assert run_of(plant, 1).phase is Phase.SUCCEEDED
    assert len(set_of(plant, run_of(plant, 1))) == 250


def test_a_duplicate_of_what_was_retired_joins_it(plant: Plant) -> None:
    first = payload(plant, "e1")
    (receipt,) = plant.receive([first])
    plant.work()
    age(plant)
    again = plant.receive([first, payload(plant, "e2")])
    assert [str(item.outcome) for item in again] == ["duplicate", "routed"]
    assert again[0].reason == f"curate: duplicate of {receipt.reference}"
    plant.work()
    assert set_of(plant, run_of(plant, 2)) == ["e2"]


def test_an_event_without_a_time_may_be_of_any_age_and_is_looked_up(plant: Plant) -> None:
    timeless = json.dumps({k: v for k, v in json.loads(payload(plant, "e1")).items() if k != "eventTime"})
    plant.receive([timeless])
    plant.work()
    age(plant)
    assert [str(item.outcome) for item in plant.receive([timeless])] == ["duplicate"]


def test_what_comes_in_time_is_not_looked_up(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.receive([payload(plant, "e1")])
    plant.work()
    age(plant)
    monkeypatch.setattr(plant.store.index, "read", lambda name: pytest.fail(f"read {name}"))
    young = payload(plant, "e2", at=plant.clock.now() - 12 * DAY)
    assert [str(item.outcome) for item in plant.receive([young])] == ["routed"]


def test_what_is_old_by_its_own_time_but_new_to_its_lane_is_taken_in(plant: Plant) -> None:
    old = payload(plant, "backfill", at=plant.clock.now() - 400 * DAY)
    assert [str(item.outcome) for item in plant.receive([old, old])] == ["routed", "duplicate"]


def test_what_is_not_old_yet_stays(plant: Plant) -> None:
    plant.receive([payload(plant, "e1")])
    plant.work()
    plant.tick()
    assert plant.tick(13 * DAY).retired == 0
    assert len(plant.store.lanes.events(LANE, 1)) == 1


def test_rows_stay_for_a_while_beside_their_copies(plant: Plant) -> None:
    """Whoever looked into the index just before they were copied still meets them in the lane."""
    plant.receive([payload(plant, "e1")])
    plant.work()
    (event,) = plant.store.lanes.events(LANE, 1)
    plant.tick()
    plant.tick(15 * DAY)
    assert plant.index.retired(plant.index.catalog(), LANE, event.identity) == (1, event.reference)
    assert plant.tick(dt.timedelta(minutes=50)).retired == 0
    assert plant.store.lanes.absorbed_as(LANE, event.identity) == (1, event.reference)
    assert plant.tick(dt.timedelta(minutes=20)).retired == 1


def test_what_is_still_worked_on_stays(plant: Plant) -> None:
    plant.backend._plans = {1: Plan(seconds=1e9)}
    plant.receive([payload(plant, "e1")])
    for _ in range(20):
        plant.clock.pass_(1)
        held = plant.bells.lanes or plant.bells.runs
        (plant.control_plane.wake if held is plant.bells.lanes else plant.control_plane.advance)(held.pop(0)[1])
    assert run_of(plant, 1).phase is Phase.RUNNING
    assert age(plant) == 0
    assert len(plant.store.lanes.events(LANE, 1)) == 1


def test_the_set_of_a_failed_run_joins_a_new_one_after_its_pages_have_gone(plant: Plant) -> None:
    plant.backend._plans = {1: Plan(ends=Status.FAILED, failure=Failure.PERMANENT)}
    plant.receive([payload(plant, f"e{number}") for number in range(3)])
    plant.work()
    assert run_of(plant, 1).phase is Phase.FAILED
    assert age(plant) == 3
    plant.backend._plans = {}
    plant.commands.force_new(run_of(plant, 1).id)
    plant.work()
    assert run_of(plant, 2).phase is Phase.SUCCEEDED
    assert set_of(plant, run_of(plant, 2)) == ["e0", "e1", "e2"]


def test_another_attempt_of_a_run_works_on_the_set_that_it_wrote_down(plant: Plant) -> None:
    plant.backend._plans = {1: Plan(ends=Status.FAILED, failure=Failure.PERMANENT)}
    plant.receive([payload(plant, "e1")])
    plant.work()
    assert age(plant) == 1
    plant.commands.retry(run_of(plant, 1).id)
    plant.work()
    assert (run_of(plant, 1).phase, run_of(plant, 1).attempt) == (Phase.SUCCEEDED, 2)
    assert set_of(plant, run_of(plant, 1)) == ["e1"]


def test_a_run_that_never_wrote_its_set_down_can_still_be_worked_on_again(plant: Plant) -> None:
    """It was stopped before it had a manifest: retirement writes the set down before the pages go."""
    plant.receive([payload(plant, f"e{number}") for number in range(3)])
    found = plant.store.lanes.lane(LANE)
    assert found is not None
    run = runs.opened("curate", "demand", 1, "quiet", plant.clock.now())
    plant.store.lanes.hand_over(flow.handed_over(found[0]), found[1], run)
    plant.commands.cancel(run.id)
    plant.work()
    assert run_of(plant, 1).phase is Phase.CANCELLED
    assert run_of(plant, 1).manifest is None
    assert age(plant) == 3
    plant.commands.force_new(run.id)
    plant.work()
    assert set_of(plant, run_of(plant, 2)) == ["e0", "e1", "e2"]


def test_what_is_carried_to_a_run_that_has_not_begun_stays(plant: Plant) -> None:
    plant.backend._plans = {1: Plan(ends=Status.FAILED, failure=Failure.PERMANENT)}
    plant.receive([payload(plant, "e1")])
    plant.work()
    plant.commands.force_new(run_of(plant, 1).id)
    assert age(plant) == 0
    assert len(plant.store.lanes.events(LANE, 1)) == 1
    plant.work()
    assert set_of(plant, run_of(plant, 2)) == ["e1"]
    assert age(plant) == 1
    assert plant.store.lanes.events(LANE, 1) == []


def test_what_was_retired_is_explained_as_before(plant: Plant) -> None:
    first = payload(plant, "e1")
    plant.receive([first, payload(plant, "e2")])
    plant.work()
    plant.receive([first])
    told = next(row["id"] for row in plant.operations.events() if row["origin"] == "sluice")
    before = plant.operations.explain("e1"), plant.operations.explain(told)
    assert age(plant) == 2
    assert (plant.operations.explain("e1"), plant.operations.explain(told)) == before
    assert [row["outcome"] for row in before[0]["deliveries"]] == ["routed", "duplicate"]
    assert plant.operations.replay("e1")["led_to"] == before[0]["led_to"]


def test_only_the_lane_and_its_runs_are_left_in_the_end(plant: Plant) -> None:
    for number in range(3):
        plant.receive([payload(plant, f"e{number}")])
        plant.work()
    age(plant)
    plant.control_plane.sweep()
    assert list(plant.store.due.overdue(dt.datetime.max.replace(tzinfo=dt.UTC))) == []
    assert plant.store.index.names("ends/") == plant.store.index.names("going/") == []
    assert [run_of(plant, generation).phase for generation in (1, 2, 3)] == [Phase.SUCCEEDED] * 3
