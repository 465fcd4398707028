"""Which routes want an event: declarative rules, Event Grid's own filter operators, pure matching.

Filters follow Event Grid's documented semantics, so that a route can be pushed down to a subscription: the values of
one filter are alternatives, filters are all required, strings compare in any case, and a missing key matches nothing
except `NumberNotIn`, `StringNotIn` and `IsNullOrUndefined`.
(learn.microsoft.com/azure/event-grid/event-filtering)
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from shared.events import Event
from shared.filters import Filter, Filters
from shared.flow import Flow
from shared.lanes import LaneKey
from shared.runs import Retry
from shared.subject_pattern import SubjectPattern
from shared.templates import Missing, render

MAX_MATCHES = 32
_MAX_KEY = 512
_MAX_BINDINGS = 4096
_MOST_REASONS = 5
_MOST_VERDICTS = 1024
_NOTHING: Mapping[str, str] = {}
_SURROGATE = re.compile("[\\ud800-\\udfff]")


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


class _Rule:
    """A route prepared for matching events of one type: its conditions and its subject pattern have a bit each."""

    __slots__ = ("fits", "key", "needs", "pattern", "refusals", "route")

    def __init__(self, route: Route, type_: str, conditions: Mapping[int, Filter], fits: int) -> None:
        self.route, self.key = route.name, route.keys.get(type_, route.key)
        self.pattern, self.fits, self.needs = route.subject.text if route.subject else "", fits, sum(conditions)
        self.refusals = [
            (bit, f"{one.key} does not satisfy {one.operator} {list(one.values)}") for bit, one in conditions.items()
        ]

    def refusal(self, refused: int) -> str:
        """What the first of its conditions that is not satisfied says."""
        return next(said for bit, said in self.refusals if bit & refused)


class _Listening:
    """The rules that listen to one event type.

    What several of them ask of an event is asked once, and of all events that are refused alike the same is said.
    """

    def __init__(self, type_: str) -> None:
        self._type = type_
        self._rules: list[_Rule] = []
        self._bits: dict[str | SubjectPattern, int] = {}
        self._patterns: dict[int, SubjectPattern] = {}
        self._keys: dict[str, Filters] = {}
        self.verdict = functools.lru_cache(maxsize=_MOST_VERDICTS)(self._verdict)

    def add(self, route: Route) -> None:
        """One more rule, after the others."""
        conditions = {self._condition(one): one for one in route.where}
        fits = self._pattern(route.subject) if route.subject else 0
        self._rules.append(_Rule(route, self._type, conditions, fits))

    def _condition(self, asked: Filter) -> int:
        known = repr(asked)
        if known not in self._bits:
            self._bits[known] = 1 << len(self._bits)
            self._keys.setdefault(asked.key, Filters()).add(asked, self._bits[known])
        return self._bits[known]

    def _pattern(self, asked: SubjectPattern) -> int:
        bit = self._bits.setdefault(asked, 1 << len(self._bits))
        self._patterns[bit] = asked
        return bit

    def ask(self, event: Event) -> tuple[int, Mapping[str, Mapping[str, str]]]:
        """The bits of what an event does not satisfy, and what the patterns that it fits capture of its subject."""
        refused, captures = 0, {"": _NOTHING}
        for key, conditions in self._keys.items():
            refused |= conditions.refused(event.value(key))
        for bit, pattern in self._patterns.items():
            captured = pattern.captured(event.subject)
            if captured is None:
                refused |= bit
            else:
                captures[pattern.text] = captured
        return refused, captures

    def _verdict(self, refused: int) -> tuple[Sequence[_Rule], str]:
        """The rules that want an event which does not satisfy these bits, and the reason."""
        wanting = tuple(rule for rule in self._rules if not refused & (rule.fits | rule.needs))
        return wanting, self.reason(refused, {})

    def reason(self, refused: int, faults: Mapping[str, str]) -> str:
        """Who wants an event and who does not; `faults` says which routes cannot take it although they want it."""
        matching: list[str] = []
        others: list[str] = []
        unfit: list[str] = []
        for rule in self._rules:
            if rule.fits & refused:
                unfit.append(f"{rule.route}: the subject does not fit {rule.pattern}")
            elif rule.needs & refused:
                others.append(f"{rule.route}: {rule.refusal(refused)}")
            elif rule.route in faults:
                others.append(f"{rule.route}: {faults[rule.route]}")
            else:
                matching.append(rule.route)
        told = [f"matches {', '.join(matching[:MAX_MATCHES])}"] if matching else []
        told += (others + unfit)[:_MOST_REASONS]
        untold = len(others) + len(unfit) - _MOST_REASONS
        if untold > 0:
            told.append(f"{untold} more do not take it")
        if len(matching) > MAX_MATCHES:
            told.append(f"only the first {MAX_MATCHES} of {len(matching)} matching routes take it")
        return "; ".join(told)


@dataclasses.dataclass(frozen=True, slots=True)
class Routes:
    """All routes, found by event type; `digest` identifies this set of rules."""

    routes: tuple[Route, ...]
    digest: str
    _listening: Mapping[str, _Listening] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        listening: dict[str, _Listening] = {}
        for route in self.routes:
            for type_ in route.types:
                listening.setdefault(type_, _Listening(type_)).add(route)
        object.__setattr__(self, "_listening", listening)

    def listening(self, type_: str) -> _Listening | None:
        """The rules of the routes that listen to an event type, in the order of the file; None when there is none."""
        return self._listening.get(type_)

    def named(self, name: str) -> Route | None:
        """The route of this name, None when the file no longer has it."""
        return next((route for route in self.routes if route.name == name), None)

    def policy(self, name: str) -> Flow:
        """The flow policy of a route; the simplest where the file no longer has it, so that its lanes are emptied."""
        found = self.named(name)
        return found.flow if found else Flow()


class Match(NamedTuple):
    """A route wants an event: in this lane, with these captured values."""

    lane: LaneKey
    bindings: Mapping[str, str]


class Matched(NamedTuple):
    """The answer for one event: its matches, or why there are none; `fault` when a route could not take it."""

    matches: tuple[Match, ...]
    reason: str


def match(event: Event, routes: Routes) -> Matched:
    """Every route that wants this event, and the reason in plain words.  At most 32 matches.

    Of the routes that do not want it, five are told: first those whose subject fits, so that something else refused.
    """
    listening = routes.listening(event.type)
    if listening is None:
        return Matched((), f"no route listens to {event.type}")
    refused, captures = listening.ask(event)
    wanting, reason = listening.verdict(refused)
    matches: list[Match] = []
    faults: dict[str, str] = {}
    keys: dict[tuple[str, str], str | _Fault] = {}
    for rule in wanting:
        captured, asked = captures[rule.pattern], (rule.pattern, rule.key)
        key = keys.get(asked) or keys.setdefault(asked, _key(rule.key, event, captured))
        if isinstance(key, _Fault):
            faults[rule.route] = key.reason
        else:
            matches.append(Match(LaneKey(rule.route, key), captured))
    return Matched(tuple(matches[:MAX_MATCHES]), listening.reason(refused, faults) if faults else reason)


@dataclasses.dataclass(frozen=True, slots=True)
class _Fault:
    """Why an event has no key, or none that a lane can have."""

    reason: str


def _key(template: str, event: Event, captured: Mapping[str, str]) -> str | _Fault:
    """The key of the lane of an event whose subject and conditions fit."""
    try:
        key = render(template, lambda name: captured[name] if name in captured else event.value(name))
    except Missing as missing:
        return _Fault(f"its key needs {missing.name}, which the event lacks")
    key = key if isinstance(key, str) else json.dumps(key, sort_keys=True)
    if not key or len(key) > _MAX_KEY:
        return _Fault(f"its key is {len(key)} characters long, it must be 1 to {_MAX_KEY}")
    if not key.isascii() and _SURROGATE.search(key):
        return _Fault("its key holds a lone surrogate, which is not text")
    if sum(len(value.encode()) for value in captured.values()) > _MAX_BINDINGS:
        return _Fault(f"the captured values are over {_MAX_BINDINGS} bytes")
    return str(key)
