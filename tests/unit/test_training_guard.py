"""The guard that asks the governor: what it looks up, and what it keeps with the set."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared import runs
from shared.adapters.memory import MemoryLanes
from shared.lanes import LaneKey, handed_over
from shared.phases import Phase
from shared.ports import Asked
from shared.training_guard import TrainingGuard, faults, limits
from tests.contract.conftest import SetClock

TABLE = "abfss://gold@lake.dfs.core.windows.net/demand"
OPTIONS = {"table": TABLE, "cooldown": "1h", "refresh_rows": 100}


@dataclasses.dataclass
class Tables:
    """One table: rows by version."""

    versions: dict[int, int | None] = dataclasses.field(default_factory=lambda: {7: 1000, 8: 1050, 9: 1200})

    def newest(self, uri: str) -> int | None:
        assert uri == TABLE
        return max(self.versions, default=None)

    def rows(self, uri: str, version: int) -> int | None:
        assert uri == TABLE
        return self.versions[version]


class Yard:
    """A lane of trainings and its guard."""

    def __init__(self) -> None:
        self.clock, self.tables = SetClock(), Tables()
        self.lanes = MemoryLanes(self.clock)
        self.guard = TrainingGuard(self.lanes, self.tables, self.clock)
        asyncio.run(self.lanes.open_generation(LaneKey("train", "demand")))

    def ask(self, type_: str, **data: Any) -> Mapping[str, Any]:
        """Hand the open generation over, with one event in it; what the guard says of that."""
        lane, version = self.lanes.lane(LaneKey("train", "demand")) or pytest.fail("no lane")
        self.run = runs.opened("train", "demand", lane.generation, "quiet", self.clock.now())
        self.lanes.hand_over(handed_over(lane), version, self.run)
        raw = json.dumps({"id": "1", "topic": "t", "subject": "s", "eventType": type_, "data": data})
        return self.guard.observe(Asked(self.run, OPTIONS, {}, {"raw": raw}))

    def train(self, seen: Mapping[str, Any], **result: str) -> None:
        """Let the run through, and end it an hour later."""
        prepared = runs.prepared(self.run, {"count": 1}, {"guard": seen}, "chain", self.clock.now())
        self.clock.pass_(3600)
        done = dataclasses.replace(
            prepared, phase=Phase.SUCCEEDED, result=result, ended_at=self.clock.now(), event_due=False
        )
        self.lanes.save_run(done, "1")


def test_new_data_train_the_first_model_on_the_version_that_was_published() -> None:
    seen = Yard().ask("Sluice.DatasetPublished", gold_version=8)
    assert (seen["proceed"], seen["rule"], seen["cause"]) == (True, "first", "data")
    assert (seen["data_version"], seen["rows"]) == (8, 1050)


def test_a_monitor_that_knows_no_version_is_pinned_to_the_newest() -> None:
    seen = Yard().ask("Microsoft.MachineLearningServices.DatasetDriftDetected", DriftCoefficient=0.8)
    assert (seen["proceed"], seen["data_version"]) == (True, 9)


def test_what_the_lane_has_trained_is_the_history_that_is_ruled_by() -> None:
    yard = Yard()
    yard.train(yard.ask("Sluice.DatasetPublished", gold_version=7), model_version="1")
    assert yard.ask("Sluice.DatasetPublished", gold_version=7)["rule"] == "version"
    assert yard.ask("Sluice.DatasetPublished", gold_version=8)["rule"] == "cooldown"
    yard.clock.pass_(3600)
    assert yard.ask("Sluice.DatasetPublished", gold_version=8)["rule"] == "refresh"
    assert yard.ask("Sluice.DatasetPublished", gold_version=9)["proceed"] is True


def test_the_run_itself_is_not_its_own_history() -> None:
    yard = Yard()
    first = yard.ask("Sluice.DatasetPublished", gold_version=8)
    again = yard.guard.observe(Asked(yard.run, OPTIONS, {}, {"raw": json.dumps(published(8))}))
    assert again == first


def published(version: int) -> dict[str, Any]:
    return {"id": "1", "topic": "t", "eventType": "Sluice.DatasetPublished", "data": {"gold_version": version}}


@pytest.mark.parametrize("raw", ["not json", json.dumps({"id": "1", "eventType": "A.B"})])
def test_an_event_that_asks_for_nothing_is_not_let_through(raw: str) -> None:
    seen = Yard().guard.observe(Asked(runs.opened("train", "x", 1, "", SetClock().now()), OPTIONS, {}, {"raw": raw}))
    assert (seen["proceed"], seen["rule"]) == (False, "cause")


def test_without_a_table_there_is_nothing_to_train_on() -> None:
    yard = Yard()
    yard.tables.versions.clear()
    seen = yard.ask("Sluice.TrainingRequested", reason="try")
    assert (seen["proceed"], seen["reason"]) == (False, f"there is nothing to train on: {TABLE} is not there")


def test_the_champion_is_what_the_newest_release_to_succeed_has_promoted() -> None:
    yard, lane = Yard(), LaneKey("release", "demand-forecast")
    options = OPTIONS | {"champion": {"route": lane.route, "key": lane.key}}
    assert yard.ask("Sluice.DatasetPublished", gold_version=8)["champion"] == "none"
    asyncio.run(yard.lanes.open_generation(lane))
    for version, phase in (("3", Phase.SUCCEEDED), ("4", Phase.FAILED)):
        row, etag = yard.lanes.lane(lane) or pytest.fail("no lane")
        released = runs.opened(lane.route, lane.key, row.generation, "", yard.clock.now())
        yard.lanes.hand_over(handed_over(row), etag, released)
        yard.lanes.save_run(dataclasses.replace(released, phase=phase, result={"model_version": version}), "1")
    seen = yard.guard.observe(Asked(yard.run, options, {}, {"raw": json.dumps(published(9))}))
    assert seen["champion"] == "3"


def test_limits_that_are_left_out_have_their_defaults() -> None:
    assert limits({"table": TABLE}).budget is None
    assert limits({"table": TABLE, "cooldown": "2h", "budget": 4}).cooldown == dt.timedelta(hours=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "option table is missing"),
        ({"table": TABLE, "colour": "red"}, "option colour is not known"),
        ({"table": TABLE, "champion": "release"}, "option champion has route and key"),
        ({"table": TABLE, "budget": 0}, "option budget must be a whole number, not 0"),
        ({"table": TABLE, "futile": "3"}, "option futile must be a whole number, not '3'"),
        ({"table": TABLE, "within": "soon"}, "option within: 'soon' is not a duration"),
    ],
)
def test_what_is_wrong_with_its_options_is_told(options: dict[str, Any], said: str) -> None:
    assert any(fault.startswith(said) for fault in faults(options))


def test_options_that_are_right_have_no_fault() -> None:
    assert faults(OPTIONS | {"min_new_rows": 0, "budget": 4, "within": "28d", "futile": 3}) == []
