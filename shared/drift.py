"""What says that data have drifted, from whichever monitor, as one signal.  Pure.

Azure ML's dataset monitors (v1, retired on 2025-09-01) raise `DatasetDriftDetected`; its model monitors (v2) raise
`RunStatusChanged` with a tag that names the breach, and `DatasetDriftDetected` no more
(learn.microsoft.com/azure/machine-learning/how-to-monitor-model-performance).  Our own detector raises
`Sluice.DriftAssessed` for every week, with a level.
"""

from __future__ import annotations

import dataclasses
import enum

from shared.events import Event

ASSESSED = "Sluice.DriftAssessed"
MONITOR_TAG = "azureml_modelmonitor_threshold_breached"
_BREACH = "has failed due to one or more features violating metric thresholds"
_V1 = "Microsoft.MachineLearningServices.DatasetDriftDetected"
_V2 = "Microsoft.MachineLearningServices.RunStatusChanged"


class Level(enum.StrEnum):
    """How serious it is."""

    NONE = "none"
    INCIDENT = "incident"  # somebody should look at the series that are named; no reason to retrain
    RETRAIN = "retrain"


@dataclasses.dataclass(frozen=True, slots=True)
class Signal:
    """That data have drifted, or have not: how far, by whom it was found, and on which version where that is known."""

    level: Level
    monitor: str
    reason: str
    coefficient: float | None = None
    data_version: int | None = None


def signal(event: Event) -> Signal | None:
    """The signal in an event, None when the event is about something else."""
    if event.type == ASSESSED:
        return _own(event)
    if event.type == _V1:
        return _dataset_monitor(event)
    return _model_monitor(event) if event.type == _V2 else None


def _own(event: Event) -> Signal | None:
    level = str(event.value("data.level") or "").lower()
    if level not in set(Level):
        return None
    reason = str(event.value("data.finding") or event.value("data.reason") or "no reason was given")
    version = _whole(event.value("data.gold_version"))
    return Signal(Level(level), "sluice", reason, _number(event.value("data.coefficient")), version)


def _dataset_monitor(event: Event) -> Signal:
    name = event.value("data.DataDriftName") or "a dataset monitor"
    coefficient = _number(event.value("data.DriftCoefficient"))
    far = "" if coefficient is None else f", drift coefficient {coefficient:.3f}"
    return Signal(Level.RETRAIN, "azureml-v1", f"dataset monitor {name} has detected drift{far}", coefficient)


def _model_monitor(event: Event) -> Signal | None:
    told = event.value(f"data.RunTags.{MONITOR_TAG}")
    if not isinstance(told, str) or _BREACH not in told:
        return None
    return Signal(Level.RETRAIN, "azureml-v2", f"model monitor: {told}")


def _number(value: object) -> float | None:
    """A number, also one that is spelt as text; payloads of both monitors have been seen to do that."""
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        return None


def _whole(value: object) -> int | None:
    found = _number(value)
    return int(found) if found is not None and found == int(found) else None
