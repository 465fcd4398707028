"""Flow policy on the whole control plane: superseding, skipping, cooling down, cancelling, working on a set again."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

import pytest

from shared.errors import NotFound
from shared.flow import Busy, Flow
from shared.observations import Failure, Status
from shared.phases import Phase
from shared.routing import Route
from shared.runs import Retry
from tests.unit.worlds import Backend, Plan, Process, Stage, event

SECOND = dt.timedelta(seconds=1)
SLOW = Plan(seconds=30)
ROUTE = Route(
    "curate", frozenset({"A.B"}), "demand", "work", {"set": "{manifest.url}"}, timeout=600 * SECOND, retry=Retry(1)
)  # fmt: skip


def staged(flow: Flow, plan: Plan, *, exclusive: bool = False) -> Stage:
    made = Stage(dataclasses.replace(ROUTE, flow=flow))
    made.backend = Backend(made.clock, {1: plan}, exclusive=exclusive)
    made.actions["work"] = made.backend
    return made


@pytest.fixture
def superseding() -> Iterator[Stage]:
    stage = staged(Flow(when_busy=Busy.SUPERSEDE), SLOW)
    yield stage
    stage.close()


def until(stage: Stage, phase: Phase, process: Process) -> None:
    for _ in range(500):
        if any(run.phase is phase for run in stage.runs("curate")):
            return
        stage.step(process)
    raise AssertionError(f"no run is ever {phase}")


def working(stage: Stage) -> int:
    """How many of the backend's works live now."""
    assert isinstance(stage.backend, Backend)
    return sum(effect.ended(stage.clock.now()) is None for effect in stage.backend.effects.values())


def test_a_newer_generation_cancels_the_remote_work_and_takes_its_set_along(superseding: Stage) -> None:
    process = superseding.process()
    superseding.send(event("1"))
    until(superseding, Phase.RUNNING, process)
    superseding.send(event("2"))
    superseding.play()
    first, second = superseding.runs("curate")
    assert (first.phase, second.phase) == (Phase.CANCELLED, Phase.SUCCEEDED)
    assert "superseded by generation 2" in first.reason
    assert [entry["id"] for entry in superseding.set_of(second)] == ["1", "2"]


def test_the_work_that_is_superseded_has_ended_before_the_next_begins(superseding: Stage) -> None:
    process = superseding.process()
    superseding.send(event("1"))
    until(superseding, Phase.RUNNING, process)
    superseding.send(event("2"))
    for _ in range(500):
        superseding.step(process)
        assert working(superseding) <= 1
        if all(run.phase.final for run in superseding.runs("curate")) and len(superseding.runs("curate")) == 2:
            return
    raise AssertionError("the second run never ends")


def test_a_busy_source_cannot_starve_its_lane(superseding: Stage) -> None:
    process = superseding.process()
    for number in range(200):
        superseding.send(event(str(number)))
        superseding.step(process)
        superseding.step(process)
    superseding.play()
    phases = [run.phase for run in superseding.runs("curate")]
    assert phases.count(Phase.SUCCEEDED) >= 2
    longest = max(len(row) for row in "".join("x" if phase is Phase.CANCELLED else " " for phase in phases).split(" "))
    assert longest <= 3
    done = [run for run in superseding.runs("curate") if run.phase is Phase.SUCCEEDED]
    told = [entry["id"] for run in done for entry in superseding.set_of(run)]
    assert sorted(told) == sorted(str(number) for number in range(200)), (
        "every event is in the set of a run that succeeded"
    )


def test_what_arrives_while_busy_is_skipped_and_says_so() -> None:
    stage = staged(Flow(when_busy=Busy.SKIP), SLOW)
    process = stage.process()
    stage.send(event("1"))
    until(stage, Phase.RUNNING, process)
    stage.send(event("2"))
    stage.play()
    first, second = stage.runs("curate")
    assert (first.phase, second.phase) == (Phase.SUCCEEDED, Phase.SKIPPED)
    assert "skips what arrives meanwhile" in second.reason
    stage.close()


def test_a_cooldown_delays_the_next_run_and_drops_nothing() -> None:
    stage = staged(Flow(cooldown=300 * SECOND), Plan(seconds=1))
    stage.send(event("1"))
    stage.play()
    stage.send(event("2"))
    stage.play()
    first, second = stage.runs("curate")
    assert first.ended_at is not None
    assert second.created_at >= first.ended_at + 300 * SECOND
    assert [entry["id"] for entry in stage.set_of(second)] == ["2"]
    stage.close()


def test_a_cancelled_run_ends_when_its_remote_work_has() -> None:
    stage = staged(Flow(), SLOW)
    process = stage.process()
    stage.send(event("1"))
    until(stage, Phase.RUNNING, process)
    (run,) = stage.runs("curate")
    process.control_plane.commands.cancel(run.id)
    stage.play()
    (run,) = stage.runs("curate")
    assert run.phase is Phase.CANCELLED
    assert "an operator cancelled it" in run.reason
    assert working(stage) == 0
    stage.close()


def test_a_run_whose_backend_never_answers_can_be_abandoned_and_the_next_one_starts() -> None:
    stage = staged(Flow(), Plan(seconds=30, quiet=10_000_000))
    process = stage.process()
    stage.send(event("1"))
    until(stage, Phase.RUNNING, process)
    (run,) = stage.runs("curate")
    with pytest.raises(ValueError, match="cancel it first"):
        process.control_plane.commands.abandon(run.id, "ada")
    process.control_plane.commands.cancel(run.id)
    process.control_plane.commands.abandon(run.id, "ada")
    stage.send(event("2"))
    until(stage, Phase.RUNNING, process)
    first, second = stage.runs("curate")
    assert first.phase is Phase.FAILED
    assert "ada abandoned it" in first.reason
    assert (second.phase, second.failed) == (Phase.RUNNING, (first.generation,))
    stage.close()


def test_the_set_of_a_failed_run_is_worked_on_again_under_a_new_token() -> None:
    stage = staged(Flow(), Plan(seconds=1, ends=Status.FAILED, failure=Failure.PERMANENT))
    stage.send(event("1"))
    stage.play()
    (failed,) = stage.runs("curate")
    assert failed.phase is Phase.FAILED
    process = stage.process()
    process.control_plane.commands.retry(failed.id)
    stage.play()
    (again,) = stage.runs("curate")
    assert (again.generation, again.attempt) == (failed.generation, 2)
    assert [entry["id"] for entry in stage.set_of(again)] == ["1"]
    assert isinstance(stage.backend, Backend)
    assert len(stage.backend.effects) == 2
    stage.close()


def test_what_has_succeeded_or_still_works_is_not_worked_on_again() -> None:
    stage = staged(Flow(), Plan(seconds=1))
    stage.send(event("1"))
    stage.play()
    (run,) = stage.runs("curate")
    with pytest.raises(ValueError, match="is succeeded: only what has failed or was cancelled"):
        stage.process().control_plane.commands.retry(run.id)
    with pytest.raises(NotFound, match="there is no run 'nope'"):
        stage.process().control_plane.commands.cancel("nope")
    stage.close()
