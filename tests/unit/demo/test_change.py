"""The change of act two: what lands is what will be measured, and weeks before it are as the contest has them."""

from __future__ import annotations

import pytest

from demand_forecasting import client, data, landing
from demo import change


def test_a_week_before_the_change_lands_as_it_was_measured() -> None:
    start = landing.week_start(change.FIRST_WEEK - 1)
    assert change.rows(change.FIRST_WEEK - 1) == data.rows(start, start + landing.WEEK)


@pytest.mark.parametrize("number", [change.FIRST_WEEK, change.FIRST_WEEK + 1])
def test_what_lands_in_a_changed_week_is_what_is_measured_of_it(number: int) -> None:
    measured = change.measured(number, client.actual(landing.week_start(number)))
    landed = change.rows(number)
    by_hour = {str(row["timestamp"]): row for row in landed}  # in the second of them the clock goes back
    assert all(measured[name] == [row[name] for row in by_hour.values()] for name in change.AREAS)
    as_supplied = data.rows(landing.week_start(number), landing.week_start(number + 1))
    assert [row["timestamp"] for row in landed] == [row["timestamp"] for row in as_supplied]
    for name in set(data.SERIES):
        assert ([row[name] for row in landed] != [row[name] for row in as_supplied]) == (name in change.AREAS)
