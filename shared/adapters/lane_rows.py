"""The rows of the table `lanes`: how lanes, pages and runs become entities and back.

A table property holds at most 32 K characters, so long JSON is cut over numbered properties.  A field that came later
is read with its default where it is missing, one that is not known is passed over: during a deployment two versions
read each other's rows.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.lanes import Lane, LaneKey
from shared.observations import Remote
from shared.phases import Decision, Ending, EndingKind, Phase
from shared.ports import Absorption
from shared.runs import Run

Entity = dict[str, Any]

LANE = "s"
_PIECE = 30_000
_NUMBERS = ("slots", "queued", "pending", "carried", "failed")


def open_row(generation: int) -> str:
    """Row key of the fence of an open generation."""
    return f"o~{generation:010d}"


def page_row(generation: int, at: dt.datetime, writer: str) -> str:
    """Row key of a page; pages of a generation sort by the time they were written."""
    return f"p~{generation:010d}~{int(at.timestamp() * 1000):015d}~{writer}"


def seen_row(identity: str) -> str:
    """Row key of an event's dedupe row."""
    return f"d~{identity}"


def run_row(generation: int) -> str:
    """Row key of the run of a generation."""
    return f"r~{generation:010d}"


def between(prefix: str) -> tuple[str, str]:
    """The half-open range of row keys that begin with `prefix` (`~` is the last printable character)."""
    return prefix, prefix + "~~"


def lane_entity(lane: Lane) -> Entity:
    """The lane's own row."""
    numbers = {name: json.dumps(getattr(lane, name)) for name in _NUMBERS}
    return {
        "PartitionKey": lane.name.partition,
        "RowKey": LANE,
        "route": lane.route,
        "key": lane.key,
        "generation": lane.generation,
        "ring_no": lane.ring_no,
        "wake_at": lane.wake_at.isoformat() if lane.wake_at else "",
        "last_end": lane.last_end.isoformat() if lane.last_end else "",
        "have": json.dumps(sorted(lane.have)),
        "fired": lane.fired or 0,
        "superseded": lane.superseded,
        "asked": lane.asked,
        "slot": lane.slots[0] if lane.slots else 0,  # what version 0.1.0 reads
    } | numbers


def lane_of(entity: Mapping[str, Any]) -> Lane:
    """The lane of its row."""
    numbers = {name: tuple(json.loads(entity.get(name) or "[]")) for name in _NUMBERS}
    if "slots" not in entity and entity.get("slot"):
        numbers["slots"] = (entity["slot"],)
    return Lane(
        route=entity["route"],
        key=entity["key"],
        generation=entity["generation"],
        ring_no=entity["ring_no"],
        wake_at=time_of(entity["wake_at"]),
        last_end=time_of(entity.get("last_end")),
        have=frozenset(json.loads(entity.get("have") or "[]")),
        fired=entity.get("fired") or None,
        superseded=entity.get("superseded", 0),
        asked=str(entity.get("asked") or ""),
        **numbers,
    )


def page_entity(lane: LaneKey, row: str, events: Sequence[Absorption], first_at: dt.datetime) -> Entity:
    """A page of absorbed events."""
    entries = [
        [event.identity, event.id, event.type, dict(event.bindings), event.reference, event.received.isoformat()]
        for event in events
    ]
    types = json.dumps(sorted({event.type for event in events}))
    facts = {"first_at": first_at.isoformat(), "count": len(events), "types": types}
    return {"PartitionKey": lane.partition, "RowKey": row} | facts | cut(json.dumps(entries))


def events_of(entity: Mapping[str, Any]) -> list[Absorption]:
    """The events of a page."""
    return [
        Absorption(identity, id_, type_, bindings, reference, dt.datetime.fromisoformat(received))
        for identity, id_, type_, bindings, reference, received in json.loads(joined(entity))
    ]


def run_entity(run: Run) -> Entity:
    """The row of a run: what a query may ask for, and the whole as JSON."""
    document = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    document["remote"] = [run.remote.id, run.remote.url] if run.remote else None
    document["ending"] = [run.ending.kind, run.ending.reason] if run.ending else None
    document["decisions"] = [[made.verdict, made.by, made.at, made.note] for made in run.decisions]
    columns = {"route": run.route, "key": run.key, "generation": run.generation, "phase": str(run.phase)}
    row = {"PartitionKey": LaneKey(run.route, run.key).partition, "RowKey": run_row(run.generation)}
    return row | columns | cut(json.dumps(document, default=_text))


def run_of(entity: Mapping[str, Any]) -> Run:
    """The run of its row."""
    known = {field.name for field in dataclasses.fields(Run)}
    document = {name: value for name, value in json.loads(joined(entity)).items() if name in known}
    for name in ("created_at", "next_at", "phase_at", "started_at", "ended_at", "leased_until"):
        document[name] = time_of(document[name])
    remote = document.pop("remote")
    ending = document.pop("ending", None)
    lists = {name: tuple(document.get(name, ())) for name in ("history", "carries", "failed")}
    made = document.pop("decisions", ())
    return Run(
        **{**document, "phase": Phase(document["phase"])} | lists,
        decisions=tuple(Decision(verdict, by, dt.datetime.fromisoformat(at), note) for verdict, by, at, note in made),
        remote=Remote(*remote) if remote else None,
        ending=Ending(EndingKind(ending[0]), ending[1]) if ending else None,
    )


def _text(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not belong in a run's row")


def time_of(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None


def cut(text: str) -> Entity:
    return {f"json{number:02d}": text[at : at + _PIECE] for number, at in enumerate(range(0, len(text), _PIECE))}


def joined(entity: Mapping[str, Any]) -> str:
    return "".join(str(entity[name]) for name in sorted(entity) if name.startswith("json"))
