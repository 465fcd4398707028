"""The set of a generation, written down once: what a run works on.  Pure.

A manifest names every event of the generation once, with what the route captured and what the guard saw.  It can be
large, so it is a blob of its own, and the request carries its address, hash and count.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.ports import Absorption
from shared.runs import Run, run_id


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as bytes, and what was read or written of it."""

    body: bytes

    @property
    def sha256(self) -> str:
        """64 hexadecimal digits over the bytes."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """The entries, in the order of receipt."""
        entries: list[Mapping[str, Any]] = json.loads(self.body)["events"]
        return entries

    def proceeds(self) -> list[Mapping[str, Any]]:
        """The entries that the guard lets through; all of them where there is no guard."""
        return [entry for entry in self.events if entry.get("guard", {}).get("proceed", True)]


def name(run: Run, partition: str) -> str:
    """Where the manifest of a run is kept, below the container of sets."""
    return f"{run.route}/{partition}/{run.generation:08d}.json"


def build(run: Run, events: Sequence[Absorption], seen: Mapping[str, Mapping[str, Any]]) -> Manifest:
    """The manifest of a run over the events of its generation; `seen` holds the guard's facts by identity.

    `failed` names earlier runs of the lane that failed, whose sets wait to be worked on again and are not in this one.
    """
    entries = []
    for event in events:
        entry: dict[str, Any] = {
            "id": event.id,
            "identity": event.identity,
            "type": event.type,
            "received": event.received.isoformat(),
            "bindings": dict(event.bindings),
            "journal": event.reference,
        }
        if event.identity in seen:
            entry["guard"] = dict(seen[event.identity])
        entries.append(entry)
    failed = [run_id(run.route, run.key, generation) for generation in run.failed]
    named = {"route": run.route, "key": run.key, "generation": run.generation, "run": run.id}
    document = {**named, "failed": failed, "events": entries}
    return Manifest(json.dumps(document, indent=1, sort_keys=True).encode())


def absorption(entry: Mapping[str, Any]) -> Absorption:
    """The event of an entry, as the lane kept it."""
    received = dt.datetime.fromisoformat(entry["received"])
    return Absorption(entry["identity"], entry["id"], entry["type"], entry["bindings"], entry["journal"], received)
