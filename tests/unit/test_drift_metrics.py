"""The four metrics of Azure ML's model monitoring."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.drift_metrics import (
    METRICS,
    STOCK,
    breaches,
    jensen_shannon_distance,
    normalized_wasserstein_distance,
    population_stability_index,
    two_sample_kolmogorov_smirnov_test,
)

SAMPLES = st.lists(st.floats(-1e3, 1e3).map(lambda value: round(value, 3)), min_size=4, max_size=60)
P_VALUE = "two_sample_kolmogorov_smirnov_test"


def drawn(count: int, shift: float = 0.0) -> list[float]:
    source = random.Random(7)
    return [source.gauss(shift, 1.0) for _ in range(count)]


@pytest.mark.parametrize("metric", METRICS)
def test_a_sample_does_not_breach_any_stock_threshold_against_itself(metric: str) -> None:
    value = METRICS[metric](drawn(500), drawn(500))
    assert value == pytest.approx(1.0 if metric == P_VALUE else 0.0)
    assert not breaches(metric, value, STOCK[metric])


@pytest.mark.parametrize("metric", METRICS)
def test_a_shift_by_two_deviations_breaches_every_stock_threshold(metric: str) -> None:
    assert breaches(metric, METRICS[metric](drawn(500), drawn(500, 2.0)), STOCK[metric])


def test_wasserstein_of_a_shift_is_the_shift_in_deviations_of_the_baseline() -> None:
    baseline = drawn(200)
    deviation = math.sqrt(sum((value - sum(baseline) / 200) ** 2 for value in baseline) / 199)
    found = normalized_wasserstein_distance(baseline, [value + 3 for value in baseline])
    assert found == pytest.approx(3 / deviation)


def test_wasserstein_of_samples_of_different_size_is_the_area_between_their_distributions() -> None:
    assert normalized_wasserstein_distance([0.0, 4.0], [1.0]) == pytest.approx(2 / math.sqrt(8))


def test_a_constant_baseline_counts_as_a_thousandth_of_a_deviation() -> None:
    assert normalized_wasserstein_distance([1.0, 1.0, 1.0], [1.5]) == pytest.approx(500.0)


def test_the_stability_index_adds_one_to_each_bin() -> None:
    """Two values each: two bins of one and a half, so the shares are 2/2 and 1/2 against 1/2 and 2/2."""
    found = population_stability_index([0.0, 0.1], [1.0, 0.9])
    assert found == pytest.approx(2 * (3 / 2 - 1 / 2) * math.log(3))


def test_disjoint_histograms_are_at_distance_one_of_jensen_and_shannon() -> None:
    assert jensen_shannon_distance([0.0] * 10, [1.0] * 10) == pytest.approx(1.0)


def test_kolmogorov_and_smirnov_agree_with_the_tabled_critical_value() -> None:
    """A gap of 1.358 / sqrt(n / 2) is significant at five per cent in large samples (Smirnov 1948)."""
    size = 2000
    gap = round(1.358 / math.sqrt(size / 2) * size)
    found = two_sample_kolmogorov_smirnov_test(list(range(size)), [value + gap for value in range(size)])
    assert found == pytest.approx(0.05, abs=0.004)


@given(SAMPLES, SAMPLES)
def test_every_metric_is_a_finite_number_in_its_range(baseline: list[float], production: list[float]) -> None:
    for metric, reckon in METRICS.items():
        value = reckon(baseline, production)
        assert math.isfinite(value)
        assert value >= -1e-12
        if metric in {P_VALUE, "jensen_shannon_distance"}:
            assert value <= 1 + 1e-12
