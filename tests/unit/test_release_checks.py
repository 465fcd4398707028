"""What a measurement of a challenger says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.release_checks import METRICS, Check, Outcome, read
from shared.tallies import Tally, answered, relative


def sample(count: int = 40, *, failures: int = 0, ms: float = 20.0, level: float = 1.0, refused: int = 0) -> Tally:
    made = Tally()
    for number in range(count):
        status = 500 if number < failures else 400 if number < failures + refused else 200
        spread = [level + (place - 2) / 10 for place in range(5)]
        made += answered(status, ms + number, spread if status == 200 else [])
    return made


def of(metric: str, most: float, challenger: Tally | None, champion: Tally | None = None, **more: float) -> Outcome:
    return read(Check(metric, most, **more), challenger, champion).outcome  # type: ignore[arg-type]


def test_a_value_up_to_the_bound_succeeds_above_it_fails_and_between_the_bounds_is_inconclusive() -> None:
    assert of("failure_rate", 0.1, sample(failures=4)) is Outcome.SUCCESS
    assert of("failure_rate", 0.09, sample(failures=4)) is Outcome.FAILURE
    assert of("failure_rate", 0.05, sample(failures=4), fail_above=0.2) is Outcome.INCONCLUSIVE


def test_too_few_calls_are_inconclusive_whatever_they_say() -> None:
    assert of("failure_rate", 0.1, sample(19)) is Outcome.INCONCLUSIVE
    assert of("failure_rate", 0.1, sample(19, failures=19)) is Outcome.INCONCLUSIVE
    assert of("failure_rate", 0.1, None) is Outcome.INCONCLUSIVE
    assert of("failure_excess", 0.1, sample(), sample(19)) is Outcome.INCONCLUSIVE
    assert of("failure_excess", 0.1, sample(), None) is Outcome.INCONCLUSIVE


def test_what_cannot_be_computed_is_inconclusive() -> None:
    assert of("failure_rate", 0.1, sample(refused=40)) is Outcome.INCONCLUSIVE
    assert of("prediction_shift", 1, sample(failures=40), sample()) is Outcome.INCONCLUSIVE


def test_refused_requests_are_the_callers_fault() -> None:
    assert read(Check("failure_rate", 1), sample(failures=4, refused=20), None).value == pytest.approx(4 / 20)


def test_a_challenger_is_compared_with_its_champion() -> None:
    assert read(Check("failure_excess", 1), sample(failures=8), sample(failures=4)).value == pytest.approx(0.1)
    assert read(Check("latency_ratio", 1), sample(ms=61), sample(ms=10)).value == pytest.approx(98 / 47, rel=0.1)
    shift = read(Check("prediction_shift", 1), sample(level=1.5), sample(level=1.0))
    assert shift.value == pytest.approx(0.5 / math.sqrt(0.02))
    assert shift.champion_samples == 40
    assert read(Check("prediction_distance", 1), sample(level=1), sample(level=1)).value == 0
    assert read(Check("prediction_distance", 1), sample(level=9), sample(level=1)).value == pytest.approx(1)


def test_predictions_that_are_no_numbers_are_counted() -> None:
    broken = Tally()
    for _ in range(20):
        broken += answered(200, 1, relative({"a": [1, math.nan, "x", True]}, {}))
    assert read(Check("broken_rate", 0), broken, None).value == 0.75


def test_predictions_are_relative_to_the_level_of_their_series() -> None:
    assert relative({"a": [2, 4], "b": [3]}, {"a": 2, "b": 0}) == [1, 2, 3]
    assert relative(None, {}) == []


def test_a_reading_tells_what_it_rests_on() -> None:
    told = read(Check("failure_excess", 0.02, dry_run=True), sample(failures=4), sample()).told()
    assert told == "failure_excess 0.1 (at most 0.02, 40 calls beside 40 of the champion, dry run): failure"


def test_every_metric_has_a_meaning() -> None:
    assert all(metric.meaning for metric in METRICS.values())


@given(st.lists(st.tuples(st.sampled_from([200, 400, 500]), st.floats(0, 1e4), st.lists(st.floats(), max_size=4))))
def test_a_sample_survives_being_saved(calls: list[tuple[int, float, list[float]]]) -> None:
    made = Tally()
    for status, ms, predictions in calls:
        made += answered(status, ms, [min(max(one, -1e9), 1e9) for one in predictions])
    assert Tally.of(made.facts()) == made


@given(
    st.sampled_from(sorted(METRICS)), st.floats(0, 2), st.integers(0, 60), st.integers(0, 60), st.floats(0.1, 3),
    st.integers(0, 60),
)  # fmt: skip
def test_no_success_without_enough_calls(
    metric: str, most: float, count: int, failures: int, level: float, other: int
) -> None:
    seen = read(Check(metric, most, samples=30), sample(count, failures=failures, level=level), sample(other))
    if count < 30 or (METRICS[metric].beside and other < 30):
        assert seen.outcome is Outcome.INCONCLUSIVE
