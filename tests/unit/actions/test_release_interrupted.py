"""Releases that are stopped, interrupted and lied to: production keeps one standing deployment that QA has passed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import release_evidence
from shared.errors import Refused
from shared.observations import Observation, Status
from shared.release_facts import Deployment, Group, Plan
from tests.unit.actions.release_world import (
    DIGEST,
    GROUP,
    NEW,
    OLD,
    OLD_TAGS,
    World,
    assert_matches,
    assert_untouched,
    finish,
    request,
    steps_until,
)

STEPS = [
    {"approval": "1d"},
    {"shadow": 5},
    {"weight": 10, "hold": "2m"},
    {"weight": 50, "hold": "2m"},
    {"weight": 100, "hold": "5m"},
]
CHECKS = {
    "analysis": {
        "interval": "1m",
        "patience": "10m",
        "wait": "1h",
        "checks": [
            {"metric": "failure_rate", "most": 0.05, "samples": 5},
            {"metric": "prediction_shift", "most": 1, "samples": 5},
        ],
    }
}
SUPERSEDED = {"kind": "superseded", "reason": "superseded by generation 5"}
BEFORE_RETURN = [
    "qa_create", "qa_wait", "qa_check", "qa_delete", "approval", "deploy", "deploy_wait", "smoke", "shadow",
    "traffic_plan", "traffic", "verify", "hold",
]  # fmt: skip


def progressive(**changes: Any) -> dict[str, Any]:
    return request(steps=STEPS, more=CHECKS, **changes)


def approved(world: World, **changes: Any) -> dict[str, Any]:
    """A request that somebody approves whenever it waits for that."""
    yes = {"verdict": "approve", "by": "ann", "at": world.now.isoformat(), "note": ""}
    return progressive(decisions=[yes], **changes)


@pytest.mark.parametrize("step", BEFORE_RETURN)
def test_a_release_that_is_to_end_turns_back_and_leaves_nothing_behind(step: str) -> None:
    world = World(newest="sha256:" + "ee" * 32)
    world.serve(OLD, 30)
    progress = walked(world, step)
    last = finish(world, progressive(ending=SUPERSEDED), progress)
    assert last.status is Status.CANCELLED
    assert_matches(last, f"{step}: superseded by generation 5")
    assert_untouched(world)


@pytest.mark.parametrize(("step", "call"), [("qa_create", "create"), ("deploy", "deploy ")])
def test_what_was_asked_for_when_the_release_turned_back_is_looked_for_until_it_cannot_appear_any_more(
    step: str, call: str
) -> None:
    world = World(newest="sha256:" + "ee" * 32)
    progress = steps_until(world, request(), step)
    world.fault = lambda what: "before" if what.startswith(call) else None
    progress = dict(world.observe(request(), progress).progress or {})
    world.fault = lambda _: None
    asked = request(ending=SUPERSEDED)
    for _ in range(3):  # nothing is to be seen yet
        progress = dict(world.observe(asked, progress).progress or {})
        world.now += dt.timedelta(seconds=10)
    tags = Plan.of(asked).tags({"evidence": {"correlation": "c"}})
    if step == "deploy":
        world.deployments[NEW] = Deployment("Succeeded", tags)
    else:
        world.groups[GROUP] = Group("Running", tags, "http://late")
    last = finish(world, asked, progress)
    assert last.status is Status.CANCELLED
    assert_untouched(world)


def test_a_container_group_whose_first_call_takes_effect_after_it_was_deleted_is_deleted_again() -> None:
    world = World()
    progress = steps_until(world, request(), "qa_create")
    world.fault = lambda what: "before" if what.startswith("create") else None
    seen = world.observe(request(), progress)
    assert (seen.status, seen.retry_after) == (Status.ACTIVE, 2.0)
    world.fault = lambda _: None
    progress = steps_until(world, request(), "qa_delete", dict(seen.progress or {}))
    late = world.groups[GROUP]
    progress = dict(world.observe(request(), progress).progress or {})
    assert not world.groups
    world.groups[GROUP] = late
    assert finish(world, request(), progress).status is Status.SUCCEEDED
    assert not world.groups


def test_a_release_is_not_superseded_by_its_own_image() -> None:
    world = World()
    world.serve(OLD, 30)
    progress = walked(world, "hold")
    asked = progressive(ending=SUPERSEDED)
    seen = world.observe(asked, progress)
    assert seen.status is Status.ACTIVE
    assert seen.progress["step"] == "hold"


@pytest.mark.parametrize("step", ["traffic", "verify", "hold", "retire"])
def test_a_release_past_its_point_of_no_return_goes_on(step: str) -> None:
    world = World(newest="sha256:" + "ee" * 32)
    progress = steps_until(world, request(steps=[{"weight": 100, "hold": "5m"}]), step)
    asked = request(steps=[{"weight": 100, "hold": "5m"}], ending=SUPERSEDED)
    assert finish(world, asked, progress).status is Status.SUCCEEDED
    assert world.traffic == {NEW: 100}


def test_a_release_that_bakes_says_why_it_goes_on() -> None:
    world = World(newest="sha256:" + "ee" * 32)
    progress = steps_until(world, request(steps=[{"weight": 100, "hold": "5m"}]), "hold")
    asked = request(steps=[{"weight": 100, "hold": "5m"}], ending=SUPERSEDED)
    seen = world.observe(asked, progress)
    assert_matches(seen, "superseded by generation 5, but it goes on: it is past its point of no return")


def walked(world: World, step: str) -> dict[str, Any]:
    """The progress with which a progressive release enters a step, with good traffic and somebody who approves."""
    progress: dict[str, Any] = {}
    while progress.get("step") != step:
        asked = approved(world)
        seen = world.observe(asked, progress)
        assert seen.status is Status.ACTIVE, seen.reason
        if seen.progress == progress:
            world.now += dt.timedelta(seconds=30)
        if world.traffic.get(NEW):
            world.serve(NEW, 3)
        progress = json.loads(json.dumps(seen.progress))
    return progress


CHANGES = [
    "crash", "sick", "well", "worse", "fail", "stuck", "differ", "busy", "settled", "grab", "older", "cancel", "move",
    "bad calls", "odd calls", "shadow fails", "no", "yes", "record", "newer", "delete old",
]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    faults=st.dictionaries(st.integers(0, 150), st.sampled_from(["before", "after", "refused"]), max_size=8),
    forgotten=st.sets(st.integers(0, 100), max_size=6),
    changes=st.dictionaries(st.integers(0, 90), st.sampled_from(CHANGES), max_size=5),
    quiet=st.booleans(),
    steps=st.sampled_from([None, STEPS, STEPS[1:], STEPS[2:], [STEPS[1], STEPS[4]]]),
)
def test_production_always_has_a_standing_deployment_that_qa_has_passed(
    faults: dict[int, str], forgotten: set[int], changes: dict[int, str], quiet: bool, steps: list[Any] | None
) -> None:
    """The world's own assertions watch every deployment, deletion and traffic map; here, that there is always one."""
    world = World()
    number = iter(range(100_000))
    world.fault = lambda what: _fault(faults.get(next(number)), what)
    extra: dict[str, Any] = {}
    progress: dict[str, Any] = {}
    seen = None
    pause = dt.timedelta(seconds=40)
    for turn in range(600):
        disturb(world, extra, changes.get(turn))
        world.calls.clear()
        if not quiet:
            world.serve(OLD, 4)
            if world.traffic.get(NEW):
                world.serve(NEW, 4, status=500 if "bad" in world.mood else 200, level=9 if "odd" in world.mood else 1)
        asked = request(steps=steps, more={**CHECKS, "tag": "2"}, **extra)
        seen = world.observe(asked, progress)
        assert sum(world.traffic.values()) == 100
        assert all(world.deployments[name].state == "Succeeded" for name in world.traffic), world.deployments
        if seen.status is not Status.ACTIVE:
            break
        pause = min(pause * 1.2, dt.timedelta(minutes=20)) if seen.progress == progress else dt.timedelta(seconds=40)
        if turn not in forgotten:  # a crash between the effect and the save
            progress = json.loads(json.dumps(seen.progress))
        world.now += pause
    assert seen is not None
    assert seen.status is not Status.ACTIVE, f"it has no end: {seen.reason}"
    assert seen.reason
    held(world, seen, changes)


def held(world: World, seen: Observation, changes: dict[int, str]) -> None:
    """What must be so in the end, whatever has happened."""
    own = "grab" not in changes.values() and "older" not in changes.values() and "delete old" not in changes.values()
    records = [release_evidence.read(body) for body in world.evidence.all("demand-forecast")]
    assert release_evidence.faults(world.evidence.all("demand-forecast")) == []
    assert len(records) <= 1
    if seen.status is Status.SUCCEEDED and own:
        assert world.traffic == {NEW: 100}
        assert DIGEST in world.examined
    if seen.status is not Status.SUCCEEDED and own and not _given_up(seen):
        assert world.traffic == {OLD: 100}, seen.reason
        assert world.deployments[OLD].tags == OLD_TAGS
    if records:
        wanted = {
            Status.SUCCEEDED: {"promoted"},
            Status.CANCELLED: {"stopped"},
            Status.FAILED: {"failed", "rolled back"},
        }
        assert records[0]["outcome"] in wanted[seen.status]
        assert records[0]["reason"] in seen.reason


def _given_up(seen: Observation) -> bool:
    """Whether the release has told that it could not put the traffic back."""
    return any(note.startswith("restore:") and "as before" not in note for note in seen.result["notes"])


def _fault(kind: str | None, what: str) -> str | None:
    if kind == "refused":
        raise Refused(f"{what} is locked")
    return kind


def disturb(world: World, extra: dict[str, Any], change: str | None) -> None:
    if change == "crash" and GROUP in world.groups:
        world.groups[GROUP] = dataclasses.replace(world.groups[GROUP], state="Terminated")
    elif change in ("sick", "well"):
        world.healthy = change == "well"
    elif change == "worse":
        world.qa_answer = {"prediction": 1.0, "mae": 2.0}
    elif change in ("fail", "stuck"):
        world.becomes = "Failed" if change == "fail" else "Creating"
    elif change == "differ":
        world.production_answer = {"prediction": 5.0}
    elif change in ("busy", "settled"):
        world.endpoint_state = "Updating" if change == "busy" else "Succeeded"
    elif change == "grab":
        world.deployments["hand-made"] = Deployment("Succeeded", {})
        world.images["hand-made"] = f"registry/x@{DIGEST}"
        world.traffic = {"hand-made": 100}
    elif change == "older" and OLD in world.deployments:
        world.traffic = {OLD: 100}
    elif change == "delete old" and not world.traffic.get(OLD):
        world.deployments.pop(OLD, None)
    elif change == "move":
        world.tags["2"] = "sha256:" + "ee" * 32
    elif change in ("bad calls", "odd calls"):
        world.mood = change
    elif change == "shadow fails":
        world.shadow_fails = True
    elif change in ("yes", "no"):
        said = {"verdict": "approve" if change == "yes" else "reject", "by": "ann", "at": world.now.isoformat()}
        extra["decisions"] = [*extra.get("decisions", []), said]
    elif change in ("cancel", "newer"):
        world.newest = "sha256:" + "ee" * 32
        kind = "cancelled" if change == "cancel" else "superseded"
        extra["ending"] = {"kind": kind, "reason": f"it was {kind}"}
