"""Why something happened: from an event to all that came of it, and back to where the chain began.  Pure over reads.

Forward, an event led to the runs that absorbed it, and each run to what its own event led to.  A chain that leaves
Sluice (an Azure ML job pushes an image) is followed by its correlation id.  Each step is a few point reads.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from shared import deliveries
from shared.history import History
from shared.lanes import LaneKey
from shared.ports import JSON, Lanes
from shared.requests import own_event_id, own_event_ids
from shared.runs import Run


class Explanation:
    """One look at the store."""

    def __init__(self, history: History, lanes: Lanes) -> None:
        self._history, self._lanes = history, lanes

    def effects(self, event_id: str) -> list[JSON]:
        """The runs that an event led to, each with what followed from it."""
        return self._effects(event_id, set())

    def causes(self, event_id: str) -> list[JSON]:
        """The run that raised an event, or whose chain it continues, with the events of its set and their causes."""
        return self._causes(event_id, set())

    def _effects(self, event_id: str, told: set[str]) -> list[JSON]:
        collecting: list[JSON] = []
        direct: list[Run] = []
        for lane, generation in self._absorbed(event_id):
            found = self._lanes.run(lane, generation)
            if found is None:
                collecting.append(
                    {"route": lane.route, "key": lane.key, "generation": generation, "phase": "collecting"}
                )
            elif found[0].id not in told:
                direct.append(found[0])
        # All of them first: one that began earlier must not take its sibling for what followed from it.
        told |= {run.id for run in direct}
        return collecting + [self._told(run, told) for run in direct]

    def _told(self, run: Run, told: set[str]) -> JSON:
        own = own_event_id(run, self._lanes.store_id)
        followed = self._effects(own, told)
        for other in self._history.chain(run.correlation):
            if other.id != run.id and other.created_at > run.created_at and other.id not in told:
                told.add(other.id)
                followed.append(self._told(other, told))
        return {**row(run), "history": list(run.history), "told": own if run.phase.final else None, "led_to": followed}

    def _causes(self, event_id: str, seen: set[str]) -> list[JSON]:
        run = self._teller(event_id) or self._before(event_id)
        if run is None or run.id in seen:
            return []
        seen.add(run.id)
        events = self._history.set_of(run)
        told = [{"id": event.id, "type": event.type, "because": self._causes(event.id, seen)} for event in events]
        return [{**row(run), "events": told}]

    def _teller(self, event_id: str) -> Run | None:
        """The run whose own event this is."""
        run_id, _, _ = event_id.rpartition(f"-{self._lanes.store_id[:8]}")
        run = self._lanes.named(run_id)
        return run if run and event_id in own_event_ids(run, self._lanes.store_id) else None

    def _before(self, event_id: str) -> Run | None:
        """The last run of the same chain before the runs that this outside event led to."""
        for lane, generation in self._absorbed(event_id):
            found = self._lanes.run(lane, generation)
            if found is None:
                continue
            took = found[0]
            earlier = [run for run in self._history.chain(took.correlation) if run.created_at < took.created_at]
            if earlier:
                return earlier[-1]
        return None

    def _absorbed(self, event_id: str) -> list[tuple[LaneKey, int]]:
        """Where an event was absorbed, over all its deliveries: a replay may have met other routes."""
        found: dict[tuple[LaneKey, int], None] = {}
        for delivery in self._history.deliveries(event_id):
            for lane in deliveries.lanes(delivery.record):
                if place := self._history.absorbed_as(lane, delivery.record):
                    found[lane, place[0]] = None
        return list(found)


def row(run: Run) -> dict[str, Any]:
    """A run as plain data."""
    return {
        "run": run.id,
        "route": run.route,
        "key": run.key,
        "generation": run.generation,
        "attempt": run.attempt,
        "phase": str(run.phase),
        "reason": run.reason,
        "created": _text(run.created_at),
        "ended": _text(run.ended_at),
        "remote": {"id": run.remote.id, "url": run.remote.url} if run.remote else None,
        "correlation": run.correlation,
        "result": json.loads(json.dumps(run.result, default=str)),
    }


def _text(at: dt.datetime | None) -> str | None:
    return at.isoformat() if at else None
