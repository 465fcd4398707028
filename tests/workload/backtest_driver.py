"""Runs in the training environment: forecasts one past week of three synthetic golds and reports as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.util
import json
import sys
from pathlib import Path

import train
from training_driver import synthetic

ROLLING = Path(__file__).parents[2] / "demand_forecasting" / "backtest" / "rolling.py"


def main() -> None:
    """The forecast of week 12, as it is, with a changed future, and with a changed past."""
    spec = importlib.util.spec_from_file_location("rolling", ROLLING)
    rolling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rolling)
    gold, settings = synthetic(), train.Settings(origin_every_days=3, iterations=10)
    start = gold.start + dt.timedelta(weeks=12)
    hour = 12 * 168

    def forecast(**changed: float) -> object:
        demand = gold.demand.copy()
        demand[:, hour:] *= changed.get("after", 1)
        demand[:, hour - 168 : hour] *= changed.get("before", 1)
        (week,) = rolling.forecasts(dataclasses.replace(gold, demand=demand), [start], settings, 1)
        return week["model"]

    report = {
        "same_forecast_whatever_comes_after": forecast() == forecast(after=100),
        "another_forecast_when_the_past_changes": forecast() != forecast(before=2),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
