"""The scoring log: what production was asked and what it answered, call by call and by the minute.  Pure.

A deployment sends one JSON message a call to an event hub (docs/scoring-log.md has its fields).  Messages of a
partition come in order of their sequence numbers, some of them again: whatever is kept of them is keyed so that the
second time changes nothing.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STEPS_AN_OCTAVE = 8
"""Latencies are counted in bins whose edges are 2^(1/8) apart, so that a quantile is at most 9 % too high."""

WIDTH, LAST_BIN = 0.05, 80
"""Relative predictions are counted in bins of 0.05 from 0 to 4; bin -1 is all below, bin 80 all above."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")

Bins = Mapping[int, int]
"""A histogram: how many fell into each bin; bins that nothing fell into are left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One message of the hub, as it was received."""

    partition: str
    sequence: int
    offset: str
    enqueued: dt.datetime
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One call of a deployment: how it ended, and its predictions divided by the level of their series.

    The level of a series is its mean over the four weeks before the forecast, which the deployment sends along: so
    predictions of large and small series, and of different mixes of them, can be compared.  Nobody heard the answer of
    a `shadow`.
    """

    endpoint: str
    deployment: str
    at: dt.datetime
    status: int
    latency_ms: float
    predictions: tuple[float, ...] = ()
    broken: int = 0
    shadow: bool = False

    @property
    def minute(self) -> dt.datetime:
        """The minute in which it was answered."""
        return self.at.replace(second=0, microsecond=0)


@dataclasses.dataclass(frozen=True, slots=True)
class Minute:
    """The calls of one deployment that were answered in one minute, in numbers that add up.

    `failures` are answers from 500 on, `refused` those from 400 to 499 (the caller's own fault); both are in `count`.
    Latencies are milliseconds.  Predictions are relative to the level of their series; `broken` are those that are no
    finite numbers, which are in nothing else.
    """

    endpoint: str
    deployment: str
    start: dt.datetime
    count: int = 0
    failures: int = 0
    refused: int = 0
    latency_sum: float = 0.0
    latency_max: float = 0.0
    latency_bins: Bins = dataclasses.field(default_factory=dict)
    predictions: int = 0
    broken: int = 0
    prediction_sum: float = 0.0
    prediction_squares: float = 0.0
    prediction_bins: Bins = dataclasses.field(default_factory=dict)

    def __add__(self, other: Minute) -> Minute:
        """Both together, as one Minute that starts with the earlier; for two of one deployment."""
        same = (self.endpoint, self.deployment, min(self.start, other.start))
        return Minute(
            *same,
            count=self.count + other.count,
            failures=self.failures + other.failures,
            refused=self.refused + other.refused,
            latency_sum=self.latency_sum + other.latency_sum,
            latency_max=max(self.latency_max, other.latency_max),
            latency_bins=_added(self.latency_bins, other.latency_bins),
            predictions=self.predictions + other.predictions,
            broken=self.broken + other.broken,
            prediction_sum=self.prediction_sum + other.prediction_sum,
            prediction_squares=self.prediction_squares + other.prediction_squares,
            prediction_bins=_added(self.prediction_bins, other.prediction_bins),
        )

    @property
    def failure_rate(self) -> float | None:
        """The share of failures among the calls that were not refused; None without such calls."""
        fair = self.count - self.refused
        return self.failures / fair if fair else None

    def latency_quantile(self, share: float) -> float | None:
        """The latency that this share of the calls did not exceed, at most 9 % too high; None without calls."""
        found = quantile(self.latency_bins, share)
        return None if found is None else min(2 ** ((found + 1) / STEPS_AN_OCTAVE), self.latency_max)

    @property
    def prediction_mean(self) -> float | None:
        """The mean relative prediction; None without predictions."""
        return self.prediction_sum / self.predictions if self.predictions else None

    @property
    def prediction_deviation(self) -> float | None:
        """The standard deviation of the relative predictions; None without predictions."""
        if not self.predictions:
            return None
        mean = self.prediction_sum / self.predictions
        return math.sqrt(max(0.0, self.prediction_squares / self.predictions - mean * mean))


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """What one partition of the hub has told of a minute, up to and with the sequence number `upto`."""

    minute: Minute
    upto: int = -1

    def taking(self, calls: Sequence[tuple[int, Call]]) -> Share:
        """With those of `calls`, in order, that came after `upto`: calls that come again change nothing."""
        minute, upto = self.minute, self.upto
        for sequence, call in calls:
            if sequence > upto:
                minute, upto = folded(minute, call), sequence
        return Share(minute, upto)


def by_minute(calls: Sequence[tuple[int, Call]]) -> dict[tuple[str, str, dt.datetime], list[tuple[int, Call]]]:
    """Calls that were served, by endpoint, deployment and minute, in their order; those of a shadow are left out."""
    found: dict[tuple[str, str, dt.datetime], list[tuple[int, Call]]] = {}
    for sequence, call in ((sequence, call) for sequence, call in calls if not call.shadow):
        found.setdefault((call.endpoint, call.deployment, call.minute), []).append((sequence, call))
    return found


def blob_name(hub: str, first: Entry) -> str:
    """Where a batch that begins with `first` is kept: the same batch, received again, has the same name.

    The folders are those that Spark reads as columns `day` and `hour` (of the hub's receipt, in UTC).
    """
    at = first.enqueued.astimezone(dt.UTC)
    return f"{hub}/day={at:%Y-%m-%d}/hour={at:%H}/{first.partition}-{first.offset:0>20}.jsonl"


def blob(entries: Sequence[Entry], rejected: Mapping[int, str]) -> bytes:
    """A batch as lines of JSON, each with its place in the hub; `rejected` says, by sequence number, why one is none.

    A message stands in its line as it was sent; what is no call stands there as base64 with the reason.
    """
    return b"".join(_line(entry, rejected.get(entry.sequence)) for entry in entries)


def total(minutes: Iterable[Minute]) -> Minute | None:
    """All minutes of one deployment as one; None when there are none."""
    found: Minute | None = None
    for minute in minutes:
        found = minute if found is None else found + minute
    return found


def read(body: bytes) -> Call:
    """The call that a message tells of.  Raises ValueError with what is wrong with it."""
    try:
        message = json.loads(body)
    except RecursionError as error:
        raise ValueError("the message is nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("the message is no JSON object")
    try:
        at = dt.datetime.fromisoformat(message["at"])
        status, latency = int(message["status"]), float(message["latency_ms"])
        endpoint, deployment, _ = (_name(message, field) for field in ("endpoint", "deployment", "id"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the message lacks a good {error}") from error
    if at.tzinfo is None or not (math.isfinite(latency) and latency >= 0):
        raise ValueError(f"at {message['at']!r} must have an offset, latency_ms {latency!r} must be at least 0")
    found = list(_relative(message))
    finite = tuple(value for value in found if math.isfinite(value))
    broken, shadow = len(found) - len(finite), message.get("shadow") is True
    return Call(endpoint, deployment, at.astimezone(dt.UTC), status, latency, finite, broken, shadow)


def folded(minute: Minute, call: Call) -> Minute:
    """The minute with one more call."""
    predictions: dict[int, int] = {}
    for value in call.predictions:
        place = min(max(math.floor(value / WIDTH), -1), LAST_BIN)
        predictions[place] = predictions.get(place, 0) + 1
    return minute + Minute(
        minute.endpoint,
        minute.deployment,
        minute.start,
        count=1,
        failures=int(call.status >= 500),
        refused=int(400 <= call.status < 500),
        latency_sum=call.latency_ms,
        latency_max=call.latency_ms,
        latency_bins={math.floor(STEPS_AN_OCTAVE * math.log2(max(call.latency_ms, 2**-6))): 1},
        predictions=len(call.predictions),
        broken=call.broken,
        prediction_sum=math.fsum(call.predictions),
        prediction_squares=math.fsum(value * value for value in call.predictions),
        prediction_bins=predictions,
    )


def _line(entry: Entry, rejected: str | None) -> bytes:
    place: dict[str, Any] = {"partition": entry.partition, "sequence": entry.sequence, "offset": entry.offset}
    place["enqueued"] = entry.enqueued.isoformat()
    if rejected is not None:
        place |= {"rejected": rejected, "body": base64.b64encode(entry.body).decode()}
        return json.dumps(place).encode() + b"\n"
    # A line feed in JSON stands between tokens, never in a string.
    call = entry.body.replace(b"\n", b" ").replace(b"\r", b" ")
    return json.dumps(place).encode()[:-1] + b', "call": ' + call + b"}\n"


def quantile(bins: Bins, share: float) -> int | None:
    """The bin that holds the value at this share of the order; None when nothing was counted."""
    wanted, seen = share * sum(bins.values()), 0
    for place in sorted(bins):
        seen += bins[place]
        if seen >= wanted:
            return place
    return None


def _name(message: Mapping[str, Any], field: str) -> str:
    name = message[field]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{field} is {name!r:.80}: it must be a name of letters, digits, '-', '_', ':' and '.'")
    return name


def _relative(message: Mapping[str, Any]) -> Iterable[float]:
    """Every prediction divided by its series' level; what is no number is not a number."""
    outputs, levels = message.get("outputs") or {}, message.get("levels") or {}
    series = outputs.get("predictions") if isinstance(outputs, Mapping) else None
    for name, values in (series if isinstance(series, Mapping) else {}).items():
        level = _number(levels.get(name, 1.0)) if isinstance(levels, Mapping) else 1.0
        scale = level if math.isfinite(level) and level > 0 else 1.0
        yield from (_number(value) / scale for value in (values if isinstance(values, Sequence) else ()))


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf


def _added(one: Bins, other: Bins) -> Bins:
    return {place: one.get(place, 0) + other.get(place, 0) for place in {*one, *other}}
