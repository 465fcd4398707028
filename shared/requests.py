"""What a run asks of its backend, and the event that it raises when it ends.  Pure.

Placeholders in a route's options and in its `emits` may name: `key`, `run.id`, `run.correlation`, `run.generation`,
`manifest.url`, `manifest.sha256`, `manifest.count`, `settings.<name>`, `event.<path>` (the newest event of the set that
the guard let through), `guard.<name>` (what the guard saw of it), `set.<Type>.<path>` (the newest of that type in the
set, by the last part of the type's name), whatever the subject pattern captured, and, once the run has ended,
`result.<name>`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from shared import runs
from shared.events import Event, lookup
from shared.phases import EndingKind, Phase
from shared.routing import Route
from shared.runs import Run
from shared.templates import Missing, render

JSON = Mapping[str, Any]

JOIN_MISSED = "Sluice.JoinMissed"
"""Raised when what a lane waits for has not come in time."""

ROOTS = frozenset({"key", "run", "manifest", "settings", "event", "guard", "set", "result"})
"""The first parts of placeholders that are known without looking at the route's subject pattern."""


@dataclasses.dataclass(frozen=True, slots=True)
class Newest:
    """The newest event of a set, what was captured and seen of it, and how to find the newest of a type."""

    event: Event | None
    bindings: JSON
    of_type: Callable[[str], Event | None]
    guard: JSON = dataclasses.field(default_factory=dict)


def correlation(event: Event | None, identity: str) -> str:
    """The id of the whole chain: carried by our own events, else the identity of the event that began it."""
    carried = event.value("data.correlation") if event else None
    return carried if isinstance(carried, str) and carried else identity


def freeze(run: Run, route: Route, manifest: JSON, newest: Newest, chain: str, settings: JSON) -> JSON:
    """What every attempt of the run sends, but for its token.  Raises Missing for an option without a value."""
    known = {
        "key": run.key,
        "run": {"id": run.id, "generation": run.generation, "correlation": chain},
        "manifest": manifest,
        "settings": settings,
        "guard": newest.guard,
    }

    def find(name: str) -> Any:
        head, _, rest = name.partition(".")
        if head == "event":
            return newest.event.value(rest) if newest.event else None
        if head == "set":
            type_, _, path = rest.partition(".")
            found = newest.of_type(type_)
            return found.value(path) if found else None
        return newest.bindings.get(name) if name in newest.bindings else lookup(known, name)

    options = render(route.options, find)
    named = {"action": route.action, "run": run.id, "manifest": manifest, "correlation": chain, "options": options}
    return named | ({"guard": newest.guard} if newest.guard else {})


def numbered(frozen: JSON, store_id: str, run: Run, attempt: int) -> JSON:
    """The request of one attempt: the frozen part with the attempt's own token."""
    token = runs.token(store_id, run.route, run.key, run.generation, attempt)
    return {**frozen, "attempt": attempt, "token": token}


def own_event_id(run: Run, store_id: str) -> str:
    """The id of the event that a run raises when it ends; derived from the run, so telling twice is telling once."""
    return own_event_ids(run, store_id)[-1]


def own_event_ids(run: Run, store_id: str) -> list[str]:
    """The ids of all its ends: a run that was worked on again ends again."""
    first = f"{run.id}-{store_id[:8]}"
    return [first, *(f"{first}-{end}" for end in range(2, run.ends + 1))]


def asked(run: Run) -> JSON:
    """The frozen request with what has happened since: people's `decisions`, and the `ending` where it is to end."""
    request = {**(run.request or {}), "decisions": [dataclasses.asdict(made) for made in run.decisions]}
    ending = {} if run.ending is None else {"ending": {"kind": str(run.ending.kind), "reason": run.ending.reason}}
    return request | ending


def own_event(run: Run, route: Route, store_id: str, settings: JSON) -> dict[str, Any]:
    """The event of a run that has ended: what the route `emits` on success, else `Sluice.Run<Phase>`."""
    known = {
        "key": run.key,
        "run": {"id": run.id, "generation": run.generation, "correlation": run.correlation},
        "manifest": run.manifest or {},
        "settings": settings,
        "guard": run.result.get("guard", {}),
        "result": run.result,
    }
    facts = {"run": run.id, "route": run.route, "key": run.key, "correlation": run.correlation, "reason": run.reason}
    missed = run.ending is not None and run.ending.kind is EndingKind.MISSED
    type_ = JOIN_MISSED if missed else f"Sluice.Run{run.phase.capitalize()}"
    subject, data = f"runs/{run.id}", dict(run.result)
    if route.emits and run.phase is Phase.SUCCEEDED:
        try:
            wanted = render(
                {"subject": route.emits.subject, "data": route.emits.data}, lambda name: lookup(known, name)
            )
            type_, subject, data = route.emits.type, wanted["subject"] or subject, wanted["data"]
        except Missing as missing:
            facts["fault"] = f"{route.emits.type} was not raised: it needs {missing.name}, which has no value"
    at = (run.ended_at or run.created_at).isoformat()
    return envelope(own_event_id(run, store_id), store_id, type_, subject, at, data | facts)


def envelope(id_: str, store_id: str, type_: str, subject: str, at: str, data: JSON) -> dict[str, Any]:
    """An event of our own, in Event Grid's schema."""
    return {
        "id": id_,
        "topic": f"/sluice/{store_id}",
        "subject": subject,
        "eventType": type_,
        "eventTime": at,
        "dataVersion": "1",
        "data": data,
    }
