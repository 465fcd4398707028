"""What a consumer of the forecasts does: asks for the next week, and later compares with what was measured."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from deltalake import DeltaTable, QueryBuilder

from demand_forecasting import data
from demand_forecasting.landing import WEEK, storage_options

HISTORY_HOURS = 840
WEEK_HOURS = 168
WEATHER = ("temperature", "rain", "humidity")

Week = dict[str, list[float | None]]


def request(gold: str, version: int | None = None) -> dict[str, Any]:
    """The scoring request for the week after the last hour of the gold table, as of `version` or now.

    The weather of that week is the measured one, as the contest gave it to all; in production it is a forecast.
    """
    table = DeltaTable(gold, version=version, storage_options=storage_options())
    (last,) = _columns(table, "select cast(date_part('epoch', max(timestamp)) as bigint) from gold")
    origin = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=last[0], hours=1)  # noqa: DTZ001 - local clock hours
    recent = f"""select series, demand, {", ".join(WEATHER)} from gold
        where date_part('epoch', timestamp) > {last[0] - HISTORY_HOURS * 3600} order by series, timestamp"""
    names, demand, *before = _columns(table, recent)
    series: dict[str, list[float]] = {}
    for name, value in zip(names, demand, strict=True):
        series.setdefault(name, []).append(value)
    coming = _hourly(origin, WEATHER)
    weather = {
        name: _carried(hours[HISTORY_HOURS - WEEK_HOURS : HISTORY_HOURS] + coming[name])
        for name, hours in zip(WEATHER, before, strict=True)
    }
    return {"origin": origin.isoformat(), "series": series, "weather": weather}


def actual(start: dt.datetime) -> Week:
    """What was measured in the week from `start`: 168 local hours a series, None where nothing was."""
    return _hourly(start, data.SERIES)


def seasonal_naive(request: Mapping[str, Any]) -> Week:
    """The forecast to beat: the last week of the request's history."""
    return {name: hours[-WEEK_HOURS:] for name, hours in request["series"].items()}


def median_of_weeks(request: Mapping[str, Any]) -> Week:
    """A stronger simple forecast: for each hour of the week, the median of the request's five weeks of history."""
    weeks = range(HISTORY_HOURS // WEEK_HOURS)
    return {
        name: [statistics.median(hours[hour + week * WEEK_HOURS] for week in weeks) for hour in range(WEEK_HOURS)]
        for name, hours in request["series"].items()
    }


def mean_absolute_error(forecast: Mapping[str, Sequence[float | None]], measured: Week) -> float:
    """Over all series of `forecast` and all hours that were measured."""
    errors = [
        abs(value - truth)
        for name, hours in forecast.items()
        for value, truth in zip(hours, measured[name], strict=True)
        if value is not None and truth is not None
    ]
    if not errors:
        raise ValueError("nothing was measured in that week: there is nothing to compare with")
    return sum(errors) / len(errors)


def _hourly(start: dt.datetime, names: Sequence[str]) -> Week:
    """Supplied values of the week from `start` on local clock hours, the readings of a doubled hour averaged."""
    hours = {(start + dt.timedelta(hours=hour)).strftime(data.STAMP): hour for hour in range(WEEK_HOURS)}
    found: dict[str, list[list[float]]] = {name: [[] for _ in hours] for name in names}
    for row in data.rows(start, start + WEEK):
        for name in names:
            if (value := row[name]) is not None:
                found[name][hours[str(row["timestamp"])]].append(float(value))
    return {name: [sum(hour) / len(hour) if hour else None for hour in week] for name, week in found.items()}


def _carried(hours: Sequence[float | None]) -> list[float]:
    """`hours` with each unknown one replaced by the one before it."""
    carried: list[float] = []
    for value in hours:
        carried.append(carried[-1] if value is None else value)
    return carried


def _columns(table: DeltaTable, query: str) -> list[list[Any]]:
    found = QueryBuilder().register("gold", table).execute(query).read_all()
    return [found.column(index).to_pylist() for index in range(found.num_columns)]
