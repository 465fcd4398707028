"""What the model sees of one week ahead: the one definition that training, evaluation and scoring share.

Needs numpy only.  It travels inside the MLflow model folder (`code/features.py`), so that the service computes
exactly what training computed.  Hours are local wall-clock hours on a complete grid: 24 a day on every day.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

HISTORY = 840
"""Hours of demand before the origin: five weeks."""
WEEK = 168
WEATHER = ("temperature", "rain", "humidity")

Floats = NDArray[np.float64]
Predict = Callable[[Floats], Floats]

NAMES = (
    *("series", "day", "hour", "weekday", "holiday", "holiday_before", "holiday_after", "holiday_last_week"),
    *WEATHER,
    *(f"{name}_change" for name in WEATHER),
    *(f"same_hour_{days}d" for days in range(1, 8)),
    *(f"same_hour_of_week_{weeks}w" for weeks in range(1, 6)),
    "same_hour_of_week_median",
    "same_hour_of_week_mean",
    *(f"level_{days}d" for days in (1, 3, 7)),
)
CATEGORICAL = ("series",)


def scale(history: Floats) -> Floats:
    """Per series the mean of the last four weeks: what demand is divided by, so that one model serves all series."""
    return np.maximum(history[:, -4 * WEEK :].mean(axis=1), 1e-6)


def build(history: Floats, weather: Floats, origin: dt.datetime, series: Floats) -> Floats:
    """The rows of one origin, series by series, hour by hour: shape (series * 168, len(NAMES)).

    `history` is (series, 840), ending with the hour before `origin`.  `weather` is (3, 336) in the order of `WEATHER`:
    the week before the origin and the week from it.  `series` are the numbers that the series had in training.
    """
    count = len(history)
    scaled = history / scale(history)[:, None]
    change = weather[:, WEEK:] - weather[:, :WEEK]
    shared = np.column_stack([_calendar(origin), weather[:, WEEK:].T, change.T])
    rows = np.empty((count, WEEK, len(NAMES)))
    rows[:, :, 0] = np.asarray(series)[:, None]
    rows[:, :, 1 : 1 + shared.shape[1]] = shared
    rows[:, :, 1 + shared.shape[1] :] = _lags(scaled)
    return rows.reshape(count * WEEK, len(NAMES))


def base(history: Floats) -> Floats:
    """What the model's output is added to, in units of `scale`: the median of the same hour of the last five weeks."""
    scaled = history / scale(history)[:, None]
    return np.median(scaled.reshape(len(history), 5, WEEK), axis=1)


def seasonal_naive(history: Floats) -> Floats:
    """The forecast to beat: the same hour of the last week."""
    return history[:, -WEEK:]


def week_ahead(predict: Predict, history: Floats, weather: Floats, origin: dt.datetime, series: Floats) -> Floats:
    """The forecast of the week from `origin`: (series, 168) in the unit of `history`, never negative.

    `predict` is the model's: rows of `build` to departures from `base`.
    """
    outputs = np.asarray(predict(build(history, weather, origin, series))).reshape(len(history), WEEK)
    return np.maximum((outputs + base(history)) * scale(history)[:, None], 0.0)


def _lags(scaled: Floats) -> Floats:
    count = len(scaled)
    days = scaled[:, -WEEK:].reshape(count, 7, 24)[:, ::-1]
    by_hour = np.tile(days.transpose(0, 2, 1), (1, 7, 1))
    weeks = scaled.reshape(count, 5, WEEK)[:, ::-1].transpose(0, 2, 1)
    levels = np.stack([scaled[:, -24 * back :].mean(axis=1) for back in (1, 3, 7)], axis=1)
    return np.concatenate(
        [
            by_hour,
            weeks,
            np.median(weeks, axis=2, keepdims=True),
            weeks.mean(axis=2, keepdims=True),
            np.repeat(levels[:, None, :], WEEK, axis=1),
        ],
        axis=2,
    )


def _calendar(origin: dt.datetime) -> Floats:
    rows = []
    for hour in range(WEEK):
        at = origin + dt.timedelta(hours=hour)
        day = at.date()
        off = [is_holiday(day + dt.timedelta(days=shift)) for shift in (0, -1, 1, -7)]
        rows.append((hour // 24, at.hour, at.weekday(), *off))
    return np.array(rows, dtype=float)


_FIXED = {(1, 1), (1, 6), (4, 25), (5, 1), (6, 2), (8, 15), (11, 1), (11, 3), (12, 8), (12, 25), (12, 26)}


@functools.cache
def is_holiday(day: dt.date) -> bool:
    """Whether `day` is a public holiday of Italy, or the third of November: the patron saint of the city."""
    return (day.month, day.day) in _FIXED or day == easter(day.year) + dt.timedelta(days=1)


def easter(year: int) -> dt.date:
    """Easter Sunday of `year` (the anonymous Gregorian computus)."""
    a, (b, c) = year % 19, divmod(year, 100)
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * e) // 451
    month, day = divmod(h + e - 7 * m + 114, 31)
    return dt.date(year, month, day + 1)
