"""NCRONTAB schedules and the timer's memory, as pure functions."""

from __future__ import annotations

import datetime as dt

import pytest

from localcloud.functions_host import schedules
from localcloud.functions_host.timers import NEVER, Status, begin, ticked


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 */5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("*/5 * * * *", "2026-01-01T00:04:59", "2026-01-01T00:05:00"),
        ("30 0,15-17 8 * * *", "2026-01-01T08:00:30", "2026-01-01T08:15:30"),
        ("0 10/20 * * * *", "2026-01-01T00:31:00", "2026-01-01T00:50:00"),
        ("0 0 12 * * Mon-Fri", "2026-01-02T12:00:00", "2026-01-05T12:00:00"),
        ("0 0 12 * * 1-5", "2026-01-02T12:00:00", "2026-01-05T12:00:00"),
        ("0 0 0 29 Feb *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 0 1 * 0", "2026-01-02T00:00:00", "2026-02-01T00:00:00"),
        ("0 0 0 31 12 *", "2026-12-31T00:00:00", "2027-12-31T00:00:00"),
        ("*/2 * * * * *", "2026-01-01T00:00:00.5", "2026-01-01T00:00:02"),
    ],
)
def test_a_schedule_finds_the_first_time_after_a_moment(schedule: str, after: str, expected: str) -> None:
    assert schedules.parse(schedule).after(at(after)) == at(expected)


@pytest.mark.parametrize(
    ("schedule", "named"),
    [("* * *", "six fields"), ("60 * * * * *", "second"), ("0 0 0 * Foo *", "month"), ("0 */0 * * * *", "minute"),
     ("00:05:00", "time span"), ("0 0 0 0 * *", "day")],
)  # fmt: skip
def test_a_wrong_schedule_is_refused_with_the_field_that_is_wrong(schedule: str, named: str) -> None:
    with pytest.raises(schedules.ScheduleError, match=named):
        schedules.parse(schedule)


def test_a_day_that_never_comes_is_an_error_not_an_endless_search() -> None:
    with pytest.raises(schedules.ScheduleError, match="no day"):
        schedules.parse("0 0 0 30 2 *").after(at("2026-01-01T00:00:00"))


HOURLY = schedules.parse("0 0 * * * *")


def test_a_new_timer_waits_for_its_first_tick() -> None:
    status, past_due = begin(HOURLY, None, at("2026-01-01T00:30:00"))

    assert not past_due
    assert status == Status(NEVER, at("2026-01-01T01:00:00"), at("2026-01-01T00:30:00"))


def test_a_tick_that_was_missed_while_no_host_ran_is_past_due() -> None:
    recorded = Status(at("2026-01-01T01:00:00"), at("2026-01-01T02:00:00"), at("2026-01-01T01:00:01"))

    assert begin(HOURLY, recorded, at("2026-01-01T02:00:01")) == (recorded, True)
    assert begin(HOURLY, recorded, at("2026-01-01T01:59:59")) == (recorded, False)


def test_a_first_tick_that_was_missed_is_past_due() -> None:
    recorded = Status(NEVER, at("2026-01-01T01:00:00"), at("2026-01-01T00:30:00"))

    assert begin(HOURLY, recorded, at("2026-01-01T05:00:00"))[1]


def test_a_changed_schedule_starts_afresh_and_catches_nothing_up() -> None:
    recorded = Status(at("2026-01-01T01:00:00"), at("2026-01-01T01:10:00"), at("2026-01-01T01:00:01"))

    status, past_due = begin(HOURLY, recorded, at("2026-01-01T05:30:00"))

    assert (status.next, past_due) == (at("2026-01-01T06:00:00"), False)


def test_ticks_that_were_missed_during_a_long_run_collapse_into_one() -> None:
    status = ticked(HOURLY, at("2026-01-01T01:00:00"), at("2026-01-01T04:30:00"))

    assert status.next == at("2026-01-01T02:00:00")
