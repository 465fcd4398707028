"""The shipped route `packaged`: a registered version and its image are one thing, and a missing image is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import route_file
from shared.adapters import yaml_file
from shared.phases import Phase
from tests.unit.worlds import Backend, Plan, Stage

ROOT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'1' * 64}"


@pytest.fixture
def stage() -> Iterator[Stage]:
    document = yaml_file.load(ROOT / "routes.yaml")
    alone = {**document, "routes": {"packaged": document["routes"]["packaged"]}}
    stage = Stage(*route_file.read(alone, "routes.yaml", {"emit": lambda _: []}, frozenset()).routes)
    stage.actions["emit"] = stage.backend = Backend(stage.clock, {number: Plan() for number in range(1, 9)})
    yield stage
    stage.close()


def registered(version: int) -> str:
    data = {"modelName": "demand-forecast", "modelVersion": version}
    return event("MachineLearningServices.ModelRegistered", f"models/demand-forecast:{version}", data)


def pushed(tag: str | None, repository: str = "demand-forecast") -> str:
    target = {"repository": repository, "digest": DIGEST} | ({"tag": tag} if tag else {})
    subject = repository + (f":{tag}" if tag else "")
    return event("ContainerRegistry.ImagePushed", subject, {"target": target})


def event(type_: str, subject: str, data: dict[str, object]) -> str:
    told = {"id": f"{type_}/{subject}", "topic": "/t", "subject": subject, "eventType": f"Microsoft.{type_}"}
    return json.dumps({**told, "data": data})


def told(stage: Stage, type_: str) -> list[dict[str, object]]:
    return [dict(heard["data"]) for heard in stage.listeners.heard if heard["eventType"] == type_]


def test_a_registered_version_and_its_image_are_joined_whichever_comes_first(stage: Stage) -> None:
    stage.send(registered(3), pushed("4"))
    stage.send(registered(4), pushed("3"), at=60)
    stage.play()
    found = {run.key: (run.phase, run.request["options"] if run.request else None) for run in stage.runs()}
    assert found == {
        f"demand-forecast:{version}": (Phase.SUCCEEDED, {"version": version, "digest": DIGEST}) for version in (3, 4)
    }


def test_a_registered_version_without_an_image_in_time_is_told(stage: Stage) -> None:
    stage.send(registered(3))
    stage.play()
    (run,) = stage.runs()
    (missed,) = told(stage, "Sluice.JoinMissed")
    assert run.phase is Phase.SKIPPED
    assert missed["missing"] == ["Microsoft.ContainerRegistry.ImagePushed"]


def test_the_second_event_of_a_push_and_other_images_are_no_part_of_it(stage: Stage) -> None:
    stage.send(pushed(None), pushed("3", "another-model"))
    stage.play()
    assert stage.runs() == []
