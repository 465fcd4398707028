"""The change that act two puts into the data: from its first week on every area takes a fifth more.

docs/decisions/25-the-demonstrations-change.md says why this one, and why in these weeks.
"""

from __future__ import annotations

from demand_forecasting import data, landing
from demand_forecasting.client import Week

FIRST_WEEK = 4
LEVEL = 1.2
SAID = f"a level of {LEVEL - 1:+.0%} in every area"


def rows(number: int) -> list[data.Row]:
    """Week `number` as it lands: as it was measured, or changed."""
    start = landing.week_start(number)
    found = data.rows(start, start + landing.WEEK)
    if number < FIRST_WEEK:
        return found
    return [row | {name: _raised(row[name]) for name in data.SERIES} for row in found]


def measured(number: int, week: Week) -> Week:
    """What will be measured in week `number`, given what the contest measured."""
    if number < FIRST_WEEK:
        return week
    return {name: [None if value is None else LEVEL * value for value in hours] for name, hours in week.items()}


def _raised(value: str | float | None) -> float | None:
    return None if value is None else LEVEL * float(value)
