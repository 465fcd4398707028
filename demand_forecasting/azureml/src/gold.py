"""The gold table at one version, as arrays on a complete hourly grid."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from typing import Any

import features
import numpy as np
from deltalake import DeltaTable, QueryBuilder
from features import HISTORY, WEEK, Floats
from numpy.typing import NDArray
from step import StepFailed

NEWEST = -1
_HOUR = 3600
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - local clock hours throughout


@dataclasses.dataclass(frozen=True)
class Gold:
    """Demand (series, hours), whether each hour was measured, and weather (3, hours); NaN where gold has no row."""

    series: tuple[str, ...]
    start: dt.datetime
    demand: Floats
    observed: NDArray[np.bool_]
    weather: Floats

    @property
    def hours(self) -> int:
        """How many hours the table spans."""
        return self.demand.shape[1]

    @property
    def held_back(self) -> int:
        """The hour at which the last week begins: evaluation's, never training's."""
        return self.hours - WEEK

    def time(self, hour: int) -> dt.datetime:
        """The local time of `hour`."""
        return self.start + dt.timedelta(hours=hour)

    def history(self, origin: int) -> Floats:
        """The five weeks of demand before hour `origin`."""
        return self.demand[:, origin - HISTORY : origin]

    def weather_around(self, origin: int) -> Floats:
        """The weather of the week before hour `origin` and of the week from it."""
        return self.weather[:, origin - WEEK : origin + WEEK]

    def request(self, origin: int) -> dict[str, Any]:
        """The scoring request for the week from hour `origin`."""
        history, weather = self.history(origin), self.weather_around(origin)
        return {
            "origin": self.time(origin).isoformat(),
            "series": dict(zip(self.series, history.tolist(), strict=True)),
            "weather": dict(zip(features.WEATHER, weather.tolist(), strict=True)),
        }


def read(uri: str, version: int) -> tuple[Gold, int]:
    """Gold at `uri` as of `version`, and that version; `NEWEST` stands for the newest that there is."""
    options = {name.lower(): value for name, value in os.environ.items() if name.startswith("AZURE_STORAGE_")}
    try:
        table = DeltaTable(uri, version=None if version == NEWEST else version, storage_options=options)
    except Exception as error:
        raise StepFailed(f"cannot read version {version} of {uri}: {error}") from error
    query = f"""select series, cast(date_part('epoch', timestamp) as bigint) as at, demand, observed,
        {", ".join(features.WEATHER)} from gold"""
    found = QueryBuilder().register("gold", table).execute(query).read_all()
    names, at, demand, observed, *weather = (found.column(index).to_numpy() for index in range(found.num_columns))
    if len(at) == 0:
        raise StepFailed(f"version {version} of {uri} is empty: has curation run?")
    return arrange(names, at, demand, observed, np.array(weather)), table.version()


def arrange(
    names: NDArray[Any], at: NDArray[np.int64], demand: Floats, observed: NDArray[Any], weather: Floats
) -> Gold:
    """The rows of gold, in any order, on the grid; `at` is in seconds and `weather` is (3, rows)."""
    series, which = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    first = int(at.min())
    hour = (at - first) // _HOUR
    count = int(hour.max()) + 1
    if count < HISTORY + 2 * WEEK:
        raise StepFailed(f"gold spans {count} hours: a model needs {HISTORY + 2 * WEEK} at least")
    grid = np.full((len(series), count), np.nan)
    seen = np.zeros((len(series), count), dtype=bool)
    air = np.full((len(weather), count), np.nan)
    grid[which, hour] = demand
    seen[which, hour] = observed
    air[:, hour] = weather
    return Gold(tuple(map(str, series)), _EPOCH + dt.timedelta(seconds=first), grid, seen, air)
