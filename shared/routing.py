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
from collections.abc import Mapping, Sequence
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
_MOST_REASONS = 5
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_CAPTURE = re.compile(r"\{(?P<name>[A-Za-z_]\w*)(?::(?P<kind>[^{}]*))?\}")


@dataclasses.dataclass(frozen=True, slots=True)
class SubjectPattern:
    """A subject with captures: `{table}` is one path part, `{path:path}` any rest, `{version:20d}` twenty digits.

    Every subject that fits `begins` and `ends` so: most of those that do not fit are known by it.
    """

    text: str
    regex: re.Pattern[str]
    begins: str
    ends: str

    @staticmethod
    def compile(text: str) -> SubjectPattern:
        """Read a pattern.  Raises ValueError for a capture that is not one of the three kinds."""
        out, at, first = "", 0, len(text)
        if re.search(r"[{}]", _CAPTURE.sub("", text)):
            raise ValueError(f"the subject pattern {text!r} has a brace that opens or closes no capture")
        for found in _CAPTURE.finditer(text):
            out += re.escape(text[at : found.start()]) + f"(?P<{found['name']}>{_capture(found['kind'])})"
            at, first = found.end(), min(first, found.start())
        return SubjectPattern(text, re.compile(out + re.escape(text[at:])), text[:first], text[at:])


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
    guard_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    retry: Retry = dataclasses.field(default_factory=Retry)
    timeout: dt.timedelta = dt.timedelta(hours=1)
    start_timeout: dt.timedelta = dt.timedelta(hours=1)
    emits: Emits | None = None


class _Condition:
    """A filter prepared for matching; routes that ask the same share one, so that it is asked once an event."""

    __slots__ = ("key", "refusal", "test")

    def __init__(self, filter_: Filter) -> None:
        self.key, self.test = filter_.key, filter_.test()
        self.refusal = f"{filter_.key} does not satisfy {filter_.operator} {list(filter_.values)}"


class _Rule:
    """A route prepared for matching."""

    __slots__ = ("begins", "conditions", "ends", "key", "keys", "pattern", "regex", "route")

    def __init__(self, route: Route, conditions: Sequence[_Condition]) -> None:
        self.route, self.key, self.keys, self.conditions = route.name, route.key, route.keys, conditions
        subject = route.subject
        self.begins, self.ends = (subject.begins, subject.ends) if subject else ("", "")
        self.pattern = subject.text if subject else ""
        self.regex = subject.regex if subject else None


@dataclasses.dataclass(frozen=True, slots=True)
class Routes:
    """All routes, found by event type; `digest` identifies this set of rules."""

    routes: tuple[Route, ...]
    digest: str
    _listening: Mapping[str, Sequence[_Rule]] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        listening: dict[str, list[_Rule]] = {}
        known: dict[str, _Condition] = {}
        for route in self.routes:
            rule = _Rule(route, [known.setdefault(repr(one), _Condition(one)) for one in route.where])
            for type_ in route.types:
                listening.setdefault(type_, []).append(rule)
        object.__setattr__(self, "_listening", listening)

    def listening(self, type_: str) -> Sequence[_Rule]:
        """The rules of the routes that listen to an event type, in the order of the file."""
        return self._listening.get(type_, ())

    def named(self, name: str) -> Route | None:
        """The route of this name, None when the file no longer has it."""
        return next((route for route in self.routes if route.name == name), None)

    def policy(self, name: str) -> Flow:
        """The flow policy of a route; the simplest where the file no longer has it, so that its lanes are emptied."""
        found = self.named(name)
        return found.flow if found else Flow()


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
    """Every route that wants this event, and the reason in plain words.  At most 32 matches.

    Of the routes that do not want it, five are told: first those whose subject fits, so that something else refused.
    """
    matches: list[Match] = []
    refused: list[tuple[_Rule, str]] = []
    unfit: list[_Rule] = []
    subject, values, accepted = event.subject, dict[str, Any](), dict[_Condition, bool]()
    for rule in routes.listening(event.type):
        if not (subject.startswith(rule.begins) and subject.endswith(rule.ends)):
            unfit.append(rule)
            continue
        fits = rule.regex.fullmatch(subject) if rule.regex else None
        if rule.regex and not fits:
            unfit.append(rule)
            continue
        for condition in rule.conditions:
            if condition not in accepted:
                if condition.key not in values:
                    values[condition.key] = event.value(condition.key)
                accepted[condition] = condition.test(values[condition.key])
            if not accepted[condition]:
                refused.append((rule, condition.refusal))
                break
        else:
            found = _match(event, rule, fits.groupdict() if fits else {})
            if isinstance(found, Match):
                matches.append(found)
            else:
                refused.append((rule, found))
    return Matched(tuple(matches[:MAX_MATCHES]), _reason(event, matches, refused, unfit))


def _reason(
    event: Event, matches: Sequence[Match], refused: Sequence[tuple[_Rule, str]], unfit: Sequence[_Rule]
) -> str:
    if not matches and not refused and not unfit:
        return f"no route listens to {event.type}"
    told = [f"matches {', '.join([found.lane.route for found in matches[:MAX_MATCHES]])}"] if matches else []
    told += [f"{rule.route}: {why}" for rule, why in refused[:_MOST_REASONS]]
    room = max(0, _MOST_REASONS - len(refused))
    told += [f"{rule.route}: the subject does not fit {rule.pattern}" for rule in unfit[:room]]
    untold = len(refused) + len(unfit) - _MOST_REASONS
    if untold > 0:
        told.append(f"{untold} more do not take it")
    if len(matches) > MAX_MATCHES:
        told.append(f"only the first {MAX_MATCHES} of {len(matches)} matching routes take it")
    return "; ".join(told)


def _match(event: Event, rule: _Rule, captured: Mapping[str, str]) -> Match | str:
    """The match of a rule whose subject and conditions fit, or why there is none all the same."""
    try:
        key = render(
            rule.keys.get(event.type, rule.key), lambda name: captured[name] if name in captured else event.value(name)
        )
    except Missing as missing:
        return f"its key needs {missing.name}, which the event lacks"
    key = key if isinstance(key, str) else json.dumps(key, sort_keys=True)
    if not key or len(key) > _MAX_KEY:
        return f"its key is {len(key)} characters long, it must be 1 to {_MAX_KEY}"
    if not key.isascii() and _SURROGATE.search(key):
        return "its key holds a lone surrogate, which is not text"
    if sum(len(value.encode()) for value in captured.values()) > _MAX_BINDINGS:
        return f"the captured values are over {_MAX_BINDINGS} bytes"
    return Match(LaneKey(rule.route, key), captured)
