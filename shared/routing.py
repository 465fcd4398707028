"""Which routes want an event: declarative rules, Event Grid's own filter operators, pure matching.

Filters follow Event Grid's documented semantics, so that a route can be pushed down to a subscription: the values of
one filter are alternatives, filters are all required, strings compare in any case, and a missing key matches nothing
except `NumberNotIn`, `StringNotIn` and `IsNullOrUndefined`.
(learn.microsoft.com/azure/event-grid/event-filtering)
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

from shared.events import Event
from shared.filters import Filter
from shared.flow import Flow
from shared.lanes import LaneKey
from shared.runs import Retry
from shared.templates import Missing, render

MAX_MATCHES = 32
_MAX_KEY = 512
_MAX_BINDINGS = 4096
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_CAPTURE = re.compile(r"\{(?P<name>[A-Za-z_]\w*)(?::(?P<kind>[^{}]*))?\}")


@dataclasses.dataclass(frozen=True, slots=True)
class SubjectPattern:
    """A subject with captures: `{table}` is one path part, `{path:path}` any rest, `{version:20d}` twenty digits."""

    text: str
    regex: re.Pattern[str]

    @staticmethod
    def compile(text: str) -> SubjectPattern:
        """Read a pattern.  Raises ValueError for a capture that is not one of the three kinds."""
        out, at = "", 0
        if re.search(r"[{}]", _CAPTURE.sub("", text)):
            raise ValueError(f"the subject pattern {text!r} has a brace that opens or closes no capture")
        for found in _CAPTURE.finditer(text):
            out += re.escape(text[at : found.start()]) + f"(?P<{found['name']}>{_capture(found['kind'])})"
            at = found.end()
        return SubjectPattern(text, re.compile(out + re.escape(text[at:])))


def _capture(kind: str | None) -> str:
    if kind is None:
        return "[^/]+"
    if kind == "path":
        return ".+"
    digits = re.fullmatch(r"(\d+)d", kind)
    if digits:
        return f"[0-9]{{{digits[1]}}}"
    raise ValueError(f"a capture is {{name}}, {{name:path}} or {{name:<n>d}}, not {{…:{kind}}}")


@dataclasses.dataclass(frozen=True, slots=True)
class Emits:
    """The event that a run of this route raises when it succeeds; subject and data may hold placeholders."""

    type: str
    subject: str = ""
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """A declarative rule: which events, which key, which flow policy, which action.

    `keys` are the templates of event types that have their own.  At most `limit` runs work at a time over all lanes.
    With `approval` a person must approve each run within that time.
    """

    name: str
    types: frozenset[str]
    key: str
    action: str
    options: Mapping[str, Any]
    subject: SubjectPattern | None = None
    where: tuple[Filter, ...] = ()
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    flow: Flow = dataclasses.field(default_factory=Flow)
    limit: int | None = None
    approval: dt.timedelta | None = None
    guard: str | None = None
    retry: Retry = dataclasses.field(default_factory=Retry)
    timeout: dt.timedelta = dt.timedelta(hours=1)
    start_timeout: dt.timedelta = dt.timedelta(hours=1)
    emits: Emits | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Routes:
    """All routes, found by event type; `digest` identifies this set of rules."""

    routes: tuple[Route, ...]
    digest: str

    def named(self, name: str) -> Route | None:
        """The route of this name, None when the file no longer has it."""
        return next((route for route in self.routes if route.name == name), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A route wants an event: in this lane, with these captured values."""

    lane: LaneKey
    bindings: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Matched:
    """The answer for one event: its matches, or why there are none; `fault` when a route could not take it."""

    matches: tuple[Match, ...]
    reason: str


def match(event: Event, routes: Routes) -> Matched:
    """Every route that wants this event, and the reason in plain words.  At most 32 matches."""
    listening = [route for route in routes.routes if event.type in route.types]
    if not listening:
        return Matched((), f"no route listens to {event.type}")
    matches, reasons = [], []
    for route in listening:
        found = _match(event, route)
        if isinstance(found, Match):
            matches.append(found)
        else:
            reasons.append(f"{route.name}: {found}")
    if len(matches) > MAX_MATCHES:
        reasons.append(f"only the first {MAX_MATCHES} of {len(matches)} matching routes take it")
    names = ", ".join(found.lane.route for found in matches[:MAX_MATCHES])
    return Matched(tuple(matches[:MAX_MATCHES]), "; ".join([f"matches {names}"] * bool(names) + reasons))


def _match(event: Event, route: Route) -> Match | str:
    captured: dict[str, str] = {}
    if route.subject:
        fits = route.subject.regex.fullmatch(event.subject)
        if not fits:
            return f"the subject does not fit {route.subject.text}"
        captured = fits.groupdict()
    for filter_ in route.where:
        if not filter_.accepts(event.value(filter_.key)):
            return f"{filter_.key} does not satisfy {filter_.operator} {list(filter_.values)}"
    try:
        key = render(route.keys.get(event.type, route.key), lambda name: captured.get(name, event.value(name)))
    except Missing as missing:
        return f"its key needs {missing.name}, which the event lacks"
    key = key if isinstance(key, str) else json.dumps(key, sort_keys=True)
    if not key or len(key) > _MAX_KEY:
        return f"its key is {len(key)} characters long, it must be 1 to {_MAX_KEY}"
    if _SURROGATE.search(key):
        return "its key holds a lone surrogate, which is not text"
    if sum(len(value.encode()) for value in captured.values()) > _MAX_BINDINGS:
        return f"the captured values are over {_MAX_BINDINGS} bytes"
    return Match(LaneKey(route.name, key), captured)
