"""Whether a challenger forecasts better than the champion beyond noise, by paired errors of the same hours.

Errors of one day share its weather and its holidays in all areas, errors of one area share its habits: they are not
independent.  So areas and days are drawn apart, each with replacement, and every drawn area is taken on every drawn day
(the pigeonhole bootstrap: Owen 2007, Ann. Appl. Stat. 1(2), doi 10.1214/07-AOAS122), which errs on the wide side.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from features import Floats

CONFIDENCE = 0.95
_DRAWS = 2000
_SEED = 20221024


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Mean absolute errors of both over the same hours, and the challenger's less the champion's, relative to his.

    `low` and `high` bound that difference: each is one-sided, at `CONFIDENCE`.
    """

    challenger: float
    champion: float
    relative: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """Better beyond noise."""
        return self.high < 0

    @property
    def said(self) -> str:
        """The numbers in words."""
        return (
            f"MAE {self.challenger:.3f} against the champion's {self.champion:.3f} ({self.relative:+.1%}, "
            f"{CONFIDENCE:.0%} bounds {self.low:+.1%} and {self.high:+.1%})"
        )


def compare(challenger: Floats, champion: Floats, actual: Floats) -> Comparison:
    """The comparison of two forecasts, (areas, hours) of whole days; NaN in `actual` where nothing was measured."""
    errors = np.abs(np.stack([challenger, champion]) - actual)
    days = errors.reshape(2, len(actual), -1, 24)
    total, count = np.nansum(days, axis=3), np.sum(~np.isnan(days), axis=3)
    means = np.nanmean(errors, axis=(1, 2))
    drawn = _drawn(total, count)
    bounds = np.quantile(drawn[:, 0] / drawn[:, 1] - 1, [1 - CONFIDENCE, CONFIDENCE])
    ours, theirs = map(float, means)
    return Comparison(ours, theirs, ours / theirs - 1, *map(float, bounds))


def _drawn(total: Floats, count: Floats) -> Floats:
    """Mean absolute errors of both, (draws, 2), over areas and days that are drawn apart."""
    random = np.random.default_rng(_SEED)
    _, areas, days = total.shape
    found = np.empty((_DRAWS, 2))
    for draw in range(_DRAWS):
        cells = np.ix_(range(2), random.integers(0, areas, areas), random.integers(0, days, days))
        hours = np.maximum(count[cells].sum(axis=(1, 2)), 1)
        found[draw] = np.maximum(total[cells].sum(axis=(1, 2)) / hours, 1e-12)
    return found
