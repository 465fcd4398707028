"""What `routes.yaml` says, as routes.  Every fault is reported at once, each naming the file, the route and the key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import ConfigurationError
from shared.events import SOURCE_TYPES
from shared.filters import Filter
from shared.filters import fault as filter_fault
from shared.flow_file import FLOW_KEYS, FlowReader
from shared.requests import ROOTS
from shared.routing import Emits, Route, Routes
from shared.subject_pattern import SubjectPattern
from shared.templates import faults, names

OptionFaults = Callable[[Mapping[str, Any]], list[str]]

_MATCHING = ("events", "subject", "where", "key", "guard")
_ACTING = ("action", "with", "emits")
_KEYS = frozenset((*_MATCHING, *FLOW_KEYS, *_ACTING))
_EVENT_ROOTS = frozenset({"id", "source", "topic", "subject", "type", "eventtype", "data"})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def read(document: Any, file: str, actions: Mapping[str, OptionFaults], guards: Mapping[str, OptionFaults]) -> Routes:
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
    guards: Mapping[str, OptionFaults]
    faults: list[str] = dataclasses.field(default_factory=list)

    def route(self, name: str, body: Any) -> Route:
        if not _NAME.fullmatch(name):
            self._fault(name, "name", "a route's name is 1 to 40 of a-z, 0-9 and -, beginning with a letter")
        if not isinstance(body, Mapping):
            self._fault(name, "body", "a route is a mapping of keys")
            body = {}
        for key in sorted(set(map(str, body)) - _KEYS):
            self._fault(name, key, f"there is no such key; the keys are {', '.join(sorted(_KEYS))}")
        subject = self._subject(name, body)
        captures = frozenset(subject.regex.groupindex) if subject else frozenset()
        action, types = str(body.get("action")), self._types(name, body)
        policy = FlowReader(body, lambda key, what: self._fault(name, key, what)).policy(types, action)
        key, keys = self._keys(name, body, types, captures)
        guard, guard_options = self._guard(name, body)
        return Route(
            name=name,
            types=types,
            key=key,
            keys=keys,
            action=action,
            options=self._options(name, body, action, captures),
            subject=subject,
            where=self._where(name, body),
            flow=policy.flow,
            limit=policy.limit,
            approval=policy.approval,
            guard=guard,
            guard_options=guard_options,
            retry=policy.retry,
            timeout=policy.timeout,
            start_timeout=policy.start_timeout,
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

    def _keys(
        self, name: str, body: Mapping[str, Any], types: frozenset[str], captures: frozenset[str]
    ) -> tuple[str, Mapping[str, str]]:
        """One template for all events, or one for each type."""
        key = body.get("key")
        if isinstance(key, Mapping):
            keys = {str(type_): str(template) for type_, template in key.items()}
            if set(keys) != types:
                self._fault(name, "key", "as a mapping it names a template for each type in events, and no other")
        else:
            keys = {"": key if isinstance(key, str) else ""}
        for template in keys.values():
            if not template:
                self._fault(name, "key", "needs a template over the event, such as {table} or {data.modelName}")
            self._placeholders(name, "key", template, captures | _EVENT_ROOTS)
        return keys.pop("", ""), keys

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

    def _guard(self, name: str, body: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        """A guard by its name, or as a mapping of its name to its options."""
        given = body.get("guard")
        if given is None:
            return None, {}
        guard, options = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else (given, {})
        if not isinstance(guard, str) or guard not in self.guards:
            self._fault(name, "guard", f"{guard!r} is none of {', '.join(sorted(self.guards))}")
            return None, {}
        if not isinstance(options, Mapping):
            self._fault(name, "guard", f"the options of {guard} are a mapping")
            return guard, {}
        for fault in self.guards[guard](options):
            self._fault(name, "guard", fault)
        self._placeholders(name, "guard", options, frozenset({"key", "settings"}))
        return guard, options

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
