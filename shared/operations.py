"""What operators can ask and do; the `sluice` command and the HTTP functions are two faces of it.

Every answer is plain data that can be printed as JSON.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import NotFound
from shared.intake import IntakeLoop, Outcome
from shared.lanes import LaneKey
from shared.ports import JSON, Clock, Journal, Lanes, Telemetry
from shared.requests import own_event_id
from shared.routing import Routes
from shared.runs import Run


@dataclasses.dataclass(frozen=True)
class Delivery:
    """One delivery as the journal has it, with the outcome that follows from the lanes."""

    reference: str
    record: JSON
    outcome: Outcome
    reason: str

    def row(self) -> dict[str, Any]:
        """The delivery as plain data, without the payload."""
        record = self.record
        return {
            "received": record["received"],
            "id": record.get("id"),
            "type": record.get("type"),
            "subject": record.get("subject"),
            "outcome": str(self.outcome),
            "reason": self.reason,
            "origin": record["origin"],
            "reference": self.reference,
        }


class Operations:
    """Reads the journal and the lanes; puts events through again."""

    def __init__(
        self, *, routes: Routes, journal: Journal, lanes: Lanes, intake: IntakeLoop, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._routes, self._journal, self._lanes, self._intake = routes, journal, lanes, intake
        self._telemetry, self._clock = telemetry, clock

    def health(self) -> JSON:
        """Whether the store answers, and which rules are in force."""
        names = [route.name for route in self._routes.routes]
        return {"status": "ok", "store": self._lanes.store_id, "rules": self._routes.digest, "routes": names}

    def events(self, outcome: str | None = None, limit: str | int = 50) -> list[JSON]:
        """The newest deliveries.  Raises ValueError for an outcome or limit that is none."""
        wanted = Outcome(outcome) if outcome else None
        most = int(limit)
        rows: list[JSON] = []
        for delivery in self._deliveries():
            if wanted is None or delivery.outcome is wanted:
                rows.append(delivery.row())
            if len(rows) >= most:
                break
        return sorted(rows, key=lambda row: str(row["received"]), reverse=True)

    def counts(self) -> dict[str, int]:
        """How many deliveries the journal holds, and how they ended."""
        found = {"deliveries": 0} | {str(outcome): 0 for outcome in Outcome}
        for delivery in self._deliveries():
            found["deliveries"] += 1
            found[str(delivery.outcome)] += 1
        return found

    def runs(self) -> list[JSON]:
        """Every run, the newest first."""
        found = sorted(self._lanes.all_runs(), key=lambda run: run.created_at, reverse=True)
        return [_run_row(run) for run in found]

    def lanes(self) -> list[JSON]:
        """Every lane, by route and key, with what its open generation holds."""
        rows = []
        for lane in sorted(self._lanes.all_lanes(), key=lambda lane: (lane.route, lane.key)):
            held = self._lanes.collected(lane.name, lane.generation)
            collecting = len(self._lanes.events(lane.name, lane.generation)) if held else 0
            row = {"route": lane.route, "key": lane.key, "generation": lane.generation, "collecting": collecting}
            busy = {"running": lane.slot, "waits_until": lane.wake_at.isoformat() if lane.wake_at and held else None}
            rows.append(row | busy)
        return rows

    def explain(self, event_id: str) -> JSON:
        """From an event to all that came of it, and back to what it came from.  Raises NotFound."""
        deliveries = [delivery for delivery in self._deliveries() if delivery.record.get("id") == event_id]
        if not deliveries:
            raise NotFound(f"the journal has no event with id {event_id!r}")
        tellers = {own_event_id(run, self._lanes.store_id): run for run in self._lanes.all_runs()}
        deliveries.reverse()
        return {
            "event": event_id,
            "deliveries": [delivery.row() for delivery in deliveries],
            "because": self._causes(event_id, tellers, set()),
            "led_to": self._effects(deliveries[0].record, set()),
        }

    def replay(self, event_id: str) -> JSON:
        """Put a journalled event through again under today's routes; what it has already started is joined.

        Raises NotFound; Unavailable when the store could not take it.
        """
        found = next((delivery for delivery in self._deliveries() if delivery.record.get("id") == event_id), None)
        if found is None:
            raise NotFound(f"the journal has no event with id {event_id!r}")
        self._note("replay", {"event": event_id, "reference": found.reference})
        receipts = self._intake.submit("replay", [str(found.record["raw"])]).result()
        return {
            "event": event_id,
            "receipts": [
                {"outcome": str(item.outcome), "reason": item.reason, "reference": item.reference} for item in receipts
            ],
            "led_to": self._effects(found.record, set()),
        }

    def note_poison(self, queue: str, body: bytes) -> None:
        """Journal a message that the host gave up on; the sweep rings what it was about again."""
        text = body.decode(errors="replace")
        self._note("poison", {"queue": queue, "body": text})
        self._telemetry.event("poison message", "", {"queue": queue, "body": text})

    def _note(self, kind: str, facts: JSON) -> None:
        self._intake.append(self._journal, {"kind": kind, "received": self._clock.now().isoformat(), **facts})

    def _deliveries(self) -> Iterator[Delivery]:
        for reference, record in self._journal.scan():
            if record["kind"] == "delivery":
                yield self._delivery(reference, record)

    def _delivery(self, reference: str, record: JSON) -> Delivery:
        if "rejected" in record:
            return Delivery(reference, record, Outcome.REJECTED, str(record["rejected"]))
        if not record["matches"]:
            return Delivery(reference, record, Outcome.IGNORED, str(record["reason"]))
        reasons, routed = [], False
        for found in record["matches"]:
            absorbed = self._lanes.absorbed_as(LaneKey(found["route"], found["key"]), record["identity"])
            if absorbed is None:
                reasons.append(f"{found['route']}: not absorbed, so it was never acknowledged")
            elif absorbed[1] == reference:
                routed = True
                reasons.append(f"{found['route']}: lane {found['key']}, generation {absorbed[0]}")
            else:
                reasons.append(f"{found['route']}: duplicate of {absorbed[1]}")
        return Delivery(reference, record, Outcome.ROUTED if routed else Outcome.DUPLICATE, "; ".join(reasons))

    def _effects(self, record: JSON, told: set[str]) -> list[JSON]:
        """The runs that an event led to, each with what its own event led to."""
        effects = []
        for found in record.get("matches", ()):
            lane = LaneKey(found["route"], found["key"])
            absorbed = self._lanes.absorbed_as(lane, record["identity"])
            row = self._lanes.run(lane, absorbed[0]) if absorbed else None
            if absorbed is None or row is None:
                state = "collecting" if absorbed else "not absorbed"
                effects.append({"route": lane.route, "key": lane.key, "phase": state})
            elif row[0].id not in told:
                told.add(row[0].id)
                effects.append(self._told(row[0], told))
        return effects

    def _told(self, run: Run, told: set[str]) -> JSON:
        return {**_run_row(run), "history": list(run.history), "led_to": self._next(run, told)}

    def _next(self, run: Run, told: set[str]) -> list[JSON]:
        """What followed a run: what its own event led to, and the runs of its chain that an outside event began."""
        own = own_event_id(run, self._lanes.store_id)
        record = next((item.record for item in self._deliveries() if item.record.get("id") == own), None)
        effects = self._effects(record, told) if record else []
        for other in sorted(self._lanes.all_runs(), key=lambda other: other.created_at):
            linked = other.correlation == run.correlation and other.created_at >= run.created_at
            if linked and other.id not in told and other.result.get("azureml_job") == run.result.get("azureml_job", ""):
                told.add(other.id)
                effects.append(self._told(other, told))
        return effects

    def _causes(self, event_id: str, tellers: Mapping[str, Run], seen: set[str]) -> list[JSON]:
        """The run that raised this event and the events of its set, back to where the chain began."""
        run = tellers.get(event_id)
        if run is None or run.id in seen:
            return []
        seen.add(run.id)
        lane = LaneKey(run.route, run.key)
        events = self._lanes.events(lane, run.generation)
        return [
            {
                **_run_row(run),
                "events": [
                    {"id": event.id, "type": event.type, "because": self._causes(event.id, tellers, seen)}
                    for event in events
                ],
            }
        ]


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "route": run.route,
        "key": run.key,
        "generation": run.generation,
        "attempt": run.attempt,
        "phase": str(run.phase),
        "reason": run.reason,
        "created": _time(run.created_at),
        "ended": _time(run.ended_at),
        "remote": {"id": run.remote.id, "url": run.remote.url} if run.remote else None,
        "correlation": run.correlation,
        "result": json.loads(json.dumps(run.result, default=str)),
    }


def _time(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at else None
