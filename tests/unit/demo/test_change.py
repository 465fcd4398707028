"""The change of act two: what lands is what will be measured, and weeks before it are as the contest has them."""

from __future__ import annotations

import pytest

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
    as_supplied = data.rows(landing.week_start(number), landing.week_start(number + 1))
    for name in data.SERIES:
        pairs = [
            (row[name], float(before[name])) for row, before in zip(landed, as_supplied, strict=True) if before[name]
        ]
        assert [value for value, _ in pairs] == pytest.approx([change.LEVEL * before for _, before in pairs])
    assert [row["temperature"] for row in landed] == [row["temperature"] for row in as_supplied]
