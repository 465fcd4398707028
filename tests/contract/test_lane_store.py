"""What the lane store promises to intake and control plane."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt

import pytest

from shared import lanes as flow
from shared import runs
from shared.errors import Closed, Conflict
from shared.lanes import LaneKey
from shared.ports import Absorption
from shared.run_moves import move
from tests.contract.conftest import NOON, Store, absorption


def closed(store: Store, lane: LaneKey) -> runs.Run:
    """Hand the open generation of a lane over to a run."""
    found = store.lanes.lane(lane)
    assert found is not None
    run = runs.opened(lane.route, lane.key, found[0].generation, "the test says so", store.clock.now())
    store.lanes.hand_over(flow.handed_over(found[0]), found[1], run)
    return run


def begun(store: Store, lane: LaneKey) -> Absorption:
    """A lane with one event in its open generation."""
    event = absorption()
    generation = store.wait(store.lane_intake.open_generation(lane))
    store.wait(store.lane_intake.absorb(lane, generation, [event]))
    return event


@pytest.fixture
def lane(key: str) -> LaneKey:
    return LaneKey("curate", key)


def test_a_lane_that_is_new_opens_generation_one(store: Store, lane: LaneKey) -> None:
    assert store.lanes.lane(lane) is None
    assert store.wait(store.lane_intake.open_generation(lane)) == 1
    begun(store, lane)
    assert store.wait(store.lane_intake.open_generation(lane)) == 1
    found = store.lanes.lane(lane)
    assert found is not None
    assert found[0] == flow.Lane("curate", lane.key)


def test_an_empty_generation_has_collected_nothing(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    assert store.lanes.collected(lane, 1) is None
    assert store.lanes.touched(lane, 1) is None
    assert store.lanes.events(lane, 1) == []


def test_an_absorbed_event_is_in_the_set_with_all_that_the_lane_keeps_of_it(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    event = absorption()
    answer = store.wait(store.lane_intake.absorb(lane, 1, [event]))
    assert answer.fresh == {event.identity}
    assert store.lanes.events(lane, 1) == [event]
    assert store.lanes.absorbed_as(lane, event.identity) == (1, event.reference)


def test_the_times_of_a_generation_are_those_of_its_first_event_and_its_last_absorb(
    store: Store, lane: LaneKey
) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    store.wait(store.lane_intake.absorb(lane, 1, [absorption(received=NOON)]))
    store.clock.pass_(3)
    store.wait(store.lane_intake.absorb(lane, 1, [absorption(received=store.clock.now())]))
    expected = flow.Collected(NOON, NOON + dt.timedelta(seconds=3), 2, frozenset({"Some.Event"}))
    assert store.lanes.collected(lane, 1) == expected
    assert store.lanes.touched(lane, 1) == expected.last_at


def test_an_event_absorbed_twice_is_a_duplicate_of_the_first_record(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    store.wait(store.lane_intake.absorb(lane, 1, [absorption("same", reference="first")]))
    again = store.wait(store.lane_intake.absorb(lane, 1, [absorption("same", reference="second"), absorption("new")]))
    assert again.fresh == {"new"}
    assert again.duplicates == {"same": "first"}
    assert [event.identity for event in store.lanes.events(lane, 1)].count("same") == 1


def test_an_event_stays_a_duplicate_after_its_generation_was_closed(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    store.wait(store.lane_intake.absorb(lane, 1, [absorption("same", reference="first")]))
    closed(store, lane)
    again = store.wait(store.lane_intake.absorb(lane, 2, [absorption("same", reference="second")]))
    assert again.fresh == frozenset()
    assert again.duplicates == {"same": "first"}
    assert store.lanes.events(lane, 2) == []
    assert store.lanes.collected(lane, 2) is None


def test_a_closed_generation_takes_nothing_more_and_nothing_is_written(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    store.wait(store.lane_intake.absorb(lane, 1, [absorption("in")]))
    closed(store, lane)
    with pytest.raises(Closed):
        store.wait(store.lane_intake.absorb(lane, 1, [absorption("late")]))
    assert [event.identity for event in store.lanes.events(lane, 1)] == ["in"]
    assert store.lanes.absorbed_as(lane, "late") is None
    assert store.wait(store.lane_intake.open_generation(lane)) == 2


def test_one_absorb_takes_more_events_than_a_transaction_holds(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    events = [absorption() for _ in range(250)]
    answer = store.wait(store.lane_intake.absorb(lane, 1, events))
    assert len(answer.fresh) == 250
    assert {event.identity for event in store.lanes.events(lane, 1)} == answer.fresh


def test_concurrent_absorbs_of_the_same_events_take_each_once(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))

    async def race() -> list[frozenset[str]]:
        groups = [[absorption(f"e{n}", reference=f"r{g}-{n}") for n in range(g, g + 20)] for g in range(0, 40, 4)]
        done = await asyncio.gather(*(store.lane_intake.absorb(lane, 1, group) for group in groups))
        return [answer.fresh for answer in done]

    fresh = store.wait(race())
    assert sum(len(group) for group in fresh) == len(frozenset().union(*fresh)) == 56
    assert len(store.lanes.events(lane, 1)) == 56


def test_large_bindings_are_kept_whole(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    events = [dataclasses.replace(absorption(), bindings={"path": f"{n}-" + "ä" * 4000}) for n in range(30)]
    store.wait(store.lane_intake.absorb(lane, 1, events))
    kept: dict[str, Absorption] = {event.identity: event for event in store.lanes.events(lane, 1)}
    assert all(kept[event.identity].bindings == event.bindings for event in events)


def test_a_hand_over_takes_the_slot_opens_the_next_generation_and_inserts_the_run(store: Store, lane: LaneKey) -> None:
    store.wait(store.lane_intake.open_generation(lane))
    store.wait(store.lane_intake.absorb(lane, 1, [absorption()]))
    run = closed(store, lane)
    found = store.lanes.lane(lane)
    assert found is not None
    assert (found[0].generation, found[0].slots, found[0].ring_no) == (2, (1,), 0)
    kept = store.lanes.run(lane, 1)
    assert kept is not None
    assert kept[0] == run


def test_a_generation_is_handed_over_once(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    found = store.lanes.lane(lane)
    assert found is not None
    run = runs.opened(lane.route, lane.key, 1, "first", NOON)
    store.lanes.hand_over(flow.handed_over(found[0]), found[1], run)
    with pytest.raises(Conflict):
        store.lanes.hand_over(flow.handed_over(found[0]), found[1], dataclasses.replace(run, reason="second"))
    kept = store.lanes.run(lane, 1)
    assert kept is not None
    assert kept[0].reason == "first"


def test_a_lane_row_that_changed_is_not_overwritten(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    found = store.lanes.lane(lane)
    assert found is not None
    store.lanes.save_lane(flow.waiting(found[0], NOON), found[1])
    with pytest.raises(Conflict):
        store.lanes.save_lane(flow.waiting(found[0], NOON), found[1])


def test_a_run_is_kept_whole_and_a_late_writer_cannot_overwrite_it(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    closed(store, lane)
    opened, version = store.lanes.run(lane, 1) or pytest.fail("no run")
    manifest = {"url": "memory://", "count": 1, "sha256": "0"}
    moved = runs.prepared(opened, manifest, {"options": {"text": "ü" * 40_000}, "token": "t"}, "chain", NOON)
    moved = runs.started(moved, runs.Remote("17", "https://somewhere"), NOON + dt.timedelta(seconds=1))
    newer = store.lanes.save_run(moved, version)
    assert store.lanes.run(lane, 1) == (moved, newer)
    with pytest.raises(Conflict):
        store.lanes.save_run(opened, version)


def test_the_end_of_a_run_frees_its_slot_in_the_same_step(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    closed(store, lane)
    opened, version = store.lanes.run(lane, 1) or pytest.fail("no run")
    ended = runs.refused(opened, "no", NOON)
    assert move(store.lanes, ended, version, lambda found: flow.freed(found, ended)) != version
    found, kept = store.lanes.lane(lane), store.lanes.run(lane, 1)
    assert found is not None
    assert found[0].slots == ()
    assert kept is not None
    assert kept[0] == ended
    with pytest.raises(Conflict):
        move(store.lanes, ended, version, lambda found: flow.freed(found, ended))


def test_a_move_changes_both_rows_or_none(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    closed(store, lane)
    opened, version = store.lanes.run(lane, 1) or pytest.fail("no run")
    row, lane_version = store.lanes.lane(lane) or pytest.fail("no lane")
    store.lanes.save_lane(flow.waiting(row, NOON), lane_version)
    with pytest.raises(Conflict):
        store.lanes.move(flow.freed(row, opened), lane_version, runs.refused(opened, "no", NOON), version)
    assert store.lanes.run(lane, 1) == (opened, version)


def test_everything_that_a_lane_remembers_is_kept(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    row, version = store.lanes.lane(lane) or pytest.fail("no lane")
    full = dataclasses.replace(
        row, ring_no=3, wake_at=NOON, slots=(1, 2), queued=(3,), pending=(4, 5), last_end=NOON, carried=(6,),
        have=frozenset({"A.B", "C.D"}), failed=(7, 8), fired=1, superseded=2, asked="ada",
    )  # fmt: skip
    store.lanes.save_lane(full, version)
    assert (store.lanes.lane(lane) or pytest.fail("no lane"))[0] == full


def test_all_lanes_and_all_runs_are_listed(store: Store, lane: LaneKey) -> None:
    begun(store, lane)
    run = closed(store, lane)
    assert lane in {found.name for found in store.lanes.all_lanes()}
    assert run in list(store.lanes.all_runs())


def test_the_history_of_a_lane_is_its_runs_newest_first_and_no_others(store: Store, lane: LaneKey) -> None:
    assert store.lanes.history(lane, 10) == []
    other = LaneKey(lane.route, f"{lane.key}-other")
    for each in (lane, other):
        begun(store, each)
    mine = []
    for _ in range(3):
        mine.append(closed(store, lane))
        found, version = store.lanes.run(lane, mine[-1].generation) or pytest.fail("no run")
        store.lanes.save_run(runs.refused(found, "no", NOON), version)
    closed(store, other)
    assert [run.generation for run in store.lanes.history(lane, 10)] == [3, 2, 1]
    assert {run.key for run in store.lanes.history(lane, 10)} == {lane.key}
    assert [run.generation for run in store.lanes.history(lane, 2)] == [3, 2]
    assert store.lanes.history(lane, 10)[0].reason == "no"


def test_the_store_keeps_one_id(store: Store) -> None:
    assert store.lanes.store_id == store.lanes.store_id
    assert len(store.lanes.store_id) == 32


def test_an_event_that_came_after_the_first_is_in_the_set_of_a_lane_that_was_just_made(
    store: Store, lane: LaneKey
) -> None:
    first = begun(store, lane)
    found = store.lanes.lane(lane, (1, 0))
    assert found is not None
    assert store.lanes.touched(lane, 1) is not None
    second = begun(store, lane)
    run = runs.opened(lane.route, lane.key, 1, "the test says so", store.clock.now())
    store.lanes.hand_over(flow.handed_over(found[0]), found[1], run)
    assert {event.identity for event in store.lanes.events(lane, 1)} == {first.identity, second.identity}


def test_a_lane_that_was_just_made_is_handed_over_whole(store: Store, lane: LaneKey) -> None:
    event = begun(store, lane)
    found = store.lanes.lane(lane, (1, 0))
    assert found is not None
    assert found[0] == flow.Lane(lane.route, lane.key)
    run = runs.opened(lane.route, lane.key, 1, "the test says so", store.clock.now())
    versions = store.lanes.hand_over(flow.handed_over(found[0]), found[1], run)
    assert store.lanes.events(lane, 1) == [event]
    assert store.lanes.lane(lane, (2, 0)) == (flow.handed_over(found[0]), versions[0])
    assert store.lanes.run(lane, 1) == (run, versions[1])
    with pytest.raises(Conflict):
        store.lanes.hand_over(flow.handed_over(found[0]), found[1], run)
