"""Releases that are cancelled, interrupted and lied to: production keeps one standing deployment that QA has passed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import Unavailable
from shared.observations import Status
from shared.release_facts import Deployment
from tests.unit.actions.release_world import (
    DIGEST,
    GROUP,
    NEW,
    World,
    assert_untouched,
    finish,
    request,
    steps_until,
)


@pytest.mark.parametrize("step", ["qa_create", "qa_wait", "qa_check", "qa_delete", "deploy", "deploy_wait", "smoke"])
def test_a_cancelled_release_leaves_nothing_behind(step: str) -> None:
    world = World()
    asked = request()
    progress = steps_until(world, asked, step)
    remote = world.release.start(asked)
    for _ in range(60):  # as the control plane does: observe, and cancel while it is still active
        seen = world.release.observe(asked, remote, progress)
        if seen.status is not Status.ACTIVE:
            break
        world.release.cancel(asked, remote)
        world.now += dt.timedelta(seconds=30)
        progress = dict(seen.progress or {})
    assert seen.status is Status.FAILED
    assert_untouched(world)


def test_cancelling_after_the_traffic_was_moved_breaks_nothing() -> None:
    world = World()
    asked = request()
    progress = steps_until(world, asked, "verify")
    world.release.cancel(asked, world.release.start(asked))
    assert finish(world, asked, progress).status is Status.SUCCEEDED
    assert world.traffic == {NEW: 100}


@settings(max_examples=150, deadline=None)
@given(
    faults=st.dictionaries(st.integers(0, 60), st.sampled_from(["before", "after"]), max_size=8),
    forgotten=st.sets(st.integers(0, 60), max_size=6),
    changes=st.dictionaries(
        st.integers(0, 40),
        st.sampled_from(["crash", "sick", "well", "worse", "fail", "differ", "busy", "settled", "grab", "cancel"]),
        max_size=5,
    ),
)
def test_production_always_has_a_standing_deployment_that_qa_has_passed(
    faults: dict[int, str], forgotten: set[int], changes: dict[int, str]
) -> None:
    """The world's own assertions watch every deployment, deletion and traffic map; here, that there is always one."""
    world = World()
    number = iter(range(10_000))
    world.fault = lambda _: faults.get(next(number))
    asked, progress, seen = request(), {}, None
    for turn in range(120):
        disturb(world, asked, changes.get(turn))
        try:
            seen = world.release.observe(asked, world.release.start(asked), progress)
        except Unavailable:
            seen = None
        assert sum(world.traffic.values()) == 100
        assert all(world.deployments[name].state == "Succeeded" for name in world.traffic)
        if seen and seen.status is not Status.ACTIVE:
            break
        if seen and turn not in forgotten:  # a crash between the effect and the save
            progress = json.loads(json.dumps(seen.progress))
        world.now += dt.timedelta(seconds=40)
    if seen and seen.status is Status.SUCCEEDED and "grab" not in changes.values():
        assert world.traffic == {NEW: 100}
        assert DIGEST in world.examined


def disturb(world: World, asked: dict[str, object], change: str | None) -> None:
    if change == "crash" and GROUP in world.groups:
        world.groups[GROUP] = dataclasses.replace(world.groups[GROUP], state="Terminated")
    elif change in ("sick", "well"):
        world.healthy = change == "well"
    elif change == "worse":
        world.qa_answer = {"prediction": 1.0, "mae": 2.0}
    elif change == "fail":
        world.becomes = "Failed"
    elif change == "differ":
        world.production_answer = {"prediction": 5.0}
    elif change in ("busy", "settled"):
        world.endpoint_state = "Updating" if change == "busy" else "Succeeded"
    elif change == "grab":
        world.deployments["hand-made"] = Deployment("Succeeded", {})
        world.images["hand-made"] = f"registry/x@{DIGEST}"
        world.traffic = {"hand-made": 100}
    elif change == "cancel":
        try:
            world.release.cancel(asked, world.release.start(asked))
        except Unavailable:
            return
