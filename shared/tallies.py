"""What calls of a deployment add up to: how they ended, how long they took, what they predicted.  Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

JSON = Mapping[str, Any]

STEPS_AN_OCTAVE = 8
"""Latencies are counted in bins whose edges are 2^(1/8) apart, so that a quantile is at most 9 % too high."""

WIDTH, LAST_BIN = 0.05, 80
"""Relative predictions are counted in bins of 0.05 from 0 to 4; bin -1 is all below, bin 80 all above."""

Bins = Mapping[int, int]
"""A histogram: how many fell into each bin; bins that nothing fell into are left out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Calls in numbers that add up.

    `failures` are answers from 500 on, `refused` those from 400 to 499 (the caller's own fault); both are in `count`.
    Latencies are milliseconds.  Predictions are relative to the level of their series; `broken` are those that are no
    finite numbers, which are in nothing else.
    """

    count: int = 0
    failures: int = 0
    refused: int = 0
    latency_sum: float = 0.0
    latency_max: float = 0.0
    latency_bins: Bins = dataclasses.field(default_factory=dict)
    predictions: int = 0
    broken: int = 0
    prediction_sum: float = 0.0
    prediction_squares: float = 0.0
    prediction_bins: Bins = dataclasses.field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(**self.with_numbers_of(other))

    def with_numbers_of(self, other: Tally) -> dict[str, Any]:
        """The numbers of both together, by name."""
        return {
            "count": self.count + other.count,
            "failures": self.failures + other.failures,
            "refused": self.refused + other.refused,
            "latency_sum": self.latency_sum + other.latency_sum,
            "latency_max": max(self.latency_max, other.latency_max),
            "latency_bins": _added(self.latency_bins, other.latency_bins),
            "predictions": self.predictions + other.predictions,
            "broken": self.broken + other.broken,
            "prediction_sum": self.prediction_sum + other.prediction_sum,
            "prediction_squares": self.prediction_squares + other.prediction_squares,
            "prediction_bins": _added(self.prediction_bins, other.prediction_bins),
        }

    @property
    def failure_rate(self) -> float | None:
        """The share of failures among the calls that were not refused; None without such calls."""
        fair = self.count - self.refused
        return self.failures / fair if fair else None

    def latency_quantile(self, share: float) -> float | None:
        """The latency that this share of the calls did not exceed, at most 9 % too high; None without calls."""
        found = quantile(self.latency_bins, share)
        return None if found is None else min(2 ** ((found + 1) / STEPS_AN_OCTAVE), self.latency_max)

    @property
    def prediction_mean(self) -> float | None:
        """The mean relative prediction; None without predictions."""
        return self.prediction_sum / self.predictions if self.predictions else None

    @property
    def prediction_deviation(self) -> float | None:
        """The standard deviation of the relative predictions; None without predictions."""
        if not self.predictions:
            return None
        mean = self.prediction_sum / self.predictions
        return math.sqrt(max(0.0, self.prediction_squares / self.predictions - mean * mean))

    def facts(self) -> dict[str, Any]:
        """The tally as JSON keeps it."""
        return {name: _pairs(value) if isinstance(value, Mapping) else value for name, value in _items(self)}

    @staticmethod
    def of(facts: JSON | None) -> Tally:
        """Read what `facts` wrote; nothing is an empty tally."""
        kept = (facts or {}).items()
        numbers: dict[str, Any] = {name: _bins(value) if isinstance(value, list) else value for name, value in kept}
        return Tally(**numbers)


def one(status: int, latency_ms: float, predictions: Sequence[float], broken: int = 0) -> Tally:
    """A call, its finite predictions relative to the level of their series, and how many were no finite numbers."""
    bins: dict[int, int] = {}
    for value in predictions:
        place = min(max(math.floor(value / WIDTH), -1), LAST_BIN)
        bins[place] = bins.get(place, 0) + 1
    return Tally(
        count=1,
        failures=int(status >= 500),
        refused=int(400 <= status < 500),
        latency_sum=latency_ms,
        latency_max=latency_ms,
        latency_bins={math.floor(STEPS_AN_OCTAVE * math.log2(max(latency_ms, 2**-6))): 1},
        predictions=len(predictions),
        broken=broken,
        prediction_sum=math.fsum(predictions),
        prediction_squares=math.fsum(value * value for value in predictions),
        prediction_bins=bins,
    )


def answered(status: int, latency_ms: float, predictions: Sequence[float]) -> Tally:
    """A call whose predictions may be anything."""
    return one(status, latency_ms, *finite(predictions))


def finite(predictions: Sequence[float]) -> tuple[tuple[float, ...], int]:
    """Those that are finite numbers, and how many are not."""
    found = tuple(value for value in predictions if math.isfinite(value))
    return found, len(predictions) - len(found)


def relative(predictions: Any, levels: Any) -> list[float]:
    """Every prediction of an answer divided by the level of its series; what is no number is not a number."""
    found: list[float] = []
    for name, values in (predictions if isinstance(predictions, Mapping) else {}).items():
        level = _number(levels.get(name, 1.0)) if isinstance(levels, Mapping) else 1.0
        scale = level if math.isfinite(level) and level > 0 else 1.0
        found += [_number(value) / scale for value in (values if isinstance(values, Sequence) else ())]
    return found


def quantile(bins: Bins, share: float) -> int | None:
    """The bin that holds the value at this share of the order; None when nothing was counted."""
    wanted, seen = share * sum(bins.values()), 0
    for place in sorted(bins):
        seen += bins[place]
        if seen >= wanted:
            return place
    return None


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf


def _added(one_: Bins, other: Bins) -> Bins:
    return {place: one_.get(place, 0) + other.get(place, 0) for place in {*one_, *other}}


def _items(tally: Tally) -> list[tuple[str, Any]]:
    return [(field.name, getattr(tally, field.name)) for field in dataclasses.fields(Tally)]


def _pairs(bins: Bins) -> list[list[int]]:
    return [[place, bins[place]] for place in sorted(bins)]


def _bins(pairs: Sequence[Sequence[int]]) -> dict[int, int]:
    return {int(place): int(number) for place, number in pairs}
