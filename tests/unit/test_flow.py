"""When a lane's open generation becomes a run."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import runs
from shared.flow import MOST_SUPERSEDED, Admit, Busy, Flow, Miss, Rest, Skip, Start, Supersede, Wait, decide
from shared.lanes import Collected, Lane, asked, handed_over, missed_over, skipped_over
from shared.phases import Phase

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LANE = Lane("curate", "demand", generation=4)


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def flow(settle: float = 0, settle_max: float = 0) -> Flow:
    return Flow(dt.timedelta(seconds=settle), dt.timedelta(seconds=settle_max))


def ended(generation: int, ending: runs.Ending | None = None, phase: Phase = Phase.CANCELLED) -> runs.Run:
    run = runs.opened("curate", "demand", generation, "quiet", NOON)
    return dataclasses.replace(run, phase=phase, ending=ending, ended_at=at(9))


# -- decide --------------------------------------------------------------------------------------------------------


def test_an_empty_generation_rests() -> None:
    decision = decide(LANE, None, flow(), NOON)
    assert decision == Rest("generation 4 is empty")


def test_a_lane_that_does_not_settle_starts_at_once() -> None:
    assert decide(LANE, Collected(NOON, NOON), flow(), NOON) == Start("the route does not settle")


def test_a_lane_settles_from_its_last_event() -> None:
    held = Collected(at(0), at(3))
    assert decide(LANE, held, flow(5, 60), at(4)) == Wait(at(8), "settling until 2026-03-02T12:00:08.000+00:00")
    assert decide(LANE, held, flow(5, 60), at(7.999)) == decide(LANE, held, flow(5, 60), at(3))
    assert decide(LANE, held, flow(5, 60), at(8)) == Start("quiet for 0:00:05")


def test_a_lane_that_is_never_quiet_starts_at_settle_max() -> None:
    held = Collected(at(0), at(58))
    assert decide(LANE, held, flow(5, 60), at(58)) == Wait(at(60), "settling until 2026-03-02T12:01:00.000+00:00")
    assert decide(LANE, held, flow(5, 60), at(60)) == Start("collected for 0:01:00, the route's settle_max")


def test_a_busy_lane_collects_however_long_it_has_settled() -> None:
    busy = dataclasses.replace(LANE, slots=(3,))
    decision = decide(busy, Collected(at(0), at(0)), flow(5, 60), at(10_000))
    assert decision == Rest("generation 4 collects while the run of generation 3 holds the slot")


@pytest.mark.parametrize("settle", [0, 5])
def test_a_clock_that_is_behind_waits_and_does_not_fail(settle: float) -> None:
    decision = decide(LANE, Collected(at(1), at(2)), flow(settle, settle * 10), at(-3))
    assert isinstance(decision, Wait)
    assert at(-3) < decision.until <= at(2 + settle)


SECONDS = st.floats(0, 100_000)


@st.composite
def held(draw: st.DrawFn) -> Collected:
    first, more = draw(SECONDS), draw(SECONDS)
    return Collected(at(first), at(first + more))


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    settle, more = draw(SECONDS), draw(SECONDS)
    return flow(settle, settle + more)


@given(held(), flows(), st.floats(-100, 500_000))
def test_a_lane_with_events_and_a_free_slot_never_rests(collected: Collected, policy: Flow, now: float) -> None:
    assert not isinstance(decide(LANE, collected, policy, at(now)), Rest)


@given(held(), flows(), st.floats(-100, 500_000))
def test_a_lane_waits_for_what_is_ahead_and_never_beyond_settle_max(
    collected: Collected, policy: Flow, now: float
) -> None:
    decision = decide(LANE, collected, policy, at(now))
    if isinstance(decision, Wait):
        assert at(now) < decision.until <= collected.first_at + policy.settle_max
        assert isinstance(decide(LANE, collected, policy, decision.until), Start), "when the wait is over it starts"
    else:
        assert isinstance(decision, Start)
        assert decision.reason


@given(held(), flows(), st.floats(0, 500_000), st.floats(0, 500_000))
def test_what_starts_now_also_starts_later(collected: Collected, policy: Flow, now: float, later: float) -> None:
    if isinstance(decide(LANE, collected, policy, at(now)), Start):
        assert isinstance(decide(LANE, collected, policy, at(now + later)), Start)


@given(flows(), st.lists(st.floats(0, 50), min_size=1, max_size=30))
def test_a_stream_of_events_starts_at_the_latest_settle_max_after_its_first(policy: Flow, gaps: list[float]) -> None:
    first = last = now = at(0)
    for gap in gaps:
        decision = decide(LANE, Collected(first, last), policy, now)
        if isinstance(decision, Start):
            break
        last = now = min(now + dt.timedelta(seconds=gap), decision.until)  # type: ignore[union-attr]
        assert now <= first + policy.settle_max


# -- more of the flow policy ---------------------------------------------------------------------------------------

SUPERSEDED = runs.Ending(runs.EndingKind.SUPERSEDED, "superseded by generation 5")
BUSY = dataclasses.replace(LANE, generation=5, slots=(4,))
HELD = Collected(at(0), at(0))


def test_a_generation_that_holds_batch_max_events_starts_before_it_has_settled() -> None:
    policy = Flow(dt.timedelta(minutes=1), dt.timedelta(hours=1), batch_max=3)
    assert decide(LANE, Collected(at(0), at(0), 3), policy, at(1)) == Start("3 events, the route's batch_max is 3")
    fewer = decide(LANE, Collected(at(0), at(0), 2), policy, at(1))
    assert isinstance(fewer, Wait)
    assert fewer.until == at(2), "it looks again soon, because more may come"


def test_a_lane_cools_down_after_a_run_and_loses_nothing() -> None:
    policy = Flow(cooldown=dt.timedelta(minutes=5))
    warm = dataclasses.replace(LANE, last_end=at(0))
    decision = decide(warm, HELD, policy, at(10))
    assert isinstance(decision, Wait)
    assert decision.until == at(300)
    assert isinstance(decide(warm, HELD, policy, at(300)), Start)


def test_what_is_ready_while_busy_is_skipped_where_the_route_says_so() -> None:
    assert isinstance(decide(BUSY, HELD, Flow(when_busy=Busy.SKIP), at(1)), Skip)
    assert skipped_over(BUSY).slots == (4,), "the slot stays with the run that works"


def test_what_is_ready_while_busy_supersedes_where_the_route_says_so_but_not_for_ever() -> None:
    policy = Flow(when_busy=Busy.SUPERSEDE)
    assert isinstance(decide(BUSY, HELD, policy, at(1)), Supersede)
    often = dataclasses.replace(BUSY, superseded=MOST_SUPERSEDED)
    assert isinstance(decide(often, HELD, policy, at(1)), Rest)


def test_an_operator_gets_an_ended_set_worked_on_at_once_even_when_nothing_new_was_collected() -> None:
    lane = asked(dataclasses.replace(LANE, last_end=at(0)), "ada", 2)
    assert decide(lane, None, Flow(cooldown=dt.timedelta(hours=1)), at(1)) == Start("ada asked for it")
    assert lane.carried == (2,)
    assert asked(lane, "ada", 2).carried == (2,), "asked twice is asked once"
    assert asked(lane, "ada", 1, 2, 3).carried == (2, 1, 3), "with the sets that it carried, each once"
    assert isinstance(decide(dataclasses.replace(lane, slots=(3,)), None, Flow(), at(1)), Rest)
    assert not handed_over(lane).asked


# -- several at a time, joins, once, queued ------------------------------------------------------------------------

JOIN = Flow(wait_for=frozenset({"A.B", "C.D"}), within=dt.timedelta(minutes=10), once=True)
HALF = Collected(at(0), at(0), 1, frozenset({"A.B"}))
WHOLE = Collected(at(0), at(60), 2, frozenset({"A.B", "C.D"}))


def test_a_lane_starts_as_many_as_its_concurrency() -> None:
    assert isinstance(decide(BUSY, HELD, Flow(concurrency=2), at(1)), Start)
    two = dataclasses.replace(BUSY, slots=(3, 4))
    assert decide(two, HELD, Flow(concurrency=2), at(1)) == Rest(
        "generation 5 collects while the runs of generation 3, 4 hold the slot"
    )


def test_a_queued_run_gets_the_free_slot_before_a_new_generation() -> None:
    lane = dataclasses.replace(LANE, queued=(2, 3))
    assert decide(lane, HELD, Flow(), at(1)) == Admit(2, "a slot is free for the run of generation 2")
    assert isinstance(decide(dataclasses.replace(lane, slots=(1,)), HELD, Flow(), at(1)), Rest)


def test_a_join_waits_for_every_type_and_says_for_which() -> None:
    decision = decide(LANE, HALF, JOIN, at(1))
    assert decision == Wait(at(600), "waits for C.D until 2026-03-02T12:10:00+00:00")
    assert decide(LANE, WHOLE, JOIN, at(61)) == Start("complete: A.B, C.D")


def test_a_join_that_is_not_complete_in_time_is_missed_even_while_the_lane_is_busy() -> None:
    for lane in (LANE, BUSY):
        decision = decide(lane, HALF, JOIN, at(600))
        assert isinstance(decision, Miss)
        assert decision.missing == ("C.D",)


def test_what_a_missed_join_had_still_counts() -> None:
    lane = missed_over(LANE, HALF)
    assert (lane.generation, lane.carried, lane.have) == (5, (4,), frozenset({"A.B"}))
    late = Collected(at(900), at(900), 1, frozenset({"C.D"}))
    assert isinstance(decide(lane, late, JOIN, at(900)), Start)
    assert handed_over(lane).have == frozenset()


def test_a_key_that_has_fired_is_late_and_an_operator_may_have_it_all_the_same() -> None:
    fired = dataclasses.replace(LANE, fired=2)
    decision = decide(fired, HALF, JOIN, at(1))
    assert isinstance(decision, Skip)
    assert "it joins generation 2" in decision.reason
    assert isinstance(decide(asked(fired, "ada", 2), None, JOIN, at(1)), Start)


def test_superseding_also_replaces_what_waits_for_a_person() -> None:
    pending = dataclasses.replace(LANE, pending=(3,))
    assert decide(pending, HELD, Flow(when_busy=Busy.SUPERSEDE), at(1)) == Supersede(3, "superseded by generation 4")
    assert isinstance(decide(pending, HELD, Flow(), at(1)), Start), "else each waits by itself"


LANES = st.builds(
    lambda slots, queued, pending, asked_by, fired: Lane(
        "r", "k", 20, slots=tuple(slots), queued=tuple(queued), pending=tuple(pending), asked=asked_by, fired=fired
    ),
    st.sets(st.integers(1, 6), max_size=3),
    st.sets(st.integers(7, 12), max_size=2),
    st.sets(st.integers(13, 19), max_size=2),
    st.sampled_from(["", "ada"]),
    st.sampled_from([None, 1]),
)
POLICIES = st.sampled_from(
    [Flow(), Flow(concurrency=2), Flow(when_busy=Busy.SKIP), Flow(when_busy=Busy.SUPERSEDE), JOIN, Flow(once=True)]
)


@given(LANES, st.sampled_from([None, HALF, WHOLE]), POLICIES, st.floats(0, 2000))
def test_nothing_starts_without_a_slot_and_nothing_rests_that_could_start(
    lane: Lane, collected: Collected | None, policy: Flow, now: float
) -> None:
    decision = decide(lane, collected, policy, at(now))
    free = len(lane.slots) < policy.concurrency
    if isinstance(decision, Start | Admit):
        assert free
    if free and lane.queued:
        assert isinstance(decision, Admit)
    if free and not lane.queued and isinstance(decision, Rest):
        assert collected is None
        assert not lane.asked
    if isinstance(decision, Supersede):
        assert decision.generation in (*lane.slots, *lane.queued, *lane.pending)
    assert decision.reason


SETTLING = st.builds(
    lambda settle, longer, more: dataclasses.replace(more, settle=settle, settle_max=settle * longer),
    st.timedeltas(dt.timedelta(0), dt.timedelta(seconds=1000)),
    st.sampled_from([1, 1.5, 10]),
    POLICIES | st.sampled_from([Flow(batch_max=2), Flow(cooldown=dt.timedelta(seconds=500))]),
)


@given(LANES, SETTLING, st.floats(0, 2000), st.sampled_from([None, at(-100), at(-1)]))
def test_before_its_first_look_a_generation_only_waits(
    lane: Lane, policy: Flow, now: float, last_end: dt.datetime | None
) -> None:
    idle = dataclasses.replace(lane, queued=(), asked="", last_end=last_end)
    if at(now) < at(0) + policy.first_look:
        assert isinstance(decide(idle, Collected(at(0), at(now)), policy, at(now)), Wait | Rest)
