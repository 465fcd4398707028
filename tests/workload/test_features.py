"""What the model sees."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

MONDAY = dt.datetime(2022, 10, 31)  # noqa: DTZ001 - local clock hours


@pytest.fixture
def features(steps: None) -> Any:
    import features

    return features


def test_rows_are_complete_and_independent_of_the_unit(features: Any) -> None:
    history = np.random.default_rng(1).uniform(5, 15, (2, features.HISTORY))
    weather = np.zeros((3, 2 * features.WEEK))
    rows = features.build(history, weather, MONDAY, np.arange(2.0))
    assert rows.shape == (2 * features.WEEK, len(features.NAMES))
    assert np.isfinite(rows).all()
    assert np.allclose(rows, features.build(1000 * history, weather, MONDAY, np.arange(2.0)))


def test_lags_are_the_hours_that_their_names_say(features: Any) -> None:
    history = np.arange(float(features.HISTORY))[None, :]
    scaled = history[0] / features.scale(history)[0]
    rows = features.build(history, np.zeros((3, 2 * features.WEEK)), MONDAY, np.zeros(1))
    column = {name: rows[:, index] for index, name in enumerate(features.NAMES)}
    hour = 30  # Tuesday, six o'clock
    assert column["hour"][hour] == 6
    assert column["weekday"][hour] == 1
    assert column["same_hour_1d"][hour] == pytest.approx(scaled[-24 + 6])
    assert column["same_hour_7d"][hour] == pytest.approx(scaled[-168 + 6])
    assert column["same_hour_of_week_1w"][hour] == pytest.approx(scaled[-168 + 30])
    assert column["same_hour_of_week_5w"][hour] == pytest.approx(scaled[30])
    assert column["holiday"][hour] == 1


def test_a_model_without_an_opinion_forecasts_the_median_of_five_weeks(features: Any) -> None:
    history = np.tile(np.arange(1.0, 169.0), 5)[None, :]
    forecast = features.week_ahead(lambda rows: np.zeros(len(rows)), history, np.zeros((3, 336)), MONDAY, np.zeros(1))
    assert np.allclose(forecast, history[:, -168:])


def test_forecasts_are_never_negative(features: Any) -> None:
    history = np.ones((1, features.HISTORY))
    forecast = features.week_ahead(
        lambda rows: np.full(len(rows), -9.0), history, np.zeros((3, 336)), MONDAY, np.zeros(1)
    )
    assert forecast.min() == 0


@pytest.mark.parametrize(("year", "month", "day"), [(2021, 4, 4), (2022, 4, 17), (2023, 4, 9), (2024, 3, 31)])
def test_easter_is_known(features: Any, year: int, month: int, day: int) -> None:
    assert features.easter(year) == dt.date(year, month, day)
    assert features.is_holiday(dt.date(year, month, day) + dt.timedelta(days=1))


def test_the_patron_saint_is_a_holiday_and_an_ordinary_day_is_not(features: Any) -> None:
    assert features.is_holiday(dt.date(2022, 11, 3))
    assert not features.is_holiday(dt.date(2022, 11, 4))
