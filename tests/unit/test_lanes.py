"""How the lane's own row moves."""

from __future__ import annotations

import dataclasses
import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from shared import runs
from shared.lanes import (
    Lane,
    LaneKey,
    admitted,
    approved,
    asked,
    freed,
    handed_over,
    reopened,
    set_aside,
    waiting,
)
from shared.phases import Phase

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LANE = Lane("curate", "demand", generation=4)


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def ended(generation: int, ending: runs.Ending | None = None, phase: Phase = Phase.CANCELLED) -> runs.Run:
    run = runs.opened("curate", "demand", generation, "quiet", NOON)
    return dataclasses.replace(run, phase=phase, ending=ending, ended_at=at(9))


SUPERSEDED = runs.Ending(runs.EndingKind.SUPERSEDED, "superseded by generation 5")
BUSY = dataclasses.replace(LANE, generation=5, slots=(4,))


# -- what becomes of the lane --------------------------------------------------------------------------------------


def test_a_lane_that_waits_counts_its_rings_and_remembers_until_when() -> None:
    once = waiting(LANE, at(5))
    assert (once.ring_no, once.wake_at, once.generation) == (1, at(5), 4)
    assert waiting(once, at(6)).ring_no == 2


def test_a_hand_over_gives_the_slot_to_the_closed_generation_and_opens_the_next() -> None:
    closed = handed_over(waiting(LANE, at(5)))
    assert (closed.generation, closed.slots, closed.ring_no, closed.wake_at) == (5, (4,), 0, None)
    assert closed.name == LANE.name


def test_an_end_frees_the_slot_and_leaves_the_open_generation_alone() -> None:
    collecting = waiting(handed_over(LANE), at(5))
    assert freed(collecting, ended(4)) == dataclasses.replace(collecting, slots=(), last_end=at(9))


def test_a_late_end_does_not_free_the_slot_of_another_run() -> None:
    busy = dataclasses.replace(LANE, generation=9, slots=(8,))
    assert freed(busy, ended(4)) == busy


@given(st.text(st.characters(exclude_categories=("Cs",))), st.text(st.characters(exclude_categories=("Cs",))))
def test_a_partition_is_32_hexadecimal_digits_that_depend_on_route_and_key(route: str, key: str) -> None:
    name = LaneKey(route, key)
    assert len(name.partition) == 32
    assert set(name.partition) <= set("0123456789abcdef")
    assert name.partition == LaneKey(route, key).partition != LaneKey(route, key + "x").partition


def test_a_superseded_set_joins_the_next_runs_with_all_that_it_carried() -> None:
    lane = freed(BUSY, dataclasses.replace(ended(4, SUPERSEDED), carries=(2, 3)))
    assert (lane.slots, lane.carried, lane.superseded) == ((), (2, 3, 4), 1)
    assert handed_over(lane).carried == ()


def test_a_run_that_succeeded_before_it_could_be_superseded_is_not_repeated() -> None:
    lane = freed(BUSY, ended(4, SUPERSEDED, Phase.SUCCEEDED))
    assert (lane.carried, lane.superseded) == ((), 0)


def test_a_run_that_waits_for_a_person_holds_no_slot_and_is_queued_when_approved() -> None:
    aside = set_aside(LANE)
    assert (aside.generation, aside.slots, aside.pending, aside.fired) == (5, (), (4,), 4)
    queued = approved(aside, 4)
    assert (queued.pending, queued.queued) == ((), (4,))
    assert (admitted(queued, 4).queued, admitted(queued, 4).slots) == ((), (4,))


def test_a_set_that_failed_is_remembered_until_it_is_worked_on_again() -> None:
    failed = freed(BUSY, ended(4, phase=Phase.FAILED))
    assert failed.failed == (4,)
    again = dataclasses.replace(ended(4), phase=Phase.QUEUED)
    assert (reopened(failed, again).failed, reopened(failed, again).queued) == ((), (4,))
    assert asked(failed, "ada", 4).failed == ()


def test_a_superseded_run_that_fails_before_it_is_cancelled_hands_its_set_on_all_the_same() -> None:
    lane = freed(BUSY, ended(4, SUPERSEDED, Phase.FAILED))
    assert (lane.carried, lane.failed) == ((4,), ())


def test_a_run_that_its_guard_skipped_has_not_fired() -> None:
    assert freed(handed_over(LANE), ended(4, phase=Phase.SKIPPED)).fired is None
    assert freed(handed_over(LANE), ended(4, phase=Phase.FAILED)).fired == 4


def test_a_route_may_let_superseded_sets_go() -> None:
    assert freed(BUSY, ended(4, SUPERSEDED), carries=False).carried == ()
