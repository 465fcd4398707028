"""A backend that says that its work has ended only changes when it is looked at."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import types
from collections.abc import Iterator
from typing import Any

import pytest

from shared import early_rings, leases, runs
from shared.events import Event, parse
from shared.lanes import LaneKey
from shared.phases import Phase
from shared.routing import Route
from tests.unit.worlds import Backend, Flaky, Plan, Process, Stage, event

ROUTE = Route("train", frozenset({"A.B"}), "demand", "work", {}, timeout=dt.timedelta(hours=4))
TOKEN = "c" * 64
HOUR = 3600.0


def said(kind: str = "RunCompleted", **changes: Any) -> str:
    """What Azure ML raises when a job has ended."""
    tags = {"run": "train-1-1", "token": TOKEN, "correlation": "c"}
    data = {"experimentName": "e", "runId": f"sluice-{TOKEN[:32]}", "runType": "azureml.PipelineRun", "runTags": tags}
    return json.dumps(
        {
            "id": "1",
            "topic": "/workspace",
            "subject": "experiments/e/runs/x",
            "eventType": f"Microsoft.MachineLearningServices.{kind}",
            "data": data | changes,
        }
    )


def read(payload: str) -> Event:
    (found,) = parse(payload)
    assert isinstance(found, Event)
    return found


@pytest.mark.parametrize(
    "payload",
    [said(), *(said("RunStatusChanged", runStatus=status) for status in ("Completed", "Failed", "Canceled"))],
)
def test_the_end_of_a_job_names_its_run(payload: str) -> None:
    assert early_rings.run_named(read(payload)) == "train-1-1"
    assert early_rings.worth_hearing([payload])
    assert early_rings.worth_hearing([payload.encode()])


def test_a_deployment_that_stands_names_the_release_that_asked_for_it() -> None:
    payload = said("ModelDeployed", ServiceName="demand", ServiceTags={"sluice-run": "release-1-1"})
    assert early_rings.run_named(read(payload)) == "release-1-1"
    assert early_rings.worth_hearing([payload])


@pytest.mark.parametrize(
    "payload",
    [
        said("RunStatusChanged", runStatus="Running"),
        said("ModelDeployed", ServiceTags={"team": "water"}),
        said(runId=f"sluice-{TOKEN[:32]}_step"),
        said(runTags={}),
        said(runTags={"run": "train-1-1", "token": "d" * 64}),
        said(runTags={"run": ["x"], "token": TOKEN}),
        said("ModelRegistered"),
        event("1"),
    ],
)
def test_a_step_another_status_or_somebody_elses_job_names_none(payload: str) -> None:
    assert early_rings.run_named(read(payload)) is None


def test_what_a_lake_sends_is_not_even_read() -> None:
    assert not early_rings.worth_hearing([event("1"), event("2").encode()])


# -- on the whole control plane -------------------------------------------------------------------------------------


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(ROUTE)
    made.backend = Backend(made.clock, {1: Plan(seconds=HOUR)})
    made.actions["work"] = made.backend
    made.sweeping = False
    yield made
    made.close()


def working(stage: Stage) -> tuple[Process, str]:
    """A process and the token of its run, which has been looked at for so long that the pauses are long."""
    process = stage.process()
    stage.send(event("1"))
    for _ in range(200):
        stage.step(process)
        if stage.runs() and stage.runs()[0].next_at > stage.clock.now() + dt.timedelta(seconds=20):
            break
    (run,) = stage.runs()
    assert run.phase is Phase.RUNNING
    assert run.request
    return process, run.request["token"]


def tell(process: Process, stage: Stage, token: str) -> None:
    tags = {"run": stage.runs()[0].id, "token": token}
    process.control_plane._early.hear([said(runId=f"sluice-{token[:32]}", runTags=tags)])


def end(stage: Stage) -> None:
    assert isinstance(stage.backend, Backend)
    for token, effect in stage.backend.effects.items():
        stage.backend.effects[token] = dataclasses.replace(effect, plan=Plan(seconds=0))


def test_a_run_whose_work_has_ended_is_looked_at_when_the_backend_says_so(stage: Stage) -> None:
    process, token = working(stage)
    at = stage.clock.now()
    end(stage)
    tell(process, stage, token)
    stage.drain(process)
    assert stage.runs()[0].phase is Phase.SUCCEEDED
    assert stage.clock.now() == at


def test_an_event_that_is_false_changes_nothing_but_when_it_is_looked_at(stage: Stage) -> None:
    process, token = working(stage)
    tell(process, stage, token)
    tell(process, stage, token)
    stage.drain(process)
    (run,) = stage.runs()
    assert run.phase is Phase.RUNNING
    stage.play(sweeping=False)
    assert stage.runs()[0].phase is Phase.SUCCEEDED
    assert len(stage.backend.effects) == 1


def test_its_messages_do_not_multiply(stage: Stage) -> None:
    process, token = working(stage)
    for _ in range(5):
        tell(process, stage, token)
    stage.drain(process)
    stage.drain(process)
    live = [ring for _, ring in stage.bells.runs if ring.number == stage.runs()[0].ring_no]
    assert len(live) == 1


def test_a_run_that_is_being_looked_at_is_left_alone(stage: Stage) -> None:
    process, token = working(stage)
    (run,) = stage.runs()
    found = stage.lanes.run(LaneKey(run.route, run.key), run.generation)
    assert found
    stage.lanes.save_run(leases.leased(run, "somebody", stage.clock.now()), found[1])
    tell(process, stage, token)
    assert stage.runs()[0].next_at == run.next_at


def test_a_run_that_has_ended_is_left_alone(stage: Stage) -> None:
    process, token = working(stage)
    stage.play(sweeping=False)
    ended = stage.runs()[0]
    tell(process, stage, token)
    assert stage.runs()[0] == ended


@pytest.mark.parametrize("after", [False, True])
def test_it_never_raises_whatever_does_not_answer(stage: Stage, after: bool) -> None:
    _, token = working(stage)
    for at in range(1, 6):
        tell(stage.process(Flaky(at, after=after)), stage, token)
    assert stage.runs()[0].phase is Phase.RUNNING


def test_every_delivery_that_is_taken_in_is_heard(stage: Stage) -> None:
    process, token = working(stage)

    async def taken(*_: Any) -> list[Any]:
        return []

    process.control_plane._intake = types.SimpleNamespace(receive=taken)  # type: ignore[assignment]
    tags = {"run": stage.runs()[0].id, "token": token}
    later = stage.runs()[0].next_at
    told = said(runId=f"sluice-{token[:32]}", runTags=tags)
    asyncio.run(process.control_plane.receive("event_grid", [told, event("2")]))
    assert stage.runs()[0].next_at == stage.clock.now() < later


def test_only_a_run_that_works_is_hastened(stage: Stage) -> None:
    working(stage)
    stage.play(sweeping=False)
    with pytest.raises(ValueError, match="it cannot be hastened"):
        runs.hastened(stage.runs()[0], stage.clock.now())
