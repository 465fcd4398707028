"""NCRONTAB: `{second} {minute} {hour} {day} {month} {day of week}`, or five fields with the second left out. UTC."""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import re
from collections.abc import Sequence

_MONTHS = [name.lower() for name in calendar.month_name][1:]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_HORIZON_DAYS = 366 * 8 + 2


class ScheduleError(ValueError):
    """A schedule that the host would refuse."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One of the six fields: its name, its limits, and the words that may stand for numbers."""

    name: str
    low: int
    high: int
    words: Sequence[str] = ()

    def parse(self, text: str) -> frozenset[int]:
        """The numbers that `text` allows: lists, ranges, steps, `*`."""
        values: set[int] = set()
        for part in text.split(","):
            values |= self._part(part)
        return frozenset(values)

    def _part(self, part: str) -> set[int]:
        span, slash, step_text = part.partition("/")
        if slash and not (step_text.isdecimal() and int(step_text) > 0):
            raise ScheduleError(f"{part!r} is not a valid {self.name}: the step must be a number from 1 up")
        step = int(step_text) if slash else 1
        if span == "*":
            return set(range(self.low, self.high + 1, step))
        first, dash, last = span.partition("-")
        start = self._number(first)
        end = self._number(last) if dash else (self.high if slash else start)
        # Like NCrontab: a range that is written backwards is read forwards.
        return set(range(min(start, end), max(start, end) + 1, step))

    def _number(self, text: str) -> int:
        if text.isdecimal():
            number = int(text)
        else:
            matching = [place for place, word in enumerate(self.words) if text and word.startswith(text.lower())]
            number = matching[0] + self.low if matching else self.high + 1
        if not self.low <= number <= self.high:
            raise ScheduleError(f"{text!r} is not a valid {self.name}: use {self.low} to {self.high}")
        return number


FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day", 1, 31),
    Field("month", 1, 12, _MONTHS),
    Field("day of week", 0, 6, _DAYS),
)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a timer fires. A day must fit both the day and the day of week, unlike in Unix cron."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def after(self, moment: dt.datetime) -> dt.datetime:
        """The first time later than `moment`, in UTC; raises ScheduleError when there is none in eight years."""
        start = moment.astimezone(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=1)
        for offset in range(_HORIZON_DAYS):
            day = start.date() + dt.timedelta(days=offset)
            if not self._fits(day):
                continue
            found = self._first_in(start.time() if offset == 0 else dt.time.min)
            if found is not None:
                return dt.datetime.combine(day, found, tzinfo=dt.UTC)
        raise ScheduleError("the schedule names no day that exists")

    def seldom(self) -> bool:
        """Whether it fires at most once a minute: only then does the host keep its status."""
        return len(self.seconds) == 1

    def _fits(self, day: dt.date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _first_in(self, start: dt.time) -> dt.time | None:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                if (hour, minute) < (start.hour, start.minute):
                    continue
                for second in sorted(self.seconds):
                    if dt.time(hour, minute, second) >= start:
                        return dt.time(hour, minute, second)
        return None


def parse(text: str) -> Schedule:
    """The schedule that `text` writes; raises ScheduleError that says which field is wrong."""
    if re.fullmatch(r"(\d+\.)?\d+:\d+:\d+", text.strip()):
        raise ScheduleError(f"{text!r} is a time span: those work only on a Dedicated plan; write an NCRONTAB schedule")
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ScheduleError(f"{text!r} is not a schedule: it must have six fields (or five, without the second)")
    return Schedule(*(field.parse(part) for field, part in zip(FIELDS, fields, strict=True)))
