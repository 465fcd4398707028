"""Ten thousand events in one lane are one run, and what operators ask stays quick: it reads pages, not events."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from shared.flow import Flow
from shared.routing import Route
from shared.runs import Phase
from tests.contract.conftest import Store
from tests.contract.plants import Plant, payload

MANY = 10_000
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def plant(fresh: Store) -> Plant:
    return Plant(fresh, Route("curate", frozenset({"A.B"}), "demand", "work", {}, flow=Flow(2 * SECOND, 60 * SECOND)))


class Counting:
    """A port that counts its calls."""

    def __init__(self, port: Any, calls: list[str]) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        self._calls.append(name)
        return value


def test_ten_thousand_events_of_a_lane_are_one_run_with_all_of_them_once(plant: Plant) -> None:
    payloads = [payload(plant, f"e{number}") for number in range(MANY)]
    for at in range(0, MANY, 500):
        receipts = plant.receive([*payloads[at : at + 500], payloads[0]])
        assert len(receipts) == 501
    (lane,) = plant.operations.lanes()
    assert lane["collecting"] == MANY
    plant.work()
    (run,) = [run for run in plant.store.lanes.all_runs() if run.generation == 1]
    assert run.phase is Phase.SUCCEEDED
    assert run.manifest is not None
    assert run.manifest["count"] == MANY
    name = str(run.manifest["url"]).partition("sets/")[2]
    listed = [entry["id"] for entry in json.loads(plant.store.sets.read(name))["events"]]
    assert len(listed) == len(set(listed)) == MANY
    assert len(plant.backend.effects) == 1

    assert len(plant.operations.events()) == 50
    plant.tick()
    assert plant.operations.counts()["routed"] == MANY
    told = plant.operations.explain("e7777")
    assert [step["run"] for step in told["led_to"]] == [run.id]


def test_the_newest_deliveries_and_the_lanes_are_shown_without_reading_the_rest(plant: Plant) -> None:
    for at in range(0, 1000, 200):
        plant.receive([payload(plant, f"e{number}") for number in range(at, at + 200)])
    calls: list[str] = []
    plant.operations._lanes = Counting(plant.store.lanes, calls)
    assert plant.operations.lanes()[0]["collecting"] == 1000
    assert "events" not in calls
    plant.tick()
    asked: list[str] = []
    lanes = plant.store.lanes
    plant.store.lanes = Counting(lanes, asked)
    assert len(plant.operations.events(limit=20)) == 20
    assert asked.count("absorbed_as") <= 20
    asked.clear()
    assert plant.operations.explain("e500")["deliveries"]
    assert asked.count("absorbed_as") <= 5
    assert "all_runs" not in asked
