"""Whether the newest week of a demand is unlike the weeks before it, judged by thresholds that its own history sets.

Pure: (weeks, errors, policy) -> assessment.  Hourly demand is seasonal and correlated, so a threshold for independent
rows fires every week.  Here a week is seen as *departures*, log(demand / median of the same hour in the four weeks
before), compared with the departures of half a year, and the distance is held against those that the half year before
it has shown for that series.  docs/drift.md has the measurements.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import math
import statistics
from collections.abc import Mapping, Sequence

from shared.drift import Level
from shared.drift_metrics import METRICS, normalized_wasserstein_distance

HOURS = 168
LOOK_BACK = 4
"""Weeks whose median an hour is compared with."""
_FEWEST = 2
_WEEK = dt.timedelta(days=7)

Hours = Sequence[float | None]
Weeks = Mapping[str, Mapping[dt.date, Hours]]
"""For each series, by the first day of the week, its 168 hours; None where nothing was measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What the detector goes by; lengths are in weeks.

    A series is flagged in a week whose distance is over the `quantile` of those of the `calibration` weeks before.
    `wide` flagged series at once, or one flagged in `violations` of the last `windows` weeks, are reason to retrain.
    An error that is more than `tolerance` times the median of the weeks before confirms it.
    """

    baseline: int = 26
    calibration: int = 26
    quantile: float = 0.99
    wide: int = 2
    windows: int = 3
    violations: int = 2
    tolerance: float = 1.2
    scored: int = 3
    least_hours: int = 84

    def faults(self) -> list[str]:
        """What makes no sense about it, one sentence each."""
        wrong = [
            f"{field.name} must be at least 1"
            for field in dataclasses.fields(self)
            if field.name != "quantile" and getattr(self, field.name) < 1
        ]
        if not 0.5 <= self.quantile <= 1:
            wrong.append("quantile must lie between 0.5 and 1")
        if self.violations > self.windows:
            wrong.append("violations must be at most windows")
        return wrong


@dataclasses.dataclass(frozen=True, slots=True)
class ScoredWeek:
    """How far the served forecasts of a series were off in a week: mean absolute error over mean demand.

    A log that does not tell series apart has one row a week, with `series` empty; it stands for each of them.
    """

    week: dt.date
    model_version: str
    error: float
    series: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A series in the newest week: its distance, its own threshold, and in how many of the last weeks it was over."""

    series: str
    distance: float
    threshold: float
    violations: int
    metrics: Mapping[str, float]

    @property
    def flagged(self) -> bool:
        """Whether the newest week is over the threshold."""
        return self.distance > self.threshold


@dataclasses.dataclass(frozen=True, slots=True)
class Confirmation:
    """What the served forecasts say: worse than usual, as usual, or (None) too few to tell."""

    worse: bool | None
    reason: str
    error: float | None = None
    usual: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Assessment:
    """What was found in the newest week, and why that level."""

    level: Level
    reason: str
    week: dt.date | None
    series: tuple[Seen, ...] = ()
    confirmation: Confirmation | None = None

    @property
    def flagged(self) -> tuple[str, ...]:
        """The series that are over their thresholds."""
        return tuple(seen.series for seen in self.series if seen.flagged)


def assess(weeks: Weeks, errors: Sequence[ScoredWeek], policy: Policy) -> Assessment:
    """The level of the newest week that any series has, with its reason in plain words."""
    newest = max((week for found in weeks.values() for week in found), default=None)
    if newest is None:
        return Assessment(Level.NONE, "there are no weeks to look at", None)
    looked = (look(name, History(weeks[name], policy), newest) for name in sorted(weeks))
    return judge([seen for seen in looked if seen is not None], errors, newest, policy)


def judge(found: Sequence[Seen], errors: Sequence[ScoredWeek], newest: dt.date, policy: Policy) -> Assessment:
    """The level of a week in which these series were seen."""
    if not found:
        needs = policy.baseline + policy.calibration + policy.windows + LOOK_BACK
        return Assessment(Level.NONE, f"too little history: a series needs {needs} weeks to be judged", newest)
    confirmation = confirm(errors, newest, [seen.series for seen in found if seen.flagged], policy)
    level, reason = _level(found, confirmation, policy)
    return Assessment(level, reason, newest, tuple(found), confirmation)


def confirm(errors: Sequence[ScoredWeek], newest: dt.date, flagged: Sequence[str], policy: Policy) -> Confirmation:
    """Whether what was served for the flagged series in the newest week was further off than usual.

    Usual is, for each series, the median of the weeks that were scored before, by whichever model version served.  One
    series that is worse confirms the others.  A log that has not reached `newest`, or is short, tells nothing.
    """
    told = [found for name in flagged if (found := _confirm(errors, newest, name, policy)) is not None]
    if not told:
        return Confirmation(None, f"not confirmed or denied: less than {policy.scored} weeks before it are scored")
    return max(told, key=lambda one: (bool(one.worse), (one.error or 0.0) / (one.usual or math.inf)))


def _confirm(errors: Sequence[ScoredWeek], newest: dt.date, series: str, policy: Policy) -> Confirmation | None:
    own = [one for one in errors if one.series in ("", series)]
    last = [one.error for one in own if one.week == newest]
    before = [one.error for one in own if one.week < newest]
    if not last or len(before) < policy.scored:
        return None
    error, usual = max(last), statistics.median(before)
    times = error / usual if usual else math.inf
    said = f"forecasts of {series} were off by {error:.1%}, {times:.2f} times the usual {usual:.1%}"
    return Confirmation(times > policy.tolerance, said, error, usual)


def departures(weeks: Mapping[dt.date, Hours], week: dt.date) -> list[float]:
    """log(demand / median of the same hour in the four weeks before) of each hour for which both are known."""
    past = [weeks[before] for back in range(1, LOOK_BACK + 1) if (before := week - back * _WEEK) in weeks]
    found = []
    for hour, demand in enumerate(weeks.get(week, ())):
        known = [value for hours in past if (value := hours[hour]) is not None]
        usual = statistics.median(known) if len(known) >= _FEWEST else 0.0
        if demand and usual > 0:
            found.append(math.log(demand / usual))
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile of values, linear between order statistics."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


class History:
    """One series' departures, distances and threshold, each reckoned once."""

    def __init__(self, weeks: Mapping[dt.date, Hours], policy: Policy) -> None:
        self._weeks, self.policy = weeks, policy
        self.departures = functools.cache(self._departures)
        self.distance = functools.cache(self._distance)

    def baseline(self, week: dt.date) -> list[float]:
        """The departures of the `baseline` weeks before a week, in one list."""
        before = (week - back * _WEEK for back in range(1, self.policy.baseline + 1))
        return [value for one in before for value in self.departures(one)]

    def recent(self, newest: dt.date) -> list[float | None]:
        """The distances of the last `windows` weeks, the newest first."""
        return [self.distance(newest - back * _WEEK) for back in range(self.policy.windows)]

    def threshold(self, newest: dt.date) -> float | None:
        """What the `calibration` weeks before the last `windows` set; None while half of them are unknown."""
        first, count = self.policy.windows, self.policy.calibration
        past = [self.distance(newest - back * _WEEK) for back in range(first, first + count)]
        known = [distance for distance in past if distance is not None]
        return quantile(known, self.policy.quantile) if 2 * len(known) > count else None

    def _departures(self, week: dt.date) -> list[float]:
        return departures(self._weeks, week)

    def _distance(self, week: dt.date) -> float | None:
        """How far a week is from its baseline; None where too little is known of either."""
        seen, baseline = self.departures(week), self.baseline(week)
        if len(seen) < self.policy.least_hours or len(baseline) < self.policy.least_hours * self.policy.baseline:
            return None
        return normalized_wasserstein_distance(baseline, seen)


def look(series: str, history: History, newest: dt.date) -> Seen | None:
    """A series in the newest week; None where too little is known to judge it."""
    limit, recent = history.threshold(newest), history.recent(newest)
    if limit is None or recent[0] is None:
        return None
    baseline, seen = history.baseline(newest), history.departures(newest)
    metrics = {name: metric(baseline, seen) for name, metric in METRICS.items()}
    return Seen(series, recent[0], limit, over(recent, limit), metrics)


def over(distances: Sequence[float | None], limit: float) -> int:
    """How many of these distances are over a threshold."""
    return sum(distance is not None and distance > limit for distance in distances)


def _level(found: Sequence[Seen], confirmation: Confirmation, policy: Policy) -> tuple[Level, str]:
    flagged = [seen for seen in found if seen.flagged]
    persistent = [seen for seen in flagged if seen.violations >= policy.violations]
    named = ", ".join(f"{seen.series} ({seen.distance:.2f} over {seen.threshold:.2f})" for seen in flagged)
    if not flagged:
        return Level.NONE, f"all {len(found)} series are within their own thresholds"
    if len(flagged) >= policy.wide:
        what = f"{len(flagged)} of {len(found)} series at once: {named}"
    elif persistent:
        what = f"in {persistent[0].violations} of the last {policy.windows} weeks: {named}"
    else:
        return Level.INCIDENT, f"one series, for the first time: {named}"
    if confirmation.worse is False:
        return Level.INCIDENT, f"{what}; but not confirmed: {confirmation.reason}"
    return Level.RETRAIN, f"{what}; {confirmation.reason}"
