"""Forecasts of past weeks, each by a model that was trained on what came before it, and on nothing else.

Runs in the training environment with `azureml/src` importable: it is the train step's own code that trains.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Iterator
from typing import Any

import features
import gold as gold_table
import numpy as np
import train
from features import HISTORY, WEEK, Floats
from gold import Gold


def until(gold: Gold, hour: int) -> Gold:
    """`gold` as it was when only the hours before `hour` had been measured."""
    return dataclasses.replace(
        gold, demand=gold.demand[:, :hour], observed=gold.observed[:, :hour], weather=gold.weather[:, :hour]
    )


def forecasts(gold: Gold, starts: list[dt.datetime], settings: train.Settings, every: int) -> Iterator[dict[str, Any]]:
    """The forecast of each week in `starts`, with what was measured; a new model is trained for each `every`-th.

    A week's model was trained on the weeks before it: the table that training sees ends with the forecast week, which
    the train step holds back.
    """
    model = None
    for number, start in enumerate(starts):
        origin = int((start - gold.start) / dt.timedelta(hours=1))
        known = until(gold, origin + WEEK)
        if known.hours != origin + WEEK or known.held_back != origin:
            raise SystemExit(f"gold has no whole week from {start}")
        if number % every == 0:
            model = train.fit(*train.rows(known, settings), settings)
        yield _week(model.predict, known, origin)


def _week(predict: features.Predict, gold: Gold, origin: int) -> dict[str, Any]:
    history = gold.history(origin)
    numbers = np.arange(len(gold.series), dtype=float)
    found = features.week_ahead(predict, history, gold.weather_around(origin), gold.time(origin), numbers)
    actual = np.where(gold.observed[:, origin:], gold.demand[:, origin:], np.nan)
    median = np.median(history.reshape(len(history), HISTORY // WEEK, WEEK), axis=1)
    named = {"model": found, "actual": actual, "seasonal_naive": features.seasonal_naive(history), "median": median}
    return {"start": gold.time(origin).isoformat()} | {name: _lists(gold, values) for name, values in named.items()}


def _lists(gold: Gold, values: Floats) -> dict[str, list[float | None]]:
    rows = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]
    return dict(zip(gold.series, rows, strict=True))


def main() -> None:
    """One line of JSON for each week."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gold", required=True)
    parser.add_argument("--starts", required=True, help="first days of the weeks, comma separated")
    parser.add_argument("--every", type=int, default=1, help="train for each so-manieth week only")
    parser.add_argument("--origin-every-days", type=int, required=True)
    parser.add_argument("--iterations", type=int, required=True)
    args = parser.parse_args()
    gold, _ = gold_table.read(args.gold, gold_table.NEWEST)
    starts = [dt.datetime.fromisoformat(day) for day in args.starts.split(",")]
    settings = train.Settings(args.origin_every_days, args.iterations)
    for week in forecasts(gold, starts, settings, args.every):
        sys.stdout.write(json.dumps(week) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
