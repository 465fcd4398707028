"""Receive, wake, advance, sweep: the way of an event to its run and on, on a store in memory."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared import leases
from shared.adapters.memory import MemoryBells
from shared.control_plane import ControlPlane
from shared.errors import Refused, Unavailable
from shared.event_loop import EventLoop
from shared.flow import Flow
from shared.intake import Intake, Outcome
from shared.intake_loop import IntakeLoop
from shared.lanes import LaneKey
from shared.observations import Failure, Status
from shared.phases import Phase
from shared.ports import Clock, Ring
from shared.routing import Emits, Route, Routes
from shared.runs import Retry
from tests.unit.worlds import NOON, Backend, Crash, Fuse, Plan, Process, Stage, event

DEMAND = LaneKey("curate", "demand")
SECOND = dt.timedelta(seconds=1)
CURATE = Route(
    "curate", frozenset({"A.B"}), "demand", "work", {"set": "{manifest.url}", "account": "{settings.account}"},
    flow=Flow(2 * SECOND, 30 * SECOND), timeout=60 * SECOND,
    retry=Retry(3, 10 * SECOND, frozenset({Failure.TRANSIENT, Failure.TIMEOUT})),
    emits=Emits("Sluice.DatasetPublished", "gold/{key}", {"version": "{result.version}", "table": "{key}"}),
)  # fmt: skip
TRAIN = Route("train", frozenset({"Sluice.DatasetPublished"}), "{data.table}", "work", {"v": "{event.data.version}"})
GUARDED = dataclasses.replace(CURATE, guard="compaction")
DONE = Plan(result={"version": 7})


@pytest.fixture
def stages() -> Iterator[list[Stage]]:
    made: list[Stage] = []
    yield made
    for stage in made:
        stage.close()


@pytest.fixture
def stage(stages: list[Stage]) -> Stage:
    """A stage with two routes that follow each other, whose backend succeeds at once with version 7."""
    return built(stages, CURATE, TRAIN)


def built(stages: list[Stage], *routes: Route, plans: dict[int, Plan] | None = None, exclusive: bool = False) -> Stage:
    made = Stage(*routes)
    made.backend = Backend(made.clock, {1: DONE, 2: DONE, 3: DONE, **(plans or {})}, exclusive=exclusive)
    made.actions["work"] = made.backend
    stages.append(made)
    return made


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def play_until(stage: Stage, phase: Phase, process: Process | None = None) -> Process:
    """Run the app until the first curate run has come to this phase."""
    process = process or stage.process()
    for _ in range(500):
        if any(run.phase is phase for run in stage.runs("curate")):
            return process
        stage.step(process)
    raise AssertionError(f"no run is ever {phase}")


# -- the way of an event -------------------------------------------------------------------------------------------


def test_one_event_is_one_run_whose_own_event_is_the_next_routes_run(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    curate, train = stage.runs()
    assert (curate.route, curate.phase, curate.attempt) == ("curate", Phase.SUCCEEDED, 1)
    assert (train.route, train.key, train.phase) == ("train", "demand", Phase.SUCCEEDED)
    assert stage.backend.attempts() == {(curate.id, 1): 1, (train.id, 1): 1}
    assert [entry["id"] for entry in stage.set_of(curate)] == ["1"]
    assert [receipt.outcome for receipt in stage.receipts] == [Outcome.ROUTED]


def test_the_whole_chain_carries_the_identity_of_the_event_that_began_it(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    curate, train = stage.runs()
    (entry,) = stage.set_of(curate)
    assert curate.correlation == train.correlation == entry["identity"]
    assert {effect.request["correlation"] for effect in stage.backend.effects.values()} == {entry["identity"]}


def test_a_request_holds_what_the_route_asks_for_and_the_sets_hash(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    curate, train = stage.runs()
    requests = {effect.request["run"]: effect.request for effect in stage.backend.effects.values()}
    assert curate.manifest is not None
    assert requests[curate.id]["options"] == {"set": curate.manifest["url"], "account": "lake"}
    assert requests[curate.id]["manifest"] == curate.manifest
    assert requests[train.id]["options"] == {"v": 7}


def test_own_events_are_journalled_and_told_to_listeners(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    own = [record for record in stage.records() if record["origin"] == "sluice"]
    assert [record["type"] for record in own] == ["Sluice.DatasetPublished", "Sluice.RunSucceeded"]
    assert [heard["id"] for heard in stage.listeners.heard] == [record["id"] for record in own]


def test_a_burst_is_one_run_with_the_whole_set_in_the_order_of_receipt(stage: Stage) -> None:
    for number in range(5):
        stage.send(event(str(number)), at=number * 1.5)
    stage.play()
    (curate,) = stage.runs("curate")
    assert [entry["id"] for entry in stage.set_of(curate)] == ["0", "1", "2", "3", "4"]
    assert curate.created_at == at(4 * 1.5 + 2), "two quiet seconds after the last"


def test_a_stream_without_a_pause_starts_at_settle_max(stage: Stage) -> None:
    for number in range(60):
        stage.send(event(str(number)), at=number * 0.7)
    stage.play()
    first = stage.runs("curate")[0]
    assert first.created_at == at(30)
    assert len(stage.set_of(first)) == 43, "those of the first thirty seconds"


def test_a_busy_lane_collects_and_the_end_of_its_run_rings_it(stage: Stage) -> None:
    stage.send(event("1"))
    stage.send(event("2"), event("3"), at=3)
    stage.play()
    first, second = stage.runs("curate")
    assert [entry["id"] for entry in stage.set_of(second)] == ["2", "3"]
    assert first.ended_at is not None
    assert second.created_at == first.ended_at, "no sweep was needed"
    assert len(stage.backend.effects) == 4


def test_two_keys_are_two_lanes_that_do_not_wait_for_each_other(stages: list[Stage]) -> None:
    stage = built(stages, dataclasses.replace(CURATE, key="{data.table}", emits=None))
    stage.send(event("1", table="a"), event("2", table="b"))
    stage.play()
    a, b = stage.runs()
    assert (a.key, b.key) == ("a", "b")
    assert a.created_at == b.created_at


def test_a_duplicate_changes_nothing_at_any_time(stage: Stage) -> None:
    for seconds in (0, 1, 3, 10, 100):
        stage.send(event("1"), at=seconds)
    stage.play()
    (curate,) = stage.runs("curate")
    assert [entry["id"] for entry in stage.set_of(curate)] == ["1"]
    assert [receipt.outcome for receipt in stage.receipts] == [Outcome.ROUTED, *[Outcome.DUPLICATE] * 4]


async def test_a_delivery_is_received_through_the_control_plane(stages: list[Stage]) -> None:
    stage = built(stages, CURATE)
    parts = stage.process()
    loop = IntakeLoop(
        Intake(
            routes=stage.routes,
            journal=stage.journal,
            lanes=stage.lanes,
            due=stage.due,
            bells=stage.bells,
            clock=stage.clock,
        ),
        EventLoop(),
    )
    control_plane = ControlPlane(routes=stage.routes, intake=loop, world=parts.control_plane._world)
    (receipt,) = await control_plane.receive("event_grid", [event("1")])
    assert receipt.outcome is Outcome.ROUTED


def test_what_happens_is_told_to_telemetry_under_the_chains_id(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    curate, train = stage.runs()
    told = [(name, facts["run"]) for name, _, facts in stage.telemetry.events]
    assert told == [
        ("run started", curate.id),
        ("run ended", curate.id),
        ("run started", train.id),
        ("run ended", train.id),
    ]
    assert {correlation for _, correlation, _ in stage.telemetry.events} == {curate.correlation}
    assert [(name, value) for name, value, _ in stage.telemetry.metrics] == [("run seconds", 3.0), ("run seconds", 3.0)]
    assert {name for name, _, _ in stage.telemetry.spans} >= {"curate start", "curate observe", "curate emit"}


# -- guards --------------------------------------------------------------------------------------------------------


def test_a_set_that_the_guard_refuses_whole_is_skipped_with_its_reason(stages: list[Stage]) -> None:
    stage = built(stages, GUARDED)
    stage.send(event("compact-1"), event("compact-2"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.reason) == (Phase.SKIPPED, "guard compaction: tidying")
    assert [entry["guard"]["reason"] for entry in stage.set_of(run)] == ["tidying", "tidying"]
    assert run.correlation == stage.set_of(run)[-1]["identity"], "it belongs to the chain of what it did not do"
    assert stage.backend.effects == {}
    assert [heard["eventType"] for heard in stage.listeners.heard] == ["Sluice.RunSkipped"]


def test_one_event_that_the_guard_lets_through_is_enough_and_the_set_stays_whole(stages: list[Stage]) -> None:
    stage = built(stages, dataclasses.replace(GUARDED, options={"newest": "{event.id}"}))
    stage.send(event("compact-1"), event("2"), event("compact-3"))
    stage.play()
    (run,) = stage.runs()
    assert run.phase is Phase.SUCCEEDED
    assert [entry["id"] for entry in stage.set_of(run)] == ["compact-1", "2", "compact-3"]
    (effect,) = stage.backend.effects.values()
    assert effect.request["options"] == {"newest": "2"}, "the newest is the newest that proceeds"


def test_what_the_guard_saw_first_stands(stages: list[Stage]) -> None:
    """The set is written before the run is saved: a process that dies in between must not see another set."""
    stage = built(stages, GUARDED)
    stage.send(event("1"))
    dry = Fuse(10**9, after=False)
    stage.play(dry)
    written = dry.places.index("sets.write") + 1
    stage = built(stages, GUARDED)
    stage.send(event("1"))
    play_until_crash(stage, Fuse(written, after=True))
    stage.guard.observe = lambda *_: {"proceed": False, "reason": "changed its mind"}  # type: ignore[method-assign]
    stage.play()
    (run,) = stage.runs()
    assert run.phase is Phase.SUCCEEDED
    assert stage.set_of(run)[0]["guard"]["reason"] == "data"


def play_until_crash(stage: Stage, fuse: Fuse) -> None:
    """One life, up to its end by the fuse."""
    process = stage.process(fuse)

    def live() -> None:
        while not stage.at_rest():
            stage.step(process)

    with pytest.raises(Crash):
        live()


def test_a_guard_that_cannot_look_is_asked_again(stages: list[Stage]) -> None:
    stage, looks = built(stages, GUARDED), iter([Unavailable("the lake does not answer")])
    seen = stage.guard.observe

    def observe(asked: Any) -> Any:
        for trouble in looks:
            raise trouble
        return seen(asked)

    stage.guard.observe = observe  # type: ignore[method-assign]
    stage.send(event("1"))
    stage.play()
    assert [run.phase for run in stage.runs()] == [Phase.SUCCEEDED]


# -- attempts ------------------------------------------------------------------------------------------------------


def test_a_transient_failure_is_tried_again_under_a_new_token(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, plans={1: Plan(ends=Status.FAILED, failure=Failure.TRANSIENT)})
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.attempt) == (Phase.SUCCEEDED, 2)
    first, second = stage.backend.effects.values()
    assert first.request["token"] != second.request["token"]
    assert first.request["options"] == second.request["options"]
    assert second.started >= first.started + 13 * SECOND, "three seconds of work, ten of pause"


def test_attempts_end_with_the_last_and_the_lane_goes_on(stages: list[Stage]) -> None:
    broken = Plan(ends=Status.FAILED, failure=Failure.TRANSIENT)
    stage = built(stages, CURATE, plans={1: broken, 2: broken, 3: broken})
    stage.send(event("1"))
    stage.send(event("2"), at=20)
    stage.play()
    first, second = stage.runs()
    assert (first.phase, first.attempt) == (Phase.FAILED, 3)
    assert first.reason.endswith("that was the last of 3")
    assert [entry["id"] for entry in stage.set_of(second)] == ["2"]


def test_a_permanent_failure_ends_the_run_at_once_and_is_told(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, TRAIN, plans={1: Plan(ends=Status.FAILED)})
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.attempt, len(stage.backend.effects)) == (Phase.FAILED, 1, 1)
    assert [heard["eventType"] for heard in stage.listeners.heard] == ["Sluice.RunFailed"]


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_start_whose_answer_was_lost_is_repeated_under_its_token_and_adopted(stage: Stage, lost: int) -> None:
    stage.backend.lose_answers = lost
    stage.send(event("1"))
    stage.play()
    curate, train = stage.runs()
    assert stage.backend.attempts() == {(curate.id, 1): 1, (train.id, 1): 1}
    assert stage.backend.calls.count("start") == 2 + lost
    assert (curate.phase, curate.attempt) == (Phase.SUCCEEDED, 1)


def test_a_backend_that_asks_for_patience_gets_it(stage: Stage) -> None:
    stage.backend.trouble["start"] = [Unavailable("busy", retry_after=45.0)]
    stage.send(event("1"))
    stage.play()
    (effect, _) = stage.backend.effects.values()
    assert effect.started == at(2 + 45)


def test_a_start_that_is_refused_ends_the_run_with_the_backends_reason(stage: Stage) -> None:
    stage.backend.trouble["start"] = [Refused("no permission to run job 5")]
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.reason) == (Phase.FAILED, "no permission to run job 5")
    assert stage.backend.effects == {}


def test_a_start_that_is_answered_after_its_timeout_is_cancelled(stage: Stage) -> None:
    stage.backend.trouble["start"] = [Unavailable("timed out")] * 200
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs("curate")
    assert any("it could not be started within 1:00:00" in line for line in run.history)
    assert run.attempt == 2, "what its late answer showed was cancelled, and is tried again as any time-out is"


@pytest.mark.parametrize("error", [Unavailable("503"), RuntimeError("a bug"), Unavailable("503", retry_after=20)])
def test_a_backend_that_cannot_be_asked_has_not_failed(stage: Stage, error: Exception) -> None:
    stage.backend.trouble["observe"] = [error, error]
    stage.send(event("1"))
    stage.play()
    assert [(run.phase, run.attempt) for run in stage.runs()] == [(Phase.SUCCEEDED, 1)] * 2


def test_a_bug_in_an_action_is_told_and_leaves_the_outcome_unknown(stage: Stage) -> None:
    stage.backend.trouble["start"] = [KeyError("oops")]
    stage.send(event("1"))
    stage.play()
    assert [(run.phase, run.attempt) for run in stage.runs()] == [(Phase.SUCCEEDED, 1)] * 2
    assert ("unexpected error") in [name for name, _, _ in stage.telemetry.events]


def test_work_that_somebody_else_cancels_ends_the_run_as_cancelled(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, plans={1: Plan(ends=Status.CANCELLED)})
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.attempt) == (Phase.CANCELLED, 1)


# -- timeout -------------------------------------------------------------------------------------------------------


def test_a_timeout_cancels_the_remote_and_the_slot_is_held_until_it_has_ended(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, plans={1: Plan(seconds=10_000)})
    stage.send(event("1"))
    stage.send(event("2"), at=10)
    stage.play()
    first, second = stage.runs()
    effects = list(stage.backend.effects.values())
    assert effects[0].cancelled is not None
    assert effects[0].cancelled >= at(2 + 60)
    assert effects[1].attempt == (first.id, 2), "the next attempt is not run 2: the slot was held"
    assert effects[1].started >= effects[0].cancelled + 2 * SECOND, "and not before the first had ended"
    assert (first.phase, second.phase) == (Phase.SUCCEEDED, Phase.SUCCEEDED)


def test_a_cancel_that_fails_is_repeated(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, plans={1: Plan(seconds=10_000)})
    stage.backend.trouble["cancel"] = [Unavailable("503"), Unavailable("503")]
    stage.send(event("1"))
    stage.play()
    assert stage.backend.calls.count("cancel") >= 3
    assert [(run.phase, run.attempt) for run in stage.runs()] == [(Phase.SUCCEEDED, 2)]


def test_a_cancel_that_is_refused_does_not_free_the_slot_of_what_still_lives(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, plans={1: Plan(seconds=300, result={"version": 7})})
    stage.backend.trouble["cancel"] = [Refused("no permission to cancel")] * 10_000
    stage.send(event("1"))
    stage.send(event("2"), at=10)
    stage.play()
    first, second = stage.runs()
    assert (first.phase, first.attempt) == (Phase.SUCCEEDED, 1), "it ended by itself, which is no failure"
    assert first.ended_at is not None
    assert first.ended_at >= at(300)
    assert second.created_at >= first.ended_at


# -- rings ---------------------------------------------------------------------------------------------------------


def test_a_ring_for_nothing_does_nothing(stage: Stage) -> None:
    control_plane = stage.process().control_plane
    assert control_plane.wake(Ring(DEMAND, 1, 0)) == "no such lane"
    assert control_plane.advance(Ring(DEMAND, 1, 0)) == "no such run"


def test_a_ring_with_an_old_number_or_generation_is_dropped(stage: Stage) -> None:
    process = stage.process()
    stage.send(event("1"))
    stage.send(event("2"), at=1)
    for _ in range(20):
        found = stage.lanes.lane(DEMAND)
        if found and found[0].ring_no:
            break
        stage.step(process)
    for ring in (Ring(DEMAND, 1, 0), Ring(DEMAND, 1, 2), Ring(DEMAND, 0, 1), Ring(DEMAND, 2, 0)):
        assert process.control_plane.wake(ring).startswith("dropped: the lane is at 1/1")
    play_until(stage, Phase.RUNNING, process)
    (run,) = stage.runs()
    assert run.ring_no == 1
    assert process.control_plane.advance(Ring(DEMAND, 1, 0)) == "dropped: the run is at 1, the ring at 0"
    assert process.control_plane.advance(Ring(DEMAND, 1, 2)) == "dropped: the run is at 1, the ring at 2"


def test_every_message_may_come_twice_and_in_any_order(stage: Stage) -> None:
    stage.send(event("1"))
    stage.send(event("2"), at=3)
    process, seen = stage.process(), []
    for _ in range(2000):
        if stage.at_rest():
            break
        for queue, (_, ring) in stage.messages():
            seen.append((process.control_plane.wake if queue == "lane" else process.control_plane.advance, ring))
        stage.step(process)
        for handle, ring in reversed(seen[-20:]):
            handle(ring)
    assert stage.at_rest()
    assert len(stage.runs("curate")) == 2
    assert set(stage.backend.attempts().values()) == {1}
    assert len(stage.messages()) == 0


def test_a_run_that_has_ended_stays_as_it_is_whoever_rings(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    before, process = stage.runs(), stage.process()
    for run in before:
        ring = Ring(LaneKey(run.route, run.key), run.generation, run.ring_no)
        assert process.control_plane.advance(ring) == f"succeeded: {run.reason}"
    assert stage.runs() == before


@pytest.mark.parametrize("days", [7, 20])
def test_a_wait_over_six_days_is_cut_into_hops(stages: list[Stage], days: int) -> None:
    wait = dt.timedelta(days=days)
    stage = built(stages, dataclasses.replace(CURATE, flow=Flow(wait, wait), emits=None))
    process = stage.process()
    process.loop.submit("event_grid", [event("1")]).result()
    delays = []
    while not stage.runs():
        ((_, (due, ring)),) = stage.messages()
        delays.append(due - stage.clock.now())
        stage.clock.time, stage.bells.lanes = due, []
        process.control_plane.wake(ring)
    assert max(delays) <= dt.timedelta(days=6)
    assert stage.runs()[0].created_at == NOON + wait


def test_a_redelivered_message_of_a_run_that_waits_for_weeks_is_cut_into_hops_too(stages: list[Stage]) -> None:
    patient = Retry(2, dt.timedelta(days=20), frozenset({Failure.TRANSIENT}))
    broken = Plan(ends=Status.FAILED, failure=Failure.TRANSIENT)
    stage = built(stages, dataclasses.replace(CURATE, retry=patient, emits=None), plans={1: broken})
    stage.send(event("1"))
    process = play_until(stage, Phase.WAITING)
    (run,) = stage.runs()
    ring = Ring(DEMAND, 1, run.ring_no - 1)
    stage.bells.runs.clear()
    assert process.control_plane.advance(ring).startswith("dropped")
    assert stage.bells.runs == [], "a message that is only old sends nothing"
    process.control_plane.advance(ring, redelivered=True)
    ((due, sent),) = stage.bells.runs
    assert sent == Ring(DEMAND, 1, run.ring_no)
    assert due - stage.clock.now() == dt.timedelta(days=6)


# -- the rules change while work is under way ----------------------------------------------------------------------


def without(stage: Stage, name: str) -> None:
    left = tuple(route for route in stage.routes.routes if route.name != name)
    stage.routes = Routes(left, "digest-2")


def test_what_was_started_is_seen_through_when_its_route_is_gone(stage: Stage) -> None:
    stage.send(event("1"))
    play_until(stage, Phase.RUNNING)
    without(stage, "curate")
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.result) == (Phase.SUCCEEDED, {"version": 7})
    assert [heard["eventType"] for heard in stage.listeners.heard] == ["Sluice.RunSucceeded"]


def test_what_was_collected_ends_with_a_reason_when_its_route_is_gone(stage: Stage) -> None:
    stage.send(event("1"))
    process = stage.process()
    stage.step(process)
    without(stage, "curate")
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.reason) == (Phase.FAILED, "routes.yaml has no route curate any more")
    assert stage.backend.effects == {}


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.RUNNING])
def test_a_run_whose_action_is_gone_ends_with_a_reason(stage: Stage, phase: Phase) -> None:
    if phase is Phase.STARTING:
        stage.backend.trouble["start"] = [Unavailable("503")]
    stage.send(event("1"))
    play_until(stage, phase)
    del stage.actions["work"]
    stage.play()
    (run,) = stage.runs()
    assert run.phase is Phase.FAILED
    assert "there is no action 'work'" in run.reason
    assert stage.poison == []


def test_an_option_without_a_value_ends_the_run_before_anything_started(stages: list[Stage]) -> None:
    stage = built(stages, dataclasses.replace(CURATE, options={"x": "{event.data.nothing}"}))
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.reason) == (Phase.FAILED, "the route's options need event.data.nothing, which has no value")


# -- the store does not answer -------------------------------------------------------------------------------------


def failing(target: Any, name: str, times: int) -> None:
    """Let a port's next calls fail as a store fails."""
    whole, left = getattr(target, name), [times]

    def fail(*args: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise Unavailable(f"{name} does not answer")
        return whole(*args, **named)

    setattr(target, name, fail)


@pytest.mark.parametrize(
    ("port", "call"),
    [("lanes", "lane"), ("lanes", "collected"), ("lanes", "save_lane"), ("lanes", "hand_over"), ("lanes", "run"),
     ("lanes", "events"), ("lanes", "save_run"), ("lanes", "move"), ("due", "insert"), ("sets", "write"),
     ("sets", "read"), ("journal", "read"), ("bells", "ring_run"), ("listeners", "publish")],
)  # fmt: skip
@pytest.mark.parametrize("times", [1, 3])
def test_a_call_that_does_not_answer_delays_and_loses_nothing(
    stages: list[Stage], port: str, call: str, times: int
) -> None:
    stage = built(stages, GUARDED, TRAIN)
    stage.send(event("1"))
    stage.step(stage.process())
    failing(getattr(stage, port), call, times)
    stage.play()
    assert [(run.route, run.phase, run.attempt) for run in stage.runs()] == [
        ("curate", Phase.SUCCEEDED, 1), ("train", Phase.SUCCEEDED, 1),
    ]  # fmt: skip
    assert set(stage.backend.attempts().values()) == {1}


def test_an_end_that_cannot_be_told_is_told_later_and_once(stage: Stage) -> None:
    stage.send(event("1"))
    process = play_until(stage, Phase.RUNNING)
    failing(process.loop, "submit", 2)
    while not stage.at_rest():
        stage.step(process)
    assert stage.absorbed("train", "demand") == [stage.listeners.heard[0]["id"]]


# -- what the host gives up on, and what gets lost -----------------------------------------------------------------


def test_a_message_that_fails_five_times_is_journalled_and_the_sweep_rings_what_it_was_about(stage: Stage) -> None:
    stage.send(event("1"))
    whole, broken = stage.lanes.lane, [True]

    def lane(name: LaneKey, at: Any = None) -> Any:
        if broken[0]:
            raise RuntimeError("a bug")
        return whole(name, at)

    process = stage.process()
    stage.step(process)
    stage.lanes.lane = lane  # type: ignore[method-assign]
    for _ in range(20):
        stage.step(process)
    assert stage.poison
    broken[0] = False
    stage.play()
    assert [run.phase for run in stage.runs()] == [Phase.SUCCEEDED] * 2
    (note,) = stage.records("poison")
    assert note["queue"] == "sluice-lane"
    assert json.loads(note["body"]) == {"route": "curate", "key": "demand", "generation": 1, "number": 0}


class LossyBells(MemoryBells):
    """Queues that lose every message but those of the sweep."""

    def __init__(self, clock: Clock, lost: tuple[str, ...]) -> None:
        super().__init__(clock)
        self.lost, self.sweeping = lost, False

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        if self.sweeping or "lane" not in self.lost:
            super().ring_lane(ring, delay)

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        if self.sweeping or "run" not in self.lost:
            super().ring_run(ring, delay)


@pytest.mark.parametrize("lost", [("lane",), ("run",), ("lane", "run")])
def test_the_sweep_heals_every_lost_message(stage: Stage, lost: tuple[str, ...]) -> None:
    bells = stage.bells = LossyBells(stage.clock, lost)
    process = stage.process()
    sweep = process.control_plane.sweep

    def swept() -> int:
        bells.sweeping = True
        rung = sweep()
        bells.sweeping = False
        return rung

    process.control_plane.sweep = swept  # type: ignore[method-assign]
    stage.send(event("1"))
    stage.send(event("2"), at=200)
    for _ in range(2000):
        if stage.at_rest():
            break
        stage.step(process)
    assert stage.at_rest(), stage.unrest()
    assert [(run.route, run.generation, run.phase) for run in stage.runs()] == [
        ("curate", 1, Phase.SUCCEEDED), ("curate", 2, Phase.SUCCEEDED),
        ("train", 1, Phase.SUCCEEDED), ("train", 2, Phase.SUCCEEDED),
    ]  # fmt: skip
    assert set(stage.backend.attempts().values()) == {1}


def test_one_damaged_row_does_not_keep_the_sweep_from_the_others(stages: list[Stage]) -> None:
    stage = built(stages, dataclasses.replace(CURATE, key="{data.table}", emits=None))
    process, whole = stage.process(), stage.lanes.lane
    for table in ("bad", "good", "better"):
        process.loop.submit("event_grid", [event(table, table=table)]).result()

    def lane(name: LaneKey) -> Any:
        if name.key == "bad":
            raise ValueError("this row makes no sense")
        return whole(name)

    stage.lanes.lane = lane  # type: ignore[method-assign]
    stage.bells.lanes.clear()
    stage.clock.pass_(100)
    assert process.control_plane.sweep() == 2
    assert [ring.lane.key for _, (_, ring) in stage.messages()] == ["good", "better"]
    stage.lanes.lane = whole  # type: ignore[method-assign]
    stage.play()
    assert [run.key for run in stage.runs()] == ["bad", "better", "good"], "and it is looked at again"


def test_the_sweep_leaves_alone_what_is_not_late(stages: list[Stage]) -> None:
    stage = built(stages, dataclasses.replace(CURATE, flow=Flow(600 * SECOND, 600 * SECOND), emits=None))
    process = stage.process()
    process.loop.submit("event_grid", [event("1")]).result()
    stage.work(process)
    for _ in range(15):
        stage.clock.pass_(30)
        assert process.control_plane.sweep() == 0
    assert len(stage.messages()) == 1, "the one that waits until the lane has settled"


@pytest.mark.parametrize("reading", ["run", "touched"])
def test_what_is_handed_over_while_the_sweep_looks_at_it_is_looked_at_again(stage: Stage, reading: str) -> None:
    process = stage.process()
    process.loop.submit("event_grid", [event("1")]).result()
    whole = getattr(stage.lanes, reading)

    def overtaken(name: LaneKey, generation: int) -> Any:
        setattr(stage.lanes, reading, whole)
        stage.backend.trouble["start"] = [Unavailable("503")]
        stage.work(process)
        return whole(name, generation) if reading == "touched" else None

    stage.clock.pass_(100)
    setattr(stage.lanes, reading, overtaken)
    assert process.control_plane.sweep() == 0
    assert [run.alive for run in stage.runs()] == [True]
    assert stage.unrest()["due"] == 1


def test_the_sweep_forgets_what_needs_nothing_any_more(stage: Stage) -> None:
    stage.send(event("1"))
    stage.play()
    process = stage.process()
    stage.clock.pass_(1000)
    assert process.control_plane.sweep() == 0
    assert stage.unrest()["due"] == 0


def test_the_sweep_does_not_multiply_rings(stage: Stage) -> None:
    """Whatever it rings again and again carries the same number, so that one message of them counts."""
    process = stage.process()
    process.loop.submit("event_grid", [event("1")]).result()
    stage.bells.lanes.clear()
    for _ in range(10):
        stage.clock.pass_(61)
        process.control_plane.sweep()
    rings = {ring for _, (_, ring) in stage.messages()}
    assert rings == {Ring(DEMAND, 1, 0)}
    stage.play()
    assert len(stage.runs("curate")) == 1


# -- the lease -----------------------------------------------------------------------------------------------------


def test_calls_of_an_exclusive_action_are_made_by_one_worker_at_a_time(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, exclusive=True)
    stage.send(event("1"))
    first, second, said = stage.process(), stage.process(), []
    observe = stage.backend.observe

    def slow(*args: Any) -> Any:
        (run,) = stage.runs()
        said.append(second.control_plane.advance(Ring(DEMAND, 1, run.ring_no)))
        return observe(*args)

    stage.backend.observe = slow  # type: ignore[method-assign]
    play_until(stage, Phase.SUCCEEDED, first)
    assert said
    assert all(answer.startswith("held by another until") for answer in said)


def test_who_holds_the_lease_takes_in_what_was_written_meanwhile(stages: list[Stage]) -> None:
    """The message about it finds the run leased and is dropped: the cancelling must not wait for the sweep."""
    stage = built(stages, CURATE, exclusive=True, plans={1: Plan(seconds=600)})
    stage.send(event("1"))
    worker, person, said = stage.process(), stage.process(), []
    observe = stage.backend.observe

    def slow(*args: Any) -> Any:
        if not said:
            (run,) = stage.runs()
            person.control_plane.commands.cancel(run.id, "ann")
            said.append(person.control_plane.advance(Ring(DEMAND, 1, run.ring_no)))
        return observe(*args)

    stage.backend.observe = slow  # type: ignore[method-assign]
    play_until(stage, Phase.CANCELLED, worker)
    assert said[0].startswith("held by another until")
    assert stage.clock.now() < NOON + leases.LEASE


def test_who_finds_a_run_asleep_by_a_late_clock_does_not_take_its_lease_away(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, exclusive=True, plans={1: Plan(seconds=600)})
    process = stage.process()
    stage.send(event("1"))
    play_until(stage, Phase.RUNNING, process)
    found = stage.lanes.run(DEMAND, 1)
    assert found
    later = dataclasses.replace(found[0], next_at=stage.clock.now() + dt.timedelta(seconds=3))
    held = leases.leased(later, "somebody", stage.clock.now())
    stage.lanes.save_run(held, found[1])
    assert process.control_plane.advance(Ring(DEMAND, 1, held.ring_no)).startswith("held by another until")
    assert stage.runs() == [held]


def test_the_lease_of_a_worker_that_died_runs_out(stages: list[Stage]) -> None:
    stage = built(stages, CURATE, exclusive=True)
    stage.send(event("1"))
    dry = Fuse(10**9, after=False)
    stage.play(dry)
    stage = built(stages, CURATE, exclusive=True)
    stage.send(event("1"))
    stage.play(Fuse(dry.places.index("work.observe") + 1, after=True))
    assert [(run.phase, run.attempt) for run in stage.runs()] == [(Phase.SUCCEEDED, 1)]
