"""What retraining would have done about a change that stays: champion and challenger, week by week since it came.

Runs in the training environment with `azureml/src` importable.  The champion was trained before the change; for each
week since, a challenger is trained by the train step's own code on all before that week, and both forecast it, as
`evaluate` has them do; released is what beats seasonal naive, and the champion beyond noise.  The week after is what
would then be served.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gold as gold_table
import numpy as np
import train
from comparison import compare
from features import WEEK, Floats, Predict, seasonal_naive, week_ahead
from gold import Gold
from rolling import until

SIX_AREAS = (1, 2, 3, 4, 6, 7)
"""dma_10, dma_2, dma_3, dma_4, dma_6 and dma_7: gold has its series in the order of their names."""


def later(hours: int, areas: Sequence[int] | slice = slice(None)) -> Callable[[Floats], Floats]:
    """The same demand, so many hours later, in some areas."""

    def change(demand: Floats) -> Floats:
        changed = demand.copy()
        changed[areas] = np.roll(demand[areas], hours, axis=1)
        return changed

    return change


CHANGES: dict[str, Callable[[Floats], Floats]] = {
    "level +20 %": lambda demand: demand * 1.2,
    "the day 3 h later": later(3),
    "the day 6 h later": later(6),
    "the day 12 h later": later(12),
    "the day 6 h later, six areas": later(6, list(SIX_AREAS)),
}


def weeks(
    gold: Gold, first: int, change: str, champion: Predict, count: int, settings: train.Settings
) -> Iterator[dict[str, Any]]:
    """A row for each of `count` weeks since the change, which comes in the hour `first`."""
    demand = gold.demand.copy()
    demand[:, first:] = CHANGES[change](demand[:, first:])
    changed = dataclasses.replace(gold, demand=demand)
    for number in range(1, count + 1):
        origin = first + (number - 1) * WEEK
        challenger = _trained(until(changed, origin + WEEK), settings)
        ours, theirs = (_forecast(model, changed, origin) for model in (challenger, champion))
        found = compare(ours, theirs, _actual(changed, origin))
        naive = _error(seasonal_naive(changed.history(origin)), changed, origin)
        following = (_forecast(model, changed, origin + WEEK) for model in (challenger, champion))
        served = [_error(forecast, changed, origin + WEEK) for forecast in following]
        released = found.better and found.challenger < naive
        row = {"since": gold.time(first).date().isoformat(), "change": change, "week": number, "released": released}
        yield {**row, "naive": naive, "served": served, **dataclasses.asdict(found)}


def _trained(gold: Gold, settings: train.Settings) -> Predict:
    predict: Predict = train.fit(*train.rows(gold, settings), settings).predict
    return predict


def _forecast(predict: Predict, gold: Gold, origin: int) -> Floats:
    numbers = np.arange(len(gold.series), dtype=float)
    return week_ahead(predict, gold.history(origin), gold.weather_around(origin), gold.time(origin), numbers)


def _error(forecast: Floats, gold: Gold, origin: int) -> float:
    return float(np.nanmean(np.abs(forecast - _actual(gold, origin))))


def _actual(gold: Gold, origin: int) -> Floats:
    week = slice(origin, origin + WEEK)
    return np.where(gold.observed[:, week], gold.demand[:, week], np.nan)


def main() -> None:
    """One line of JSON for each change and week."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gold", required=True)
    parser.add_argument("--since", required=True, help="first day of the change")
    parser.add_argument("--weeks", type=int, required=True)
    parser.add_argument("--change", action="append", required=True, choices=CHANGES)
    parser.add_argument("--origin-every-days", type=int, required=True)
    parser.add_argument("--iterations", type=int, required=True)
    args = parser.parse_args()
    gold, _ = gold_table.read(args.gold, gold_table.NEWEST)
    settings = train.Settings(args.origin_every_days, args.iterations)
    first = int((dt.datetime.fromisoformat(args.since) - gold.start) / dt.timedelta(hours=1))
    champion = _trained(until(gold, first), settings)
    for change in args.change:
        for row in weeks(gold, first, change, champion, args.weeks, settings):
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
