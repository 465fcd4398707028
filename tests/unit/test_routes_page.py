"""The examples of docs/routes.md do what the page says: each is loaded and played on the whole control plane."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from shared import route_file
from shared.errors import NotFound
from shared.observations import Failure, Status
from shared.phases import Phase
from shared.runs import Run
from tests.unit.worlds import NOON, Backend, Plan, Process, Stage, event

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "routes.md").read_text(encoding="utf-8")
EXAMPLES = {
    next(iter(found["routes"])): block
    for block in re.findall(r"^```yaml\n(routes:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for found in [yaml.safe_load(block)]
}
WORKS = {name for name, block in EXAMPLES.items() if "action: emit" in block}
played: set[str] = set()

Play = Callable[..., Stage]


@pytest.fixture
def play() -> Iterator[Play]:
    """A stage with the example of this name and a backend in place of its action."""
    stages: list[Stage] = []

    def made(name: str, plan: Plan | None = None) -> Stage:
        document = yaml.safe_load(EXAMPLES[name])
        routes = route_file.read(document, "docs/routes.md", {"emit": lambda _: []}, frozenset({"delta_data_change"}))
        stage = Stage(*routes.routes)
        stage.actions["emit"] = stage.backend = Backend(stage.clock, {n: plan or Plan() for n in range(1, 9)})
        stages.append(stage)
        played.add(name)
        return stage

    yield made
    for stage in stages:
        stage.close()


def landed(id_: str, table: str = "demand") -> str:
    return event(id_, "Lake.FileLanded", table=table)


def registered(id_: str, version: str = "7") -> str:
    return event(id_, "Models.Registered", name="demand", version=version, job="j1")


def pushed(id_: str, tag: str = "7") -> str:
    return event(id_, "Images.Pushed", repository="demand", tag=tag, digest="sha256:1")


def until(stage: Stage, process: Process, true: Callable[[], object]) -> None:
    for _ in range(2000):
        if true():
            return
        stage.step(process)
    raise AssertionError(f"it never comes to that: {stage.said[-5:]}")


def phases(stage: Stage) -> list[Phase]:
    return [run.phase for run in stage.runs()]


def ids(stage: Stage, run: Run) -> list[str]:
    return [entry["id"] for entry in stage.set_of(run)]


def alive(stage: Stage) -> int:
    assert isinstance(stage.backend, Backend)
    return sum(effect.ended(stage.clock.now()) is None for effect in stage.backend.effects.values())


def test_a_hundred_files_of_one_write_are_one_run_at_once(play: Play) -> None:
    stage = play("settle")
    stage.send(*(landed(str(number)) for number in range(100)))
    stage.play()
    (run,) = stage.runs()
    assert len(ids(stage, run)) == 100
    assert (run.created_at - NOON).total_seconds() < 10, "it does not wait until it is quiet"


def test_what_trickles_in_is_one_run_when_it_is_quiet(play: Play) -> None:
    stage = play("settle")
    for second in (0, 5, 14):
        stage.send(landed(str(second)), at=second)
    stage.play()
    (run,) = stage.runs()
    assert ids(stage, run) == ["0", "5", "14"]


def test_a_lane_works_on_as_many_as_its_concurrency_and_the_route_on_as_many_as_its_limit(play: Play) -> None:
    stage = play("limited", Plan(seconds=30))
    for number in range(4):
        for table in ("a", "b"):
            stage.send(landed(f"{table}{number}", table), at=number)
    process, most, in_lane = stage.process(), 0, 0
    for _ in range(4000):
        if stage.at_rest():
            break
        stage.step(process)
        most = max(most, alive(stage))
        running = [run.key for run in stage.runs() if run.phase is Phase.RUNNING]
        in_lane = max(in_lane, *(running.count(key) for key in ("a", "b")))
    assert (most, in_lane) == (3, 2)
    assert set(phases(stage)) == {Phase.SUCCEEDED}
    worked_on = sorted(id_ for run in stage.runs() for id_ in ids(stage, run))
    assert worked_on == sorted(f"{table}{number}" for table in "ab" for number in range(4))


def test_who_stands_in_line_is_served_in_the_order_of_coming(play: Play) -> None:
    stage = play("limited", Plan(seconds=30))
    tables = [f"t{number}" for number in range(9)]
    for number, table in enumerate(tables):
        stage.send(landed(table, table), at=number)
    stage.play()
    started = sorted(stage.runs(), key=lambda run: run.started_at or stage.clock.now())
    assert [run.key for run in started] == tables


def test_a_newer_set_supersedes_and_takes_the_older_along(play: Play) -> None:
    stage = play("superseding", Plan(seconds=30))
    stage.send(landed("1"))
    stage.send(landed("2"), at=10)
    stage.play()
    first, second = stage.runs()
    assert (first.phase, second.phase) == (Phase.CANCELLED, Phase.SUCCEEDED)
    assert ids(stage, second) == ["1", "2"]


def test_what_arrives_while_busy_is_skipped(play: Play) -> None:
    stage = play("skipping", Plan(seconds=30))
    stage.send(landed("1"))
    stage.send(landed("2"), at=10)
    stage.play()
    assert phases(stage) == [Phase.SUCCEEDED, Phase.SKIPPED]


def test_the_next_run_waits_for_the_cooldown(play: Play) -> None:
    stage = play("cooling")
    stage.send(landed("1"))
    stage.send(landed("2"), at=60)
    stage.play()
    first, second = stage.runs()
    assert first.ended_at is not None
    assert (second.created_at - first.ended_at).total_seconds() >= 3600


def test_a_join_fires_when_all_types_have_come_and_its_options_name_each(play: Play) -> None:
    stage = play("join")
    stage.send(pushed("image"))
    stage.send(registered("other", version="8"))
    stage.send(registered("model"), at=600)
    stage.play()
    joined, missed = sorted(stage.runs(), key=lambda run: run.key)
    assert (joined.phase, ids(stage, joined)) == (Phase.SUCCEEDED, ["image", "model"])
    assert (joined.created_at - NOON).total_seconds() < 660, "the event that completes it starts it"
    assert joined.request is not None
    assert joined.request["options"] == {"digest": "sha256:1", "job": "j1"}
    assert (missed.key, missed.phase) == ("demand/8", Phase.SKIPPED)


def test_a_join_that_is_missed_says_what_is_missing_and_a_late_event_still_completes_it(play: Play) -> None:
    stage = play("join")
    stage.send(registered("model"))
    stage.send(pushed("image"), at=3 * 3600)
    stage.play()
    missed, joined = stage.runs()
    (told,) = [heard for heard in stage.listeners.heard if heard["eventType"] == "Sluice.JoinMissed"]
    assert told["data"]["missing"] == ["Images.Pushed"]
    assert missed.phase is Phase.SKIPPED
    assert (joined.phase, ids(stage, joined)) == (Phase.SUCCEEDED, ["model", "image"])


def test_what_comes_after_a_join_has_fired_is_late_and_says_what_it_joins(play: Play) -> None:
    stage = play("join")
    stage.send(pushed("image"), registered("model"))
    stage.send(pushed("again"), at=60)
    stage.play()
    assert phases(stage) == [Phase.SUCCEEDED, Phase.SKIPPED]
    assert stage.runs()[1].reason.startswith("late: it joins generation 1")


def test_a_key_that_fires_once_has_one_run(play: Play) -> None:
    stage = play("once")
    for number in range(5):
        stage.send(pushed(str(number)), at=20 * number)
    stage.play()
    assert phases(stage).count(Phase.SUCCEEDED) == 1
    assert set(phases(stage)) == {Phase.SUCCEEDED, Phase.SKIPPED}


def test_a_run_waits_for_a_person_without_a_slot_and_starts_when_approved(play: Play) -> None:
    stage = play("asking")
    process = stage.process()
    stage.send(landed("1"))
    until(stage, process, lambda: phases(stage) == [Phase.APPROVAL])
    (run,) = stage.runs()
    assert run.request is not None, "the request is frozen"
    assert not any(lane.slots for lane in stage.lanes.all_lanes())
    assert alive(stage) == 0
    process.control_plane.commands.approve(run.id, "ada", "looked at it")
    stage.play(most=20_000)
    (run,) = stage.runs()
    assert run.phase is Phase.SUCCEEDED
    assert any("approved by ada: looked at it" in line for line in run.history)


def test_what_is_rejected_or_not_approved_in_time_is_cancelled_and_never_starts(play: Play) -> None:
    stage = play("asking")
    process = stage.process()
    stage.send(landed("1", "a"), landed("2", "b"))
    until(stage, process, lambda: phases(stage) == [Phase.APPROVAL] * 2)
    first, _ = stage.runs()
    process.control_plane.commands.reject(first.id, "ada")
    stage.play(most=20_000)
    rejected, expired = stage.runs()
    assert (rejected.phase, rejected.reason) == (Phase.CANCELLED, "rejected by ada")
    assert (expired.phase, expired.reason) == (Phase.CANCELLED, "nobody has approved it in time")
    assert isinstance(stage.backend, Backend)
    assert not stage.backend.effects


def test_who_asked_for_a_run_cannot_approve_it_and_only_what_asks_is_approved(play: Play) -> None:
    stage = play("asking", Plan(ends=Status.FAILED, failure=Failure.PERMANENT))
    process = stage.process()
    commands = process.control_plane.commands
    stage.send(landed("1"))
    until(stage, process, lambda: phases(stage) == [Phase.APPROVAL])
    (run,) = stage.runs()
    commands.reject(run.id, "ada")
    until(stage, process, lambda: not any(run.alive for run in stage.runs()))
    commands.retry(run.id, "bob")
    assert phases(stage) == [Phase.APPROVAL], "what was rejected is approved before it starts"
    with pytest.raises(ValueError, match=r"bob has asked for run .*: somebody else must approve it"):
        commands.approve(run.id, "bob")
    commands.approve(run.id, "ada")
    stage.play(most=20_000)
    with pytest.raises(ValueError, match="is failed: it asks nothing of a person"):
        commands.approve(run.id, "ada")
    with pytest.raises(NotFound):
        commands.approve("nobody", "ada")


def test_a_failure_of_a_named_class_gets_another_attempt(play: Play) -> None:
    stage = play("retrying", Plan(ends=Status.FAILED, failure=Failure.TRANSIENT))
    stage.send(landed("1"))
    stage.play()
    (run,) = stage.runs()
    assert (run.phase, run.attempt) == (Phase.FAILED, 3)


def test_an_attempt_that_takes_longer_is_cancelled(play: Play) -> None:
    stage = play("impatient", Plan(seconds=10 * 3600))
    stage.send(landed("1"))
    stage.play()
    (run,) = stage.runs()
    assert run.phase is Phase.FAILED
    assert "it took longer than 2:00:00 and was cancelled" in run.reason
    assert alive(stage) == 0


def test_every_example_of_a_policy_is_played() -> None:
    assert played == WORKS
