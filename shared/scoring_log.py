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

from shared import tallies
from shared.tallies import Tally

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


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
class Minute(Tally):
    """The calls of one deployment that were answered in one minute."""

    endpoint: str
    deployment: str
    start: dt.datetime

    def __add__(self, other: Tally) -> Minute:
        """With more calls of the deployment, as one Minute that starts with the earlier."""
        start = min(self.start, other.start) if isinstance(other, Minute) else self.start
        return Minute(self.endpoint, self.deployment, start, **self.with_numbers_of(other))


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
    outputs = message.get("outputs") or {}
    series = outputs.get("predictions") if isinstance(outputs, Mapping) else None
    finite, broken = tallies.finite(tallies.relative(series, message.get("levels")))
    shadow = message.get("shadow") is True
    return Call(endpoint, deployment, at.astimezone(dt.UTC), status, latency, finite, broken, shadow)


def folded(minute: Minute, call: Call) -> Minute:
    """The minute with one more call."""
    return minute + tallies.one(call.status, call.latency_ms, call.predictions, call.broken)


def _line(entry: Entry, rejected: str | None) -> bytes:
    place: dict[str, Any] = {"partition": entry.partition, "sequence": entry.sequence, "offset": entry.offset}
    place["enqueued"] = entry.enqueued.isoformat()
    if rejected is not None:
        place |= {"rejected": rejected, "body": base64.b64encode(entry.body).decode()}
        return json.dumps(place).encode() + b"\n"
    # A line feed in JSON stands between tokens, never in a string.
    call = entry.body.replace(b"\n", b" ").replace(b"\r", b" ")
    return json.dumps(place).encode()[:-1] + b', "call": ' + call + b"}\n"


def _name(message: Mapping[str, Any], field: str) -> str:
    name = message[field]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{field} is {name!r:.80}: it must be a name of letters, digits, '-', '_', ':' and '.'")
    return name
