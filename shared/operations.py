"""What operators can ask and do; the `sluice` command and the HTTP functions are two faces of it.

Every answer is plain data that can be printed as JSON.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

from shared import flow, governor, release_evidence
from shared.commands import SOMEBODY, Commands
from shared.errors import NotFound
from shared.explanation import Explanation, row
from shared.history import History
from shared.intake import Outcome
from shared.intake_loop import IntakeLoop
from shared.lanes import Collected, Lane
from shared.ports import JSON, Clock, Journal, Lanes, Telemetry
from shared.release_backends import EvidenceChain
from shared.requests import envelope
from shared.routing import Routes

DECIDING = ("approve", "reject")
COMMANDS = ("cancel", "abandon", "retry", "force_new", *DECIDING)
"""What a person may command about a run."""


class Operations:
    """Reads the journal and the lanes; puts events through again."""

    def __init__(
        self,
        *,
        routes: Routes,
        journal: Journal,
        lanes: Lanes,
        history: Callable[[], History],
        intake: IntakeLoop,
        telemetry: Telemetry,
        clock: Clock,
        evidence: EvidenceChain,
    ) -> None:
        self._routes, self._journal, self._lanes, self._intake = routes, journal, lanes, intake
        self._history, self._telemetry, self._clock, self._evidence = history, telemetry, clock, evidence

    def health(self) -> JSON:
        """Whether the store answers, and which rules are in force."""
        names = [route.name for route in self._routes.routes]
        return {"status": "ok", "store": self._lanes.store_id, "rules": self._routes.digest, "routes": names}

    def events(self, outcome: str | None = None, limit: str | int = 50) -> list[JSON]:
        """The newest deliveries.  Raises ValueError for an outcome or limit that is none."""
        wanted = Outcome(outcome) if outcome else None
        most = int(limit)
        if most < 1:
            raise ValueError(f"limit is {limit}: it must be 1 or more")
        rows: list[JSON] = []
        for delivery in self._history().newest():
            if wanted is None or delivery.outcome is wanted:
                rows.append(delivery.row())
            if len(rows) >= most:
                break
        return sorted(rows, key=lambda row: str(row["received"]), reverse=True)

    def counts(self) -> dict[str, int]:
        """How many deliveries the journal holds, and how they ended; of older ones, how they had ended when indexed."""
        return self._history().counts()

    def runs(self) -> list[JSON]:
        """Every run, the newest first."""
        found = sorted(self._lanes.all_runs(), key=lambda run: run.created_at, reverse=True)
        return [row(run) for run in found]

    def lanes(self) -> list[JSON]:
        """Every lane, by route and key, with what its open generation holds."""
        rows: list[JSON] = []
        for lane in sorted(self._lanes.all_lanes(), key=lambda lane: (lane.route, lane.key)):
            held = self._lanes.collected(lane.name, lane.generation)
            collecting = held.count if held else 0
            named = {"route": lane.route, "key": lane.key, "generation": lane.generation, "collecting": collecting}
            held_by = {"running": list(lane.slots), "queued": list(lane.queued), "approval": list(lane.pending)}
            until = self._waits_until(lane, held) if held else None
            rows.append(named | held_by | {"waits_until": until.isoformat() if until else None})
        return rows

    def _waits_until(self, lane: Lane, held: Collected) -> dt.datetime | None:
        decision = flow.decide(lane, held, self._routes.policy(lane.route), self._clock.now())
        return decision.until if isinstance(decision, flow.Wait) else lane.wake_at

    def evidence(self, endpoint: str) -> JSON:
        """The evidence of every release of an endpoint, and whether its chain is whole.  Raises NotFound, Unavailable.

        The runs know the hashes of the records that they have written: a chain that was written anew does not fit them.
        """
        bodies = self._evidence.all(endpoint)
        told = [run.result.get("record") or {} for run in self._lanes.all_runs()]
        heads = {int(one["number"]): str(one["sha256"]) for one in told if one.get("endpoint") == endpoint}
        if not bodies and not heads:
            raise NotFound(f"there is no evidence of a release of an endpoint {endpoint!r}")
        return release_evidence.shown(endpoint, bodies, heads)

    def explain(self, event_id: str) -> JSON:
        """From an event to all that came of it, and back to what it came from.  Raises NotFound."""
        history = self._history()
        deliveries = history.deliveries(event_id)
        if not deliveries:
            raise NotFound(f"the journal has no event with id {event_id!r}")
        explanation = Explanation(history, self._lanes)
        return {
            "event": event_id,
            "deliveries": [delivery.row() for delivery in deliveries],
            "because": explanation.causes(event_id),
            "led_to": explanation.effects(event_id),
        }

    def replay(self, event_id: str) -> JSON:
        """Put a journalled event through again under today's routes; what it has already started is joined.

        Raises NotFound; Unavailable when the store could not take it.
        """
        deliveries = self._history().deliveries(event_id)
        if not deliveries:
            raise NotFound(f"the journal has no event with id {event_id!r}")
        found = deliveries[-1]
        self.note("replay", {"event": event_id, "reference": found.reference})
        receipts = self._intake.submit("replay", [str(found.record["raw"])]).result()
        return {
            "event": event_id,
            "receipts": [
                {"outcome": str(item.outcome), "reason": item.reason, "reference": item.reference} for item in receipts
            ],
            "led_to": Explanation(self._history(), self._lanes).effects(event_id),
        }

    def train(self, table: str, by: str, reason: str = "") -> JSON:
        """Ask for a training on a table of the lake, as drift does: a person's wish, or a schedule's.

        The governor refuses only what would be trained on the same data again.  Raises ValueError, Unavailable.
        """
        if not table:
            raise ValueError("on which table? a training is asked for by the name of a table")
        now, by = self._clock.now(), by or SOMEBODY
        id_, store_id = f"training-{table}-{now:%Y%m%dT%H%M%S%f}", self._lanes.store_id
        data = {"table": table, "reason": f"{by} asked for it" + f": {reason}" * bool(reason)}
        event = envelope(id_, store_id, governor.REQUESTED, f"training/{table}", now.isoformat(), data)
        [receipt] = self._intake.submit("operator", [json.dumps(event)]).result()
        return {"event": id_, "outcome": str(receipt.outcome), "said": f"{id_}: {receipt.reason}"}

    def command(self, commands: Commands, what: str, run: str, by: str, note: str = "") -> JSON:
        """Journal a person's command about a run (cancel, abandon, retry, force_new, approve, reject) and carry it out.

        Raises NotFound, ValueError, Conflict, Unavailable: see `Commands`.
        """
        if what not in COMMANDS:
            raise ValueError(f"{what!r} is none of {', '.join(COMMANDS)}")
        self.note(what, {"run": run, "by": by, "note": note})
        does = getattr(commands, what)
        said = does(run, by, note) if what in DECIDING else does(run, by or SOMEBODY)
        return {"run": run, "said": said}

    def note_poison(self, queue: str, body: bytes) -> None:
        """Journal a message that the host gave up on; the sweep rings what it was about again."""
        text = body.decode(errors="replace")
        self.note("poison", {"queue": queue, "body": text})
        self._telemetry.event("poison message", "", {"queue": queue, "body": text})

    def note(self, kind: str, facts: JSON) -> None:
        """Journal an operator's command."""
        self._intake.append(self._journal, {"kind": kind, "received": self._clock.now().isoformat(), **facts})
