"""The real control plane drives a release, and its process dies before or after any call that the release makes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from shared import release_evidence
from shared.actions.release import Release
from shared.adapters.memory_releases import MemoryServedCalls
from shared.phases import Phase
from shared.routing import Route
from shared.tallies import Tally, one
from tests.unit.actions.release_world import DIGEST, NEW, OLD, World, request
from tests.unit.worlds import Crash, Stage, event

CHECKS = {"interval": "10s", "checks": [{"metric": "failure_rate", "most": 0.05, "samples": 3}]}
STEPS = [{"shadow": 3}, {"weight": 20, "hold": "1m"}, {"weight": 100, "hold": "1m"}]
OPTIONS = request(steps=STEPS, more={"tag": "2", "analysis": CHECKS})["options"]
ROUTE = Route("release", frozenset({"A.B"}), "demand", "release", OPTIONS, timeout=dt.timedelta(days=2))


class Answering(MemoryServedCalls):
    """A log in which every deployment has served some calls, the new one with this status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def served(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Tally:  # noqa: ARG002
        made = Tally()
        for _ in range(10):
            made += one(self.status if deployment == NEW else 200, 20.0, [1.0])
        return made


def played(fault: Callable[[str], str | None], change: Callable[[World], None] = lambda _: None) -> World:
    """A release from its event to its end, with what happens on the way."""
    world, stage = World(served=Answering(200)), Stage(ROUTE)
    world.now = stage.clock.time
    change(world)
    world.serve(OLD, 5)
    stage.actions["release"] = Release(world.backends, stage.clock)
    stage.send(event("1"))

    def watched(what: str) -> str | None:
        assert sum(world.traffic.values()) == 100
        assert all(world.deployments[name].state == "Succeeded" for name in world.traffic)
        return fault(what)

    world.fault = watched
    try:
        stage.play()
        assert stage.poison == []
        [run] = stage.runs("release")
        world.log = f"{run.phase}: {run.reason}"
        assert run.phase is (Phase.SUCCEEDED if world.traffic == {NEW: 100} else Phase.FAILED), run.reason
    finally:
        stage.close()
    return world


def dying(at: int, *, after: bool) -> Callable[[str], str | None]:
    """The process dies at the call with this number, before it took effect or after."""
    numbers = iter(range(1, 10_000))

    def fault(what: str) -> str | None:
        if next(numbers) != at:
            return None
        if after:
            return "die"
        raise Crash(what)

    return fault


def calls(change: Callable[[World], None] = lambda _: None) -> list[str]:
    """Every call of the undisturbed release."""
    made: list[str] = []
    played(lambda what: made.append(what), change)  # type: ignore[func-returns-value]
    return made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_process_that_dies_at_any_call_of_a_release_leaves_it_to_be_finished(after: bool) -> None:
    for number, place in enumerate(calls(), 1):
        world = played(dying(number, after=after))
        assert (world.traffic, set(world.deployments)) == ({NEW: 100}, {NEW}), (place, world.log)
        assert world.groups == {}, place
        assert DIGEST in world.examined
        records = [release_evidence.read(body)["outcome"] for body in world.evidence.all("demand-forecast")]
        assert records == ["promoted"], place


def errs_in_production(world: World) -> None:
    world.served = Answering(500)


def fails_to_stand(world: World) -> None:
    world.becomes = "Failed"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("change", [fails_to_stand, errs_in_production])
def test_a_process_that_dies_while_a_release_turns_back_leaves_the_champion_as_it_was(
    after: bool, change: Callable[[World], None]
) -> None:
    for number, place in enumerate(calls(change), 1):
        world = played(dying(number, after=after), change)
        assert (world.traffic, set(world.deployments), world.groups) == ({OLD: 100}, {OLD}, {}), (place, world.log)
        assert len(world.evidence.all("demand-forecast")) == 1, place
