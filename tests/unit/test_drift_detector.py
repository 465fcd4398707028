"""When a week is unlike the weeks before it, and when that is reason enough to retrain."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.drift import Level
from shared.drift_detector import (
    HOURS,
    Assessment,
    History,
    Hours,
    Policy,
    ScoredWeek,
    Seen,
    assess,
    confirm,
    departures,
    judge,
    quantile,
)

MONDAY = dt.date(2022, 1, 3)
WEEK = dt.timedelta(days=7)
POLICY = Policy(baseline=4, calibration=8, windows=3, violations=2)
LENGTH = 20
NEWEST = MONDAY + (LENGTH - 1) * WEEK
SERIES = ("dma_1", "dma_2", "dma_3")


def made(number: int, change: Callable[[int, float], float] = lambda _, value: value) -> dict[dt.date, Hours]:
    """Twenty weeks of a daily pattern with noise, each hour through `change(week, value)`."""
    source = random.Random(number)
    weeks = {}
    for week in range(LENGTH):
        hours = (10 + 3 * math.sin(hour / 24 * 2 * math.pi) + source.gauss(0, 0.3) for hour in range(HOURS))
        weeks[MONDAY + week * WEEK] = tuple(change(week, value) for value in hours)
    return weeks


def shifted(since: int, times: float = 1.5) -> Callable[[int, float], float]:
    return lambda week, value: value * times if week >= since else value


def levelled(*drifting: str, since: int = LENGTH - 1, errors: tuple[ScoredWeek, ...] = ()) -> Assessment:
    weeks = {
        name: made(number, shifted(since) if name in drifting else lambda _, value: value)
        for number, name in enumerate(SERIES)
    }
    return assess(weeks, errors, POLICY)


def log(last: float, *, weeks: int = 4, series: str = "") -> tuple[ScoredWeek, ...]:
    usual = [ScoredWeek(NEWEST - back * WEEK, "3", 0.05, series) for back in range(1, weeks + 1)]
    return (*usual, ScoredWeek(NEWEST, "3", last, series))


# -- levels ------------------------------------------------------------------------------------------------------------


def test_weeks_like_those_before_them_are_no_drift() -> None:
    found = levelled()
    assert (found.level, found.flagged, found.week) == (Level.NONE, (), NEWEST)
    assert "all 3 series" in found.reason


def test_one_series_for_the_first_time_is_an_incident_that_names_it() -> None:
    found = levelled("dma_2")
    assert (found.level, found.flagged) == (Level.INCIDENT, ("dma_2",))
    assert "dma_2" in found.reason


def test_two_series_at_once_are_reason_to_retrain() -> None:
    assert levelled("dma_1", "dma_3").level is Level.RETRAIN


def test_one_series_in_two_of_three_weeks_is_reason_to_retrain() -> None:
    found = levelled("dma_2", since=LENGTH - 2)
    assert found.level is Level.RETRAIN
    assert "2 of the last 3 weeks" in found.reason


def test_what_is_over_is_told_with_its_threshold_and_azure_mls_four_metrics() -> None:
    (seen,) = [one for one in levelled("dma_2").series if one.flagged]
    assert seen.distance > seen.threshold > 0
    assert seen.metrics["normalized_wasserstein_distance"] == seen.distance
    assert set(seen.metrics) == {
        "normalized_wasserstein_distance", "population_stability_index", "jensen_shannon_distance",
        "two_sample_kolmogorov_smirnov_test",
    }  # fmt: skip


# -- confirmation by error ---------------------------------------------------------------------------------------------


def test_forecasts_that_were_worse_than_usual_confirm_it() -> None:
    found = levelled("dma_1", "dma_3", errors=log(0.10))
    assert (found.level, found.confirmation and found.confirmation.worse) == (Level.RETRAIN, True)
    assert "2.00 times the usual" in found.reason


def test_forecasts_that_were_as_good_as_usual_make_it_an_incident() -> None:
    found = levelled("dma_1", "dma_3", errors=log(0.055))
    assert (found.level, found.confirmation and found.confirmation.worse) == (Level.INCIDENT, False)
    assert "not confirmed" in found.reason


@pytest.mark.parametrize("errors", [(), log(0.10, weeks=2), log(0.10)[:-1]])
def test_a_log_that_is_short_or_has_not_reached_the_week_neither_confirms_nor_denies(
    errors: tuple[ScoredWeek, ...],
) -> None:
    found = levelled("dma_1", "dma_3", errors=errors)
    assert (found.level, found.confirmation and found.confirmation.worse) == (Level.RETRAIN, None)


def test_only_the_flagged_series_are_asked_whether_their_forecasts_were_worse() -> None:
    bystander, flagged = log(0.5, series="dma_1"), log(0.05, series="dma_2")
    assert confirm([*bystander, *flagged], NEWEST, ["dma_2"], POLICY).worse is False
    assert confirm([*bystander, *flagged], NEWEST, ["dma_1", "dma_2"], POLICY).worse is True


# -- departures, distances, thresholds ---------------------------------------------------------------------------------


def test_departures_forget_the_level_and_the_pattern_of_a_series() -> None:
    one, ten = made(1), {week: tuple(value * 10 for value in hours if value) for week, hours in made(1).items()}
    assert departures(one, NEWEST) == pytest.approx(departures(ten, NEWEST))


def test_a_level_shift_is_its_logarithm() -> None:
    weeks = {MONDAY + number * WEEK: (2.0,) * HOURS for number in range(5)}
    weeks[MONDAY + 4 * WEEK] = (3.0,) * HOURS
    assert departures(weeks, MONDAY + 4 * WEEK) == pytest.approx([math.log(1.5)] * HOURS)


def test_hours_that_were_not_measured_or_have_no_past_are_left_out() -> None:
    weeks: dict[dt.date, Hours] = {MONDAY + number * WEEK: (2.0,) * HOURS for number in range(4)}
    weeks[MONDAY + 4 * WEEK] = (None, 0.0, *[2.0] * (HOURS - 2))
    assert len(departures(weeks, MONDAY + 4 * WEEK)) == HOURS - 2
    assert departures(weeks, MONDAY + WEEK) == [], "one week before it is no median"


def test_the_drifting_weeks_do_not_raise_their_own_threshold() -> None:
    quiet, loud = History(made(1), POLICY), History(made(1, shifted(LENGTH - POLICY.windows)), POLICY)
    assert quiet.threshold(NEWEST) == loud.threshold(NEWEST)


def test_too_little_history_is_not_judged_and_says_how_much_is_needed() -> None:
    weeks = {"dma_1": dict(list(made(1).items())[:10])}
    found = assess(weeks, (), POLICY)
    assert (found.level, found.series) == (Level.NONE, ())
    assert "19 weeks" in found.reason


def test_a_week_with_too_few_hours_is_not_judged() -> None:
    weeks = made(1)
    weeks[NEWEST] = (10.0, *[None] * (HOURS - 1))
    assert assess({"dma_1": weeks}, (), POLICY).series == ()


def test_without_weeks_there_is_nothing_to_say() -> None:
    assert assess({}, (), POLICY) == Assessment(Level.NONE, "there are no weeks to look at", None)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0, 1))
def test_a_quantile_lies_between_the_least_and_the_most(values: list[float], share: float) -> None:
    assert min(values) - 1e-9 <= quantile(values, share) <= max(values) + 1e-9


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3)), max_size=6))
def test_an_alarm_takes_a_flagged_series_and_more_flags_never_lower_the_level(drawn: list[tuple[float, int]]) -> None:
    order = list(Level)
    seen = [Seen(f"s{n}", distance, 1.0, violations, {}) for n, (distance, violations) in enumerate(drawn)]
    before = judge(seen, (), NEWEST, POLICY).level
    assert (before is Level.NONE) == (not any(one.flagged for one in seen))
    more = [dataclasses.replace(one, distance=2.0) for one in seen]
    assert order.index(judge(more, (), NEWEST, POLICY).level) >= order.index(before)


# -- policy ------------------------------------------------------------------------------------------------------------


def test_the_policy_as_it_ships_makes_sense() -> None:
    assert Policy().faults() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wide": 0}, "wide must be at least 1"),
        ({"quantile": 1.5}, "quantile must lie between 0.5 and 1"),
        ({"violations": 4, "windows": 3}, "violations must be at most windows"),
    ],
)
def test_a_policy_that_makes_no_sense_is_told(changes: dict[str, float], said: str) -> None:
    assert said in Policy(**changes).faults()  # type: ignore[arg-type]
