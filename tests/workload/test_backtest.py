"""The contest's rules, and that a past week is forecast from what came before it."""

from __future__ import annotations

import math

import pytest

from demand_forecasting.backtest import contest
from demand_forecasting.backtest.contest import Score
from tests.workload.conftest import WORKLOAD, drive, interpreter


def flat(error: float) -> contest.Scores:
    return {("W1", f"dma_{number}"): Score(error, error, error, error) for number in range(1, 4)}


def test_the_indicators_are_those_of_the_first_day_and_of_the_rest_of_the_week() -> None:
    actual = [0.0] * 168
    forecast = [1.0] * 23 + [5.0] + [2.0] * 144
    found = contest.score(forecast, actual)
    assert (found.pi1, found.pi2, found.pi3) == (pytest.approx(28 / 24), 5.0, 2.0)
    assert found.mae == pytest.approx((28 + 288) / 168)


def test_an_hour_that_was_not_measured_is_not_scored() -> None:
    assert contest.score([9.0, *[1.0] * 167], [None, *[0.0] * 167]).pi2 == 1.0


def test_the_best_is_placed_first_and_the_worst_last() -> None:
    others = {1: flat(1.0), 2: flat(2.0)}
    assert contest.mean_rank(flat(0.5), others) == (1.0, 1)
    assert contest.mean_rank(flat(1.5), others) == (2.0, 2)
    assert contest.mean_rank(flat(9.0), others) == (3.0, 3)


def test_equal_scores_share_the_mean_of_their_ranks() -> None:
    assert contest.mean_rank(flat(1.0), {1: flat(1.0), 2: flat(2.0)}) == (1.5, 1)


def test_a_forecast_that_is_missing_comes_last() -> None:
    assert contest.mean_rank(flat(9.0), {1: flat(math.nan), 2: flat(1.0)}) == (2.0, 2)


def test_the_published_scores_are_whole() -> None:
    found = contest.published()
    assert sorted(found) == list(range(1, 32))
    assert {len(scores) for scores in found.values()} == {len(contest.WEEKS) * 10}


@pytest.mark.parametrize("place", [*range(1, 27), 30, 31])
def test_these_rules_place_the_published_forecasts_as_the_contest_did(place: int) -> None:
    """Places 27 to 29 come out in another order: one of these teams left 1,690 values blank."""
    others = contest.published()
    ours = others.pop(place)
    assert contest.mean_rank(ours, others)[1] == place


def test_a_difference_comes_with_an_interval_that_holds_it() -> None:
    ours = {("W1", f"dma_{number}"): Score(0, 0, 0, number / 10) for number in range(10)}
    mean, low, high = contest.difference(ours, flat_like(ours, 0.3))
    assert low < mean < high
    assert mean == pytest.approx(0.15)


def flat_like(cells: contest.Scores, mae: float) -> contest.Scores:
    return dict.fromkeys(cells, Score(0, 0, 0, mae))


def test_nothing_after_its_first_hour_changes_the_forecast_of_a_week() -> None:
    python = interpreter(WORKLOAD / "azureml" / "environment" / "conda.yml")
    found = drive(python, "backtest_driver.py")
    assert found["same_forecast_whatever_comes_after"]
    assert found["another_forecast_when_the_past_changes"]
