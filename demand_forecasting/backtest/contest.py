"""The rules of the Battle of Water Demand Forecasting: three indicators, ranks, and the mean of the ranks.

For each of the four evaluation weeks and ten areas: PI1, the mean absolute error of the first 24 hours; PI2, the
largest; PI3, the mean absolute error of hours 25 to 168.  Forecasts are ranked by each indicator of each week and area,
and placed by the mean of these 120 ranks (Alvisi et al. 2025, doi 10.1061/JWRMD5.WRENG-6887).
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

WEEKS = {
    "W1": dt.date(2022, 7, 25),
    "W2": dt.date(2022, 10, 31),
    "W3": dt.date(2023, 1, 16),
    "W4": dt.date(2023, 3, 6),
}
"""The evaluation weeks by their first day: 168 hours each."""
PUBLISHED = Path(__file__).with_name("published_scores.csv")
_DAY = 24

Cell = tuple[str, str]
"""Week and area."""


@dataclasses.dataclass(frozen=True)
class Score:
    """The three indicators of one week and area, and the mean absolute error of the whole week, all in L/s."""

    pi1: float
    pi2: float
    pi3: float
    mae: float


Scores = Mapping[Cell, Score]


def score(forecast: Sequence[float], actual: Sequence[float | None]) -> Score:
    """The indicators over the hours that were measured."""
    errors = [None if truth is None else abs(value - truth) for value, truth in zip(forecast, actual, strict=True)]
    first, later = _known(errors[:_DAY]), _known(errors[_DAY:])
    return Score(statistics.fmean(first), max(first), statistics.fmean(later), statistics.fmean(first + later))


def _known(errors: Sequence[float | None]) -> list[float]:
    return [error for error in errors if error is not None]


def published() -> dict[int, Scores]:
    """The scores of the published forecasts by their place in the contest."""
    found: dict[int, dict[Cell, Score]] = {}
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = (float(row[name] or math.nan) for name in ("PI1", "PI2", "PI3", "MAE"))
            area = row["dma"].lower().replace(" ", "_")
            found.setdefault(int(row["place"]), {})[row["week"], area] = Score(*values)
    return found


def mean_rank(ours: Scores, others: Mapping[int, Scores]) -> tuple[float, int]:
    """The mean of our 120 ranks among the others', and the place that it gives."""
    entries: dict[int, Scores] = {0: ours, **others}
    ranks: dict[int, list[float]] = {entry: [] for entry in entries}
    for cell in ours:
        for indicator in ("pi1", "pi2", "pi3"):
            values = {entry: getattr(scores[cell], indicator) for entry, scores in entries.items()}
            for entry, rank in _ranks(values).items():
                ranks[entry].append(rank)
    means = {entry: statistics.fmean(found) for entry, found in ranks.items()}
    return means[0], 1 + sum(mean < means[0] for mean in means.values())


def _ranks(values: Mapping[int, float]) -> dict[int, float]:
    """1 for the smallest; equals share the mean of their ranks, a missing forecast (nan) comes last."""
    known = {entry: value for entry, value in values.items() if not math.isnan(value)}
    last = (len(known) + 1 + len(values)) / 2
    return {
        entry: sum(other < value for other in known.values())
        + (sum(other == value for other in known.values()) + 1) / 2
        if entry in known
        else last
        for entry, value in values.items()
    }


def means(scores: Scores) -> Score:
    """Each indicator's mean over weeks and areas, without the cells that a team left blank."""
    fields = [field.name for field in dataclasses.fields(Score)]
    columns = ([getattr(one, name) for one in scores.values()] for name in fields)
    return Score(*(statistics.fmean(value for value in column if not math.isnan(value)) for column in columns))


def difference(
    ours: Scores, theirs: Scores, *, resamples: int = 10_000, seed: int = 20251125
) -> tuple[float, float, float]:
    """Our mean absolute error less theirs, paired by week and area, with its 95 % bootstrap interval over the cells."""
    paired = [ours[cell].mae - theirs[cell].mae for cell in ours]
    draw = random.Random(seed)
    drawn = sorted(statistics.fmean(draw.choices(paired, k=len(paired))) for _ in range(resamples))
    return statistics.fmean(paired), drawn[int(0.025 * resamples)], drawn[int(0.975 * resamples) - 1]
