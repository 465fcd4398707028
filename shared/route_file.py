"""What `routes.yaml` says, as routes.  Every fault is reported at once, each naming the file, the route and the key."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import ConfigurationError
from shared.events import SOURCE_TYPES
from shared.filters import Filter
from shared.filters import fault as filter_fault
from shared.lanes import Busy, Flow
from shared.observations import Failure
from shared.requests import ROOTS
from shared.routing import Emits, Route, Routes, SubjectPattern
from shared.runs import Retry
from shared.templates import faults, names

OptionFaults = Callable[[Mapping[str, Any]], list[str]]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1000 * _UNITS["d"]
_MATCHING = ("events", "subject", "where", "key", "guard")
_FLOWING = ("settle", "settle_max", "batch_max", "concurrency", "when_busy", "cooldown", "retry", "timeout")
_ACTING = ("action", "with", "emits")
_KEYS = frozenset((*_MATCHING, *_FLOWING, *_ACTING))
_EVENT_ROOTS = frozenset({"id", "source", "topic", "subject", "type", "eventtype", "data"})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def read(document: Any, file: str, actions: Mapping[str, OptionFaults], guards: frozenset[str]) -> Routes:
    """The routes of a parsed file.  Raises ConfigurationError with every fault in it."""
    table = document.get("routes") if isinstance(document, Mapping) else None
    if not isinstance(table, Mapping) or not table:
        raise ConfigurationError([f"{file}: needs a key `routes` with at least one route below it"])
    reader = _Reader(file, actions, guards)
    routes = tuple(reader.route(str(name), body) for name, body in table.items())
    if reader.faults:
        raise ConfigurationError(reader.faults)
    digest = hashlib.sha256(json.dumps(_textual(document), sort_keys=True).encode()).hexdigest()[:12]
    return Routes(routes, digest)


def duration(text: Any) -> dt.timedelta:
    """`500ms`, `2s`, `5m`, `1h` or `1d`, at most 1000 days.  Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration: a number and ms, s, m, h or d, such as 30s")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is too long a duration: the longest is 1000d")
    return dt.timedelta(seconds=seconds)


def _textual(value: Any) -> Any:
    """The value with text for every key and for what JSON has no word for, so that it has one order."""
    if isinstance(value, Mapping):
        return {str(key): _textual(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_textual(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


@dataclasses.dataclass
class _Reader:
    """Reads one file's routes, gathering faults on the way."""

    file: str
    actions: Mapping[str, OptionFaults]
    guards: frozenset[str]
    faults: list[str] = dataclasses.field(default_factory=list)

    def route(self, name: str, body: Any) -> Route:
        if not _NAME.fullmatch(name):
            self._fault(name, "name", "a route's name is 1 to 40 of a-z, 0-9 and -, beginning with a letter")
        if not isinstance(body, Mapping):
            self._fault(name, "body", "a route is a mapping of keys")
            body = {}
        for key in sorted(set(map(str, body)) - _KEYS):
            self._fault(name, key, f"there is no such key; the keys are {', '.join(sorted(_KEYS))}")
        if body.get("concurrency", 1) != 1 or isinstance(body.get("concurrency"), bool):
            self._fault(name, "concurrency", f"{body['concurrency']!r} is not supported: only 1")
        subject = self._subject(name, body)
        captures = frozenset(subject.regex.groupindex) if subject else frozenset()
        action = str(body.get("action"))
        start, finish = self._timeouts(name, body)
        return Route(
            name=name,
            types=self._types(name, body),
            key=self._key(name, body, captures),
            action=action,
            options=self._options(name, body, action, captures),
            subject=subject,
            where=self._where(name, body),
            flow=self._flow(name, body),
            guard=self._guard(name, body),
            retry=self._retry(name, body),
            timeout=finish,
            start_timeout=start,
            emits=self._emits(name, body),
        )

    def _fault(self, route: str, key: str, what: str) -> None:
        self.faults.append(f"{self.file}: route {route}: {key}: {what}")

    def _types(self, name: str, body: Mapping[str, Any]) -> frozenset[str]:
        types = body.get("events")
        types = [types] if isinstance(types, str) else types
        if not isinstance(types, list) or not types or not all(isinstance(item, str) for item in types):
            self._fault(name, "events", "needs an event type or a list of them")
            return frozenset()
        known = {item.rsplit(".", 1)[1]: item for item in SOURCE_TYPES}
        for item in types:
            if "." not in item:
                hint = f", {known[item]} for one" if item in known else ""
                self._fault(name, "events", f"{item!r} is not a full event type{hint}")
        return frozenset(types)

    def _subject(self, name: str, body: Mapping[str, Any]) -> SubjectPattern | None:
        try:
            return SubjectPattern.compile(str(body["subject"])) if "subject" in body else None
        except (ValueError, re.error) as error:
            self._fault(name, "subject", str(error))
            return None

    def _key(self, name: str, body: Mapping[str, Any], captures: frozenset[str]) -> str:
        key = body.get("key")
        if not isinstance(key, str) or not key:
            self._fault(name, "key", "needs a template over the event, such as {table} or {data.modelName}")
            return ""
        self._placeholders(name, "key", key, captures | _EVENT_ROOTS)
        return key

    def _placeholders(self, name: str, key: str, template: Any, known: frozenset[str]) -> None:
        broken = faults(template)
        for fault in broken:
            self._fault(name, key, fault)
        for placeholder in () if broken else sorted(names(template)):
            if placeholder.split(".")[0].lower() not in known | {item.lower() for item in known}:
                self._fault(name, key, f"{{{placeholder}}} is none of {', '.join(sorted(known))}")

    def _where(self, name: str, body: Mapping[str, Any]) -> tuple[Filter, ...]:
        found, entries = [], body.get("where") or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, Mapping) or not {"key", "operator"} <= set(entry) <= {"key", "operator", "values"}:
                self._fault(name, "where", f"{entry!r}: a filter has key, operator and values")
                continue
            values = entry.get("values", [])
            values = tuple(values) if isinstance(values, list) else (values,)
            wrong = filter_fault(entry["operator"], values)
            if wrong:
                self._fault(name, "where", wrong)
            else:
                found.append(Filter(str(entry["key"]), entry["operator"], values))
        return tuple(found)

    def _options(self, name: str, body: Mapping[str, Any], action: str, captures: frozenset[str]) -> Mapping[str, Any]:
        options = body.get("with") or {}
        if action not in self.actions:
            self._fault(name, "action", f"{action!r} is none of {', '.join(sorted(self.actions))}")
        elif not isinstance(options, Mapping):
            self._fault(name, "with", "the options of an action are a mapping")
        else:
            for fault in self.actions[action](options):
                self._fault(name, "with", fault)
            self._placeholders(name, "with", options, captures | (ROOTS - {"result"}))
            return options
        return {}

    def _duration(self, name: str, key: str, text: Any, *, positive: bool = False) -> dt.timedelta:
        try:
            found = duration(text)
        except ValueError as error:
            self._fault(name, key, str(error))
            return dt.timedelta(0)
        if positive and not found:
            self._fault(name, key, "must be longer than nothing")
        return found

    def _flow(self, name: str, body: Mapping[str, Any]) -> Flow:
        settle = self._duration(name, "settle", body.get("settle", "0s"))
        longest = self._duration(name, "settle_max", body["settle_max"]) if "settle_max" in body else settle * 10
        if longest < settle:
            self._fault(name, "settle_max", f"{longest} is shorter than settle, {settle}: it would never settle")
        for key in ("settle_max", "batch_max"):
            if key in body and not settle:
                self._fault(name, key, "makes no sense without settle: a lane that does not settle starts at once")
        cooldown = self._duration(name, "cooldown", body.get("cooldown", "0s"))
        return Flow(settle, longest, self._batch_max(name, body), cooldown, self._when_busy(name, body))

    def _timeouts(self, name: str, body: Mapping[str, Any]) -> tuple[dt.timedelta, dt.timedelta]:
        """How long a start and an attempt may take; one duration stands for both."""
        given = body.get("timeout", "1h")
        if not isinstance(given, Mapping):
            both = self._duration(name, "timeout", given, positive=True)
            return both, both
        if not set(given) <= {"start", "finish"}:
            self._fault(name, "timeout", "is a duration, or has start and finish")
        start, finish = (
            self._duration(name, "timeout", given.get(part, "1h"), positive=True) for part in ("start", "finish")
        )
        return start, finish

    def _batch_max(self, name: str, body: Mapping[str, Any]) -> int | None:
        most = body.get("batch_max")
        if most is None:
            return None
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            self._fault(name, "batch_max", f"{most!r} is not a whole number of events, at least 1")
            return None
        return most

    def _when_busy(self, name: str, body: Mapping[str, Any]) -> Busy:
        wanted = body.get("when_busy", str(Busy.COLLECT))
        if not isinstance(wanted, str) or wanted not in set(Busy):
            self._fault(name, "when_busy", f"{wanted!r} is none of {', '.join(Busy)}")
            return Busy.COLLECT
        return Busy(wanted)

    def _guard(self, name: str, body: Mapping[str, Any]) -> str | None:
        guard = body.get("guard")
        if guard is not None and (not isinstance(guard, str) or guard not in self.guards):
            self._fault(name, "guard", f"{guard!r} is none of {', '.join(sorted(self.guards))}")
        return guard

    def _retry(self, name: str, body: Mapping[str, Any]) -> Retry:
        retry = body.get("retry") or {}
        if not isinstance(retry, Mapping) or not set(retry) <= {"attempts", "delay", "failures"}:
            self._fault(name, "retry", "has attempts, delay and failures")
            return Retry()
        attempts, failures = retry.get("attempts", 3), retry.get("failures", ["transient"])
        if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= 20:
            self._fault(name, "retry", f"attempts: {attempts!r} is not a whole number from 1 to 20")
            attempts = 1
        classes = {str(item) for item in Failure}
        if not isinstance(failures, list) or not set(map(str, failures)) <= classes:
            self._fault(name, "retry", f"failures: {failures!r} is not a list of {', '.join(sorted(classes))}")
            failures = []
        delay = self._duration(name, "retry", retry.get("delay", "30s"))
        return Retry(attempts, delay, frozenset(Failure(str(item)) for item in failures))

    def _emits(self, name: str, body: Mapping[str, Any]) -> Emits | None:
        emits = body.get("emits")
        if emits is None:
            return None
        if not isinstance(emits, Mapping) or not set(emits) <= {"type", "subject", "data"} or "type" not in emits:
            self._fault(name, "emits", "has type, and may have subject and data")
            return None
        data = emits.get("data") or {}
        if not isinstance(data, Mapping):
            self._fault(name, "emits", "data is a mapping of names to values")
            return None
        self._placeholders(name, "emits", [emits.get("subject", ""), data], ROOTS - {"event"})
        return Emits(str(emits["type"]), str(emits.get("subject", "")), dict(data))
