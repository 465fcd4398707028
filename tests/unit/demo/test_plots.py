"""The plots can be drawn of what a demonstration leaves behind."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any, cast

import pytest

from demand_forecasting import landing
from demo import change, plots
from demo.report import Report, Step
from demo.stage import Stage
from demo.traffic import Asked, Traffic

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = [10.0 + (hour - 12) ** 2 / 20 for hour in range(24)]


class Recorded:
    """A stage whose cloud has recorded the traffic maps of a promotion and of a release that was rolled back."""

    def __init__(self, home: Path) -> None:
        self.home, self.cloud = home, self

    def records(self, service: str, action: str | None = None) -> list[dict[str, Any]]:
        assert (service, action) == ("azure_ml", "traffic")
        maps = [(0, {"v1": 100}), (100, {"v1": 75, "v2": 25}), (112, {"v1": 0, "v2": 100}), (118, {"v2": 100})]
        maps += [(160, {"v2": 75, "v3": 25}), (170, {"v2": 100, "v3": 0})]
        return [{"at": at(second), "traffic": shares} for second, shares in maps]


def at(second: float) -> str:
    return (BEGIN + dt.timedelta(seconds=second)).isoformat()


def asked() -> list[Asked]:
    found = []
    for number in itertools.takewhile(lambda number: number < 760, itertools.count()):
        second = number / 4
        new = number % 4 == 0
        name = "v1" if second < 100 else ("v2" if new or second > 112 else "v1")
        bad = 160 <= second < 170 and new
        found.append(Asked(at(second), "v3" if bad else name, 500 if bad and number % 8 else 200))
    return found


def forecast(week: int, version: str, mae: float) -> dict[str, Any]:
    start = landing.week_start(week)
    series = {"area": "dma_7", "forecast": DAY * 7, "actual": [None, *(DAY * 7)[1:]]}
    return {"week": start.date(), "model_version": version, "mae": mae, "naive_mae": mae * 1.2, **series}


def assessed(week: int, level: str, distance: float, error: float) -> dict[str, Any]:
    distances = {f"dma_{number}": distance * number / 10 for number in range(1, 11)}
    served = {"error": error, "usual": 0.02}
    return {
        "drift_week": f"{landing.week_start(week):%Y-%m-%d}",
        "level": level,
        "distances": distances,
        "served": served,
    }


def gate(step: str, value: float, outcome: str) -> dict[str, Any]:
    check = {"metric": "failure_rate", "value": value, "fail_above": 0.3, "outcome": outcome, "dry_run": False}
    return {"step": step, "checks": [check, check | {"metric": "broken_rate", "value": 0.0, "fail_above": 0.0}]}


def report() -> Report:
    steps = {f"week {week}: forecast": forecast(week + 1, "1", 1.0 + week / 3) for week in range(1, 6)}
    steps |= {f"week {week}: assessed": assessed(week, "none", 0.8, 0.021) for week in range(2, change.FIRST_WEEK)}
    steps |= {
        "week 1: released": {"deployment": "v1"},
        "drift confirmed": assessed(change.FIRST_WEEK, "retrain", 6.0, 0.2),
        "promoted": {"deployment": "v2", "gates": [gate("weight 25", 0.0, "success")]},
        "error falls": forecast(6, "2", 1.2),
        "rolled back": {"deployment": "v3", "gates": [gate("weight 25", 0.5, "failure")]},
    }
    return Report(steps=[Step(name, name, evidence=evidence) for name, evidence in steps.items()])


def test_every_plot_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = [
        {"week": f"{landing.week_start(week):%Y-%m-%d}", "model_version": "1", "mae": 1.0 + week / 3}
        for week in range(2, 6)
    ]
    monkeypatch.setattr(plots, "_served", lambda: served)
    traffic = Traffic()
    traffic.asked = asked()
    drawn = plots.draw(cast(Stage, Recorded(tmp_path)), report(), traffic)
    assert drawn == ["forecast.png", "errors.png", "drift.png", "canary.png"]
    assert all((tmp_path / name).stat().st_size > 10_000 for name in drawn)
