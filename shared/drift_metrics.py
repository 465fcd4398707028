"""How far apart two samples of one quantity are: the four numerical metrics of Azure ML's model monitoring.  Pure.

The formulas are those of its data drift component (Azure/azureml-assets, `model_monitoring/components/src`):
equal-width bins over both samples, as many as Sturges' rule gives for the smaller one; one added to each bin for the
population stability index; Wasserstein's distance divided by the baseline's standard deviation.  Two differences: the
component takes the Jensen-Shannon distance of the last bin only, here it is that of the whole histograms; its exact
p-value of Kolmogorov and Smirnov is here the asymptotic one with Stephens' correction (J. R. Stat. Soc. B 32, 1970).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

Sample = Sequence[float]

_SMALLEST_DEVIATION = 0.001


def normalized_wasserstein_distance(baseline: Sample, production: Sample) -> float:
    """The area between the two distribution functions, in standard deviations of the baseline; 0 is equal."""
    deviation = statistics.stdev(baseline) if len(baseline) > 1 else 0.0
    area = sum(abs(left - right) * width for left, right, width in _steps(baseline, production))
    return area / max(deviation, _SMALLEST_DEVIATION)


def population_stability_index(baseline: Sample, production: Sample) -> float:
    """The symmetrised relative entropy of the two histograms, one added to each bin, in nats; 0 is equal."""
    shares = zip(*_histograms(baseline, production), strict=True)
    pairs = [((left + 1) / len(baseline), (right + 1) / len(production)) for left, right in shares]
    return sum((right - left) * math.log(right / left) for left, right in pairs)


def jensen_shannon_distance(baseline: Sample, production: Sample) -> float:
    """The square root of the Jensen-Shannon divergence of the two histograms, to base 2: 0 is equal, 1 is disjoint."""
    left, right = _histograms(baseline, production)
    divergence = 0.0
    for first, second in zip(left, right, strict=True):
        p, q = first / len(baseline), second / len(production)
        middle = (p + q) / 2
        divergence += sum(share / 2 * math.log2(share / middle) for share in (p, q) if share)
    return math.sqrt(max(divergence, 0.0))


def two_sample_kolmogorov_smirnov_test(baseline: Sample, production: Sample) -> float:
    """The p-value of equal distributions by the largest gap between the distribution functions; small is different."""
    gap = max((abs(left - right) for left, right, _ in _steps(baseline, production)), default=0.0)
    size = math.sqrt(len(baseline) * len(production) / (len(baseline) + len(production)))
    argument = (size + 0.12 + 0.11 / size) * gap
    if argument < 0.2:  # the series converges slowly there, and its value is 1 to twelve digits
        return 1.0
    signs = itertools.cycle((1.0, -1.0))
    series = sum(next(signs) * math.exp(-2 * (term * argument) ** 2) for term in range(1, 101))
    return min(max(2 * series, 0.0), 1.0)


METRICS: Mapping[str, Callable[[Sample, Sample], float]] = {
    "normalized_wasserstein_distance": normalized_wasserstein_distance,
    "population_stability_index": population_stability_index,
    "jensen_shannon_distance": jensen_shannon_distance,
    "two_sample_kolmogorov_smirnov_test": two_sample_kolmogorov_smirnov_test,
}
"""By the names that Azure ML gives them."""

STOCK: Mapping[str, float] = {
    "normalized_wasserstein_distance": 0.1,
    "population_stability_index": 0.25,
    "jensen_shannon_distance": 0.1,
    "two_sample_kolmogorov_smirnov_test": 0.05,
}
"""Thresholds for anything: azure-ai-ml's defaults for the two distances, and those in common use for the others."""


def breaches(metric: str, value: float, threshold: float) -> bool:
    """Whether a metric's value is on the far side of a threshold: a p-value below it, a distance above it."""
    return value < threshold if metric == "two_sample_kolmogorov_smirnov_test" else value > threshold


def _steps(baseline: Sample, production: Sample) -> Iterator[tuple[float, float, float]]:
    """Both distribution functions between neighbouring values, and how far these are apart."""
    left, right = sorted(baseline), sorted(production)
    i = j = 0
    for value, following in itertools.pairwise(sorted({*left, *right})):
        while i < len(left) and left[i] <= value:
            i += 1
        while j < len(right) and right[j] <= value:
            j += 1
        yield i / len(left), j / len(right), following - value


def _histograms(baseline: Sample, production: Sample) -> tuple[list[int], list[int]]:
    """How many of each sample fall into each bin; a sample of one value has one bin."""
    low, high = min(min(baseline), min(production)), max(max(baseline), max(production))
    bins = math.ceil(math.log2(min(len(baseline), len(production))) + 1) if high > low else 1

    def counted(sample: Sample) -> list[int]:
        counts = [0] * bins
        for value in sample:
            place = int((value - low) / (high - low) * bins) if high > low else 0
            counts[min(place, bins - 1)] += 1
        return counts

    return counted(baseline), counted(production)
