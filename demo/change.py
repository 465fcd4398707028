"""The change that act two puts into the data: from its first week on the day comes six hours later in six of ten areas.

docs/decisions/25-the-demonstrations-change.md says why this one.
"""

from __future__ import annotations

import datetime as dt

from demand_forecasting import client, data, landing
from demand_forecasting.client import Week

FIRST_WEEK = 4
HOURS_LATER = 6
AREAS = ("dma_2", "dma_3", "dma_4", "dma_6", "dma_7", "dma_10")


def rows(number: int) -> list[data.Row]:
    """Week `number` as it lands: as it was measured, or changed."""
    start = landing.week_start(number)
    found = data.rows(start, start + landing.WEEK)
    if number < FIRST_WEEK:
        return found
    changed = measured(number, client.actual(start))
    return [row | {name: changed[name][_hour(row, start)] for name in AREAS} for row in found]


def measured(number: int, week: Week) -> Week:
    """What will be measured in week `number`, given what the contest measured."""
    if number < FIRST_WEEK:
        return week
    return week | {name: week[name][-HOURS_LATER:] + week[name][:-HOURS_LATER] for name in AREAS}


def _hour(row: data.Row, start: dt.datetime) -> int:
    """The hour of the week by the clock: the autumn hour is supplied twice."""
    at = dt.datetime.strptime(str(row["timestamp"]), data.STAMP)  # noqa: DTZ007 - local time, as supplied
    return int((at - start) / dt.timedelta(hours=1))
