"""What a handful of calls add up to: the replayed requests of a shadow, and what the champion answered them.  Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

JSON = Mapping[str, Any]

WIDTH, LAST_BIN = 0.05, 80
"""Relative predictions are counted in bins of 0.05 from 0 to 4; bin -1 is all below, bin 80 all above."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """Calls of one deployment, in numbers that add up; see `release_checks.Served`.  Latencies are milliseconds."""

    count: int = 0
    failures: int = 0
    refused: int = 0
    latencies: tuple[float, ...] = ()
    predictions: int = 0
    broken: int = 0
    prediction_sum: float = 0.0
    prediction_squares: float = 0.0
    prediction_bins: Mapping[int, int] = dataclasses.field(default_factory=dict)

    @property
    def failure_rate(self) -> float | None:
        """The share of failures among the calls that were not refused."""
        fair = self.count - self.refused
        return self.failures / fair if fair else None

    @property
    def prediction_mean(self) -> float | None:
        """The mean relative prediction."""
        return self.prediction_sum / self.predictions if self.predictions else None

    @property
    def prediction_deviation(self) -> float | None:
        """The standard deviation of the relative predictions."""
        if not self.predictions:
            return None
        mean = self.prediction_sum / self.predictions
        return math.sqrt(max(0.0, self.prediction_squares / self.predictions - mean * mean))

    def latency_quantile(self, share: float) -> float | None:
        """The latency that this share of the calls did not exceed."""
        if not self.latencies:
            return None
        return sorted(self.latencies)[max(0, math.ceil(share * len(self.latencies)) - 1)]

    def with_call(self, status: int, latency_ms: float, predictions: Sequence[float]) -> Sample:
        """With one more call, its predictions relative to the level of their series."""
        good = [value for value in predictions if math.isfinite(value)]
        bins = dict(self.prediction_bins)
        for value in good:
            place = min(max(math.floor(value / WIDTH), -1), LAST_BIN)
            bins[place] = bins.get(place, 0) + 1
        return Sample(
            count=self.count + 1,
            failures=self.failures + (status >= 500),
            refused=self.refused + (400 <= status < 500),
            latencies=(*self.latencies, round(latency_ms, 3)),
            predictions=self.predictions + len(good),
            broken=self.broken + len(predictions) - len(good),
            prediction_sum=self.prediction_sum + math.fsum(good),
            prediction_squares=self.prediction_squares + math.fsum(value * value for value in good),
            prediction_bins=bins,
        )

    def facts(self) -> dict[str, Any]:
        """The sample as JSON keeps it."""
        bins = [[place, number] for place, number in sorted(self.prediction_bins.items())]
        return {**dataclasses.asdict(self), "latencies": list(self.latencies), "prediction_bins": bins}

    @staticmethod
    def of(facts: JSON | None) -> Sample:
        """Read what `facts` wrote; nothing is an empty sample."""
        if facts is None:
            return Sample()
        bins = {int(place): int(number) for place, number in facts["prediction_bins"]}
        return Sample(**{**facts, "latencies": tuple(facts["latencies"]), "prediction_bins": bins})


def relative(predictions: Any, levels: Mapping[str, float]) -> list[float]:
    """Every prediction of an answer divided by the level of its series; what is no number is not a number."""
    return list(_relative(predictions, levels)) if isinstance(predictions, Mapping) else []


def _relative(predictions: Mapping[str, Any], levels: Mapping[str, float]) -> Iterator[float]:
    for name, values in predictions.items():
        level = levels.get(name, 1.0)
        scale = level if math.isfinite(level) and level > 0 else 1.0
        for value in values if isinstance(values, list) else ():
            good = isinstance(value, int | float) and not isinstance(value, bool)
            yield value / scale if good else math.nan
