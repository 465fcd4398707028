"""Runs in the training environment: trains on a synthetic gold and reports as JSON what the tests ask for."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
from pathlib import Path

import gold as gold_table
import numpy as np
import train


def synthetic(hours: int = 24 * 7 * 16, series: int = 3) -> gold_table.Gold:
    """A weekly pattern per series with noise; deterministic."""
    random = np.random.default_rng(7)
    week = 10 + 5 * np.sin(np.arange(hours) / 24 * 2 * np.pi) + 2 * (np.arange(hours) // 24 % 7 > 4)
    demand = np.array([week * (number + 1) for number in range(series)]) + random.normal(0, 0.5, (series, hours))
    weather = random.normal(15, 3, (3, hours))
    names = tuple(f"dma_{number + 1}" for number in range(series))
    start = dt.datetime(2022, 1, 3)  # noqa: DTZ001 - local clock hours
    return gold_table.Gold(names, start, demand, np.ones_like(demand, dtype=bool), weather)


def main() -> None:
    """Train twice, with and without a changed last week; save one model."""
    gold = synthetic()
    settings = train.Settings(origin_every_days=3, iterations=20)
    rows = train.rows(gold, settings)
    changed = gold.demand.copy()
    changed[:, gold.held_back :] *= 100
    others = train.rows(dataclasses.replace(gold, demand=changed), settings)
    model = train.fit(*rows, settings)
    again = train.fit(*rows, settings)
    folder = Path(sys.argv[1])
    train.save(model, gold, folder, uri="abfss://gold@lake.dfs.core.windows.net/demand", version=7)
    unseen = dataclasses.replace(gold, observed=np.zeros_like(gold.observed))
    report = {
        "rows": len(rows[0]),
        "same_without_held_back_week": all(map(np.array_equal, rows, others)),
        "same_when_repeated": bool(np.array_equal(model.predict(rows[0]), again.predict(rows[0]))),
        "rows_when_nothing_was_measured": len(train.rows(unseen, settings)[0]),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()),
        "request": gold.request(gold.held_back),
        "actual": dict(zip(gold.series, gold.demand[:, gold.held_back :].tolist(), strict=True)),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
