"""The change of act two: what lands is what will be measured, and weeks before it are as the contest has them."""

from __future__ import annotations

from demand_forecasting import client, data, landing
from demo import change


def test_a_week_before_the_change_lands_as_it_was_measured() -> None:
    start = landing.week_start(change.FIRST_WEEK - 1)
    assert change.rows(change.FIRST_WEEK - 1) == data.rows(start, start + landing.WEEK)


def test_what_lands_in_a_changed_week_is_what_is_measured_of_it() -> None:
    number = change.FIRST_WEEK
    measured = change.measured(number, client.actual(landing.week_start(number)))
    landed = change.rows(number)
    assert all(measured[name] == [row[name] for row in landed] for name in data.SERIES)
    assert landed != data.rows(landing.week_start(number), landing.week_start(number + 1))
