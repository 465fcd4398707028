"""Whatever monitor says it, drift is one signal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.drift import ASSESSED, MONITOR_TAG, Level, signal
from shared.events import Event, parse

BREACH = "data_drift_signal has failed due to one or more features violating metric thresholds."


def event(type_: str, data: dict[str, Any]) -> Event:
    raw = {"id": "1", "topic": "t", "subject": "s", "eventType": type_, "eventTime": "2026-01-05T06:07:08Z"}
    (read,) = parse(json.dumps(raw | {"data": data}))
    assert isinstance(read, Event)
    return read


def status(**changes: Any) -> Event:
    data = {"RunStatus": "Failed", "RunTags": {MONITOR_TAG: BREACH}} | changes
    return event("Microsoft.MachineLearningServices.RunStatusChanged", data)


def test_a_dataset_monitor_of_v1_asks_for_a_retrain() -> None:
    data = {"DataDriftName": "myDriftMonitor", "DriftCoefficient": 0.8350349068479208}
    found = signal(event("Microsoft.MachineLearningServices.DatasetDriftDetected", data))
    assert found is not None
    assert (found.level, found.monitor, found.coefficient) == (Level.RETRAIN, "azureml-v1", 0.8350349068479208)
    assert "myDriftMonitor" in found.reason
    assert "0.835" in found.reason


def test_a_coefficient_that_is_spelt_as_text_is_a_number() -> None:
    found = signal(event("DatasetDriftDetected", {"DriftCoefficient": "0.5"}))
    assert found is not None
    assert found.coefficient == 0.5


def test_a_model_monitor_of_v2_asks_for_a_retrain_by_its_tag() -> None:
    found = signal(status())
    assert found is not None
    assert (found.level, found.monitor) == (Level.RETRAIN, "azureml-v2")
    assert BREACH in found.reason


def test_the_tag_is_found_in_whatever_case_the_payload_spells_its_keys() -> None:
    assert signal(event("RunStatusChanged", {"runTags": {MONITOR_TAG: BREACH}})) is not None


@pytest.mark.parametrize("tags", [{}, {MONITOR_TAG: "passed"}, {MONITOR_TAG: 3}, None, "text", {"another": BREACH}])
def test_any_other_change_of_a_status_is_no_drift(tags: Any) -> None:
    assert signal(status(RunTags=tags)) is None


@pytest.mark.parametrize("level", list(Level))
def test_our_own_assessment_carries_its_level_its_finding_and_the_version_that_was_looked_at(level: Level) -> None:
    data = {"level": str(level), "finding": "dma_3 (2.1 over 1.4)", "gold_version": "7", "coefficient": 2.1}
    found = signal(event(ASSESSED, data))
    assert found is not None
    assert (found.level, found.monitor, found.data_version, found.coefficient) == (level, "sluice", 7, 2.1)
    assert found.reason == "dma_3 (2.1 over 1.4)"


@pytest.mark.parametrize("level", ["", "panic", None, 3])
def test_an_assessment_without_a_level_is_no_signal(level: Any) -> None:
    assert signal(event(ASSESSED, {"level": level})) is None


def test_other_events_are_no_signal() -> None:
    assert signal(event("Microsoft.Storage.BlobCreated", {})) is None
