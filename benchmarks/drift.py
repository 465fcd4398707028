"""`python -m benchmarks.drift`: what the drift detector says of 55 real weeks, and of shifts that are put into them.

The weeks (7 March 2022 to 26 March 2023) are unlabelled: an alarm may be true, so these are alarm rates, not rates of
false alarms.  The detector is the product's own, `shared/drift_detector.py`; the served forecasts that confirm it come
from the train step's code, trained anew for every fourth week.
"""

from __future__ import annotations

import datetime as dt
import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks import past_weeks
from demand_forecasting import data, landing
from shared.drift import Level
from shared.drift_detector import HOURS, History, Hours, Policy, ScoredWeek, Seen, judge, over
from shared.drift_metrics import METRICS, STOCK, breaches

FIRST, COUNT = dt.date(2022, 3, 7), 55
WEEK = dt.timedelta(days=7)
ASSESSED = [FIRST + number * WEEK for number in range(COUNT)]
SCORED_BEFORE = 8

Weeks = dict[str, dict[dt.date, Hours]]
Change = Callable[[Hours], Hours]


def supplied() -> Weeks:
    """Demand by series and week, as supplied; the readings of a doubled hour averaged."""
    readings: dict[tuple[str, dt.datetime], list[float]] = {}
    for row in data.rows(landing.HISTORY_START, past_weeks.END):
        at = dt.datetime.strptime(str(row["timestamp"]), data.STAMP)  # noqa: DTZ007 - local time, as supplied
        for name in data.SERIES:
            value = row[name]
            if isinstance(value, float) and value >= 0:
                readings.setdefault((name, at), []).append(value)
    mondays = [landing.HISTORY_START + dt.timedelta(days=3) + number * WEEK for number in range(116)]

    def hours(name: str, monday: dt.datetime) -> Hours:
        found = (readings.get((name, monday + dt.timedelta(hours=hour))) for hour in range(HOURS))
        return tuple(statistics.fmean(values) if values else None for values in found)

    return {name: {monday.date(): hours(name, monday) for monday in mondays} for name in data.SERIES}


def served() -> dict[dt.date, dict[str, Any]]:
    """What would have been served for each week, and what was measured."""
    starts = [FIRST + number * WEEK for number in range(-SCORED_BEFORE, COUNT)]
    found = past_weeks.forecasts(starts, every=4, origin_every_days=8, iterations=100)
    return {dt.date.fromisoformat(week["start"][:10]): week for week in found}


def error(forecast: Sequence[float], actual: Hours) -> float | None:
    """Mean absolute error over mean demand, None where nothing was measured."""
    known = [(value, truth) for value, truth in zip(forecast, actual, strict=True) if truth is not None]
    total = sum(truth for _, truth in known)
    return sum(abs(value - truth) for value, truth in known) / total if total else None


# -- what is put into a week ------------------------------------------------------------------------------------------


def scaled(percent: int) -> Change:
    """Demand higher or lower by so much."""
    return lambda hours: tuple(None if value is None else value * (1 + percent / 100) for value in hours)


def later(hours: Hours) -> Hours:
    """The day's pattern three hours later."""
    return (*hours[-3:], *hours[:-3])


def stuck(hours: Hours) -> Hours:
    """A meter that repeats its last reading before the week, here the week's first."""
    first = next((value for value in hours if value is not None), None)
    return tuple(None if value is None else first for value in hours)


def nothing(hours: Hours) -> Hours:
    """The week as it was: how often the detector says the same without any change."""
    return hours


CHANGES: Mapping[str, Change] = {
    "nothing": nothing,
    "level +10 %": scaled(10),
    "level +20 %": scaled(20),
    "level -20 %": scaled(-20),
    "level +35 %": scaled(35),
    "the day 3 h later": later,
    "a stuck meter": stuck,
}


class Bench:
    """The weeks and what was served for them, each distance reckoned once."""

    def __init__(self, weeks: Weeks, served: Mapping[dt.date, dict[str, Any]], policy: Policy) -> None:
        self.weeks, self.served, self.policy = weeks, served, policy
        self.histories = {name: History(past, policy) for name, past in weeks.items()}
        self.distance = functools.cache(self._distance)
        self.error = functools.cache(self._error)

    def _distance(self, series: str, week: dt.date, kind: str, since: int) -> float | None:
        """The distance of a week when the change has been there for `since` weeks, this one included."""
        if not since:
            return self.histories[series].distance(week)
        past = dict(self.weeks[series])
        for back in range(since):
            past[week - back * WEEK] = CHANGES[kind](past[week - back * WEEK])
        return History(past, self.policy).distance(week)

    def _error(self, series: str, week: dt.date, kind: str) -> float | None:
        """How far the served forecast was off, when the change began in that week or (empty) there was none."""
        found = self.served[week]
        actual = found["actual"][series]
        return error(found["model"][series], CHANGES[kind](actual) if kind else actual)

    def look(self, series: str, week: dt.date, kind: str, since: int) -> Seen | None:
        """A series in a week, by the product's own rules."""
        limit = self.histories[series].threshold(week)
        spans = [(week - back * WEEK, max(since - back, 0)) for back in range(self.policy.windows)]
        recent = [self.distance(series, day, kind if left else "", left) for day, left in spans]
        if limit is None or recent[0] is None:
            return None
        return Seen(series, recent[0], limit, over(recent, limit), {})

    def errors(self, week: dt.date, kind: str, where: Sequence[str]) -> Iterator[ScoredWeek]:
        """The scoring log of the eight weeks before `week` and of `week` itself."""
        for back in range(SCORED_BEFORE, -1, -1):
            day = week - back * WEEK
            for series in self.weeks:
                changed = kind if not back and series in where else ""
                if (found := self.error(series, day, changed)) is not None:
                    yield ScoredWeek(day, "backtest", found, series)

    def level(self, week: dt.date, kind: str = "", where: Sequence[str] = (), since: int = 0, *, scored: bool) -> Level:
        """The level of a week."""
        looked = [self.look(name, week, kind, since if name in where else 0) for name in self.weeks]
        errors = list(self.errors(week, kind, where)) if scored else []
        return judge([seen for seen in looked if seen is not None], errors, week, self.policy).level


def alarms(bench: Bench) -> list[str]:
    """How often each way of looking alarms in the weeks as they were."""
    lines = ["| way of looking | weeks with an alarm | share of tests |", "|---|---|---|"]
    for title, raw, back in (
        ("demand, against all weeks before", True, None),
        ("demand, against the 8 weeks before", True, 8),
        ("departures, against the 26 weeks before", False, 26),
    ):
        for metric in METRICS if back else ["normalized_wasserstein_distance"]:
            fired = [stock(bench, metric, week, raw, back) for week in ASSESSED]
            tests = [one for week in fired for one in week]
            symbol = "<" if metric.startswith("two") else ">"
            lines.append(
                f"| {title}, {metric} {symbol} {STOCK[metric]} | {sum(map(any, fired))} of {COUNT} "
                f"| {sum(tests) / len(tests):.0%} |"
            )
    counts = [over_own(bench, week) for week in ASSESSED]
    for least in (1, 2):
        title = f"departures, over the series' own threshold, {least} series or more"
        share = f"{sum(counts) / len(bench.weeks) / COUNT:.1%}" if least == 1 else ""
        lines.append(f"| {title} | {sum(count >= least for count in counts)} of {COUNT} | {share} |")
    for scored in (False, True):
        levels = [bench.level(week, scored=scored) for week in ASSESSED]
        how = "with" if scored else "without"
        for level in (Level.INCIDENT, Level.RETRAIN):
            count = sum(one is level for one in levels)
            lines.append(f"| **the detector, {how} a scoring log: {level}** | {count} of {COUNT} | |")
    return lines


def over_own(bench: Bench, week: dt.date) -> int:
    """How many series are over their own thresholds."""
    return sum(seen is not None and seen.flagged for seen in (bench.look(name, week, "", 0) for name in bench.weeks))


def stock(bench: Bench, metric: str, week: dt.date, raw: bool, back: int | None) -> list[bool]:
    """Which series a stock threshold alarms for in a week."""
    found = []
    for name, history in bench.histories.items():
        days = [day for day in bench.weeks[name] if day < week and (back is None or day >= week - back * WEEK)]
        past = [_values(bench, name, day) if raw else history.departures(day) for day in days]
        now = _values(bench, name, week) if raw else history.departures(week)
        baseline = [value for one in past for value in one]
        found.append(bool(now and baseline) and breaches(metric, METRICS[metric](baseline, now), STOCK[metric]))
    return found


def _values(bench: Bench, series: str, week: dt.date) -> list[float]:
    return [value for value in bench.weeks[series][week] if value is not None]


def detections(bench: Bench) -> list[str]:
    """What the detector says when a change is put into the weeks."""
    lines = [
        "| change, from the week on | in | first week: incident or more | first week: retrain | with a scoring log | "
        "within 3 weeks: retrain |",
        "|---|---|---|---|---|---|",
    ]
    everywhere = tuple(bench.weeks)
    for kind in CHANGES:
        for title, places in _places(everywhere)[kind == "nothing" :]:
            cases = [(week, where) for week in ASSESSED[:-2] for where in places]
            first = [bench.level(week, kind, where, 1, scored=False) for week, where in cases]
            scored = [bench.level(week, kind, where, 1, scored=True) for week, where in cases]
            soon = [_within(bench, week, kind, where) for week, where in cases]
            shares = (
                sum(level is not Level.NONE for level in first),
                sum(level is Level.RETRAIN for level in first),
                sum(level is Level.RETRAIN for level in scored),
                sum(soon),
            )
            told = " | ".join(f"{count / len(cases):.0%}" for count in shares)
            lines.append(f"| {kind} | {title} | {told} |")
    return lines


def _places(everywhere: tuple[str, ...]) -> list[tuple[str, list[tuple[str, ...]]]]:
    return [("one series", [(name,) for name in everywhere]), ("all ten", [everywhere])]


def _within(bench: Bench, week: dt.date, kind: str, where: Sequence[str], weeks: int = 3) -> bool:
    spans = ((week + ahead * WEEK, ahead + 1) for ahead in range(weeks))
    return any(bench.level(day, kind, where, since, scored=False) is Level.RETRAIN for day, since in spans)


def main() -> None:
    """Print the tables, and keep them in `.local/backtest/drift.md`."""
    began = time.monotonic()
    bench = Bench(supplied(), served(), Policy())
    report = [*alarms(bench), "", *detections(bench)]
    made = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, Python {platform.python_version()}, {time.monotonic() - began:.0f} s"
    text = "\n".join([made, "", *report]) + "\n"
    (past_weeks.FOLDER / "drift.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
