"""The change that act two puts into the data: from its first week on the day comes six hours later, in every area.

docs/decisions/25-the-demonstrations-change.md says why this one.
"""

from __future__ import annotations

from typing import TypeVar

from demand_forecasting import data, landing
from demand_forecasting.client import Week

_Value = TypeVar("_Value")

FIRST_WEEK = 4
HOURS_LATER = 6


def rows(number: int) -> list[data.Row]:
    """Week `number` as it lands: as it was measured, or changed."""
    start = landing.week_start(number)
    found = [dict(row) for row in data.rows(start, start + landing.WEEK)]
    if number < FIRST_WEEK:
        return found
    later = {name: _later([row[name] for row in found]) for name in data.SERIES}
    return [row | {name: later[name][hour] for name in data.SERIES} for hour, row in enumerate(found)]


def measured(number: int, week: Week) -> Week:
    """What will be measured in week `number`, given what the contest measured."""
    return week if number < FIRST_WEEK else {name: _later(hours) for name, hours in week.items()}


def _later(hours: list[_Value]) -> list[_Value]:
    return hours[-HOURS_LATER:] + hours[:-HOURS_LATER]
