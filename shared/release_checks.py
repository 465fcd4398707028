"""What a stage of a release measures of the challenger, and what the numbers mean.  Pure: (check, calls) -> reading."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

JSON = Mapping[str, Any]


class Served(Protocol):
    """What a deployment was asked and answered over some time, in numbers.

    `failures` are answers from 500 on, `refused` those from 400 to 499; both are in `count`.  Predictions are relative
    to the level of their series, `broken` are those that are no finite numbers, `prediction_bins` counts the others in
    bins of equal width.
    """

    @property
    def count(self) -> int:
        """Calls."""

    @property
    def broken(self) -> int:
        """Predictions that are no finite numbers."""

    @property
    def predictions(self) -> int:
        """Predictions that are."""

    @property
    def prediction_bins(self) -> Mapping[int, int]:
        """How many predictions fell into each bin."""

    @property
    def failure_rate(self) -> float | None:
        """The share of failures among the calls that were not refused; None without such calls."""

    @property
    def prediction_mean(self) -> float | None:
        """The mean prediction; None without predictions."""

    @property
    def prediction_deviation(self) -> float | None:
        """The standard deviation of the predictions; None without predictions."""

    def latency_quantile(self, share: float) -> float | None:
        """The latency in ms that this share of the calls did not exceed; None without calls."""


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """A bound on a metric of the challenger.

    Up to `most` it succeeds, above `fail_above` (by default `most`) it fails, between them it is inconclusive, and with
    fewer calls than `samples` too.  A `dry_run` is measured and told, and decides nothing.
    """

    metric: str
    most: float
    fail_above: float | None = None
    samples: int = 20
    dry_run: bool = False


class Outcome(enum.StrEnum):
    """What one measurement of a check says."""

    SUCCESS = "success"
    FAILURE = "failure"
    INCONCLUSIVE = "inconclusive"


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One measurement: the value (None when it could not be computed) and over how many calls of each."""

    check: Check
    outcome: Outcome
    value: float | None
    samples: int
    champion_samples: int | None = None

    def told(self) -> str:
        """The reading in words."""
        calls = f"{self.samples} calls" if self.champion_samples is None else f"{self.samples} calls beside "
        beside = "" if self.champion_samples is None else f"{self.champion_samples} of the champion"
        value = "unknown" if self.value is None else f"{self.value:.4g}"
        dry = ", dry run" if self.check.dry_run else ""
        return f"{self.check.metric} {value} (at most {self.check.most:g}, {calls}{beside}{dry}): {self.outcome}"

    def facts(self) -> dict[str, Any]:
        """The reading as the evidence keeps it."""
        value = None if self.value is None else round(self.value, 6)
        bounds = {"most": self.check.most, "fail_above": _fail_above(self.check), "dry_run": self.check.dry_run}
        counted = {"samples": self.samples, "champion_samples": self.champion_samples, "wanted": self.check.samples}
        return {"metric": self.check.metric, "outcome": str(self.outcome), "value": value} | bounds | counted


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """A number about the challenger; `beside` says that the champion's calls are needed too."""

    of: Callable[[Served, Served | None], float | None]
    beside: bool
    meaning: str


def read(check: Check, challenger: Served | None, champion: Served | None) -> Reading:
    """One measurement of a check; whatever cannot be computed is inconclusive."""
    metric = METRICS[check.metric]
    own, others = _count(challenger), _count(champion) if metric.beside else None
    value = metric.of(challenger, champion) if challenger is not None and (champion or not metric.beside) else None
    if value is not None and not math.isfinite(value):
        value = None
    enough = own >= check.samples and (others is None or others >= check.samples)
    return Reading(check, _outcome(check, value) if enough else Outcome.INCONCLUSIVE, value, own, others)


def _outcome(check: Check, value: float | None) -> Outcome:
    if value is None:
        return Outcome.INCONCLUSIVE
    if value <= check.most:
        return Outcome.SUCCESS
    return Outcome.FAILURE if value > _fail_above(check) else Outcome.INCONCLUSIVE


def _fail_above(check: Check) -> float:
    return check.most if check.fail_above is None else check.fail_above


def _count(served: Served | None) -> int:
    return served.count if served is not None else 0


# -- metrics -----------------------------------------------------------------------------------------------------------


def _failure_excess(challenger: Served, champion: Served | None) -> float | None:
    own, others = challenger.failure_rate, champion.failure_rate if champion else None
    return None if own is None or others is None else own - others


def _latency_ratio(challenger: Served, champion: Served | None) -> float | None:
    own, others = challenger.latency_quantile(0.95), champion.latency_quantile(0.95) if champion else None
    return own / others if own is not None and others else None


def _broken_rate(challenger: Served, _: Served | None) -> float | None:
    made = challenger.predictions + challenger.broken
    return challenger.broken / made if made else None


def _prediction_shift(challenger: Served, champion: Served | None) -> float | None:
    """|difference of the means| over the champion's standard deviation (a standardised mean difference)."""
    own, others = challenger.prediction_mean, champion.prediction_mean if champion else None
    spread = champion.prediction_deviation if champion else None
    return abs(own - others) / spread if own is not None and others is not None and spread else None


def _prediction_distance(challenger: Served, champion: Served | None) -> float | None:
    """The Jensen-Shannon distance of the two distributions, base 2: 0 is the same, 1 has nothing in common."""
    own, others = challenger.prediction_bins, champion.prediction_bins if champion else {}
    of_own, of_others = sum(own.values()), sum(others.values())
    if not of_own or not of_others:
        return None
    divergence = 0.0
    for place in {*own, *others}:
        p, q = own.get(place, 0) / of_own, others.get(place, 0) / of_others
        middle = (p + q) / 2
        divergence += sum(share / 2 * math.log2(share / middle) for share in (p, q) if share)
    return math.sqrt(max(0.0, divergence))


METRICS: Mapping[str, Metric] = {
    "failure_rate": Metric(lambda own, _: own.failure_rate, False, "share of the calls answered with 5xx"),
    "failure_excess": Metric(_failure_excess, True, "its failure_rate minus the champion's"),
    "latency_p95_ms": Metric(lambda own, _: own.latency_quantile(0.95), False, "ms that 95 % of its answers took"),
    "latency_ratio": Metric(_latency_ratio, True, "its latency_p95_ms over the champion's"),
    "broken_rate": Metric(_broken_rate, False, "share of its predictions that are no finite numbers"),
    "prediction_shift": Metric(
        _prediction_shift, True, "distance of its mean prediction from the champion's, in the champion's deviations"
    ),
    "prediction_distance": Metric(
        _prediction_distance, True, "Jensen-Shannon distance of its predictions from the champion's, 0 to 1"
    ),
}
"""What a check can bound, by its name in `routes.yaml`.  Predictions are relative to the level of their series."""


def check_faults(name: str, given: Any) -> list[str]:
    """What is wrong with a check of an analysis, naming the option."""
    if not isinstance(given, Mapping) or "metric" not in given or "most" not in given:
        return [f"option {name} must have metric and most, it is {given!r}"]
    known = {field.name for field in dataclasses.fields(Check)}
    wrong = [f"option {name}.{key} is not known, there are {', '.join(sorted(known))}" for key in set(given) - known]
    if given["metric"] not in METRICS:
        wrong.append(f"option {name}.metric is {given['metric']!r}, there are {', '.join(METRICS)}")
    for key in ("most", "fail_above"):
        if key in given and not _number(given[key]):
            wrong.append(f"option {name}.{key} must be a number of at least 0, it is {given[key]!r}")
    if not wrong and given.get("fail_above", given["most"]) < given["most"]:
        wrong.append(f"option {name}.fail_above is below most: nothing could succeed and fail at once")
    samples = given.get("samples", 1)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        wrong.append(f"option {name}.samples must be a whole number above 0, it is {samples!r}")
    if not isinstance(given.get("dry_run", False), bool):
        wrong.append(f"option {name}.dry_run must be true or false")
    return wrong


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
