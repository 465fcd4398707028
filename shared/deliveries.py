"""One delivery as the journal has it, with the outcome that follows from the lanes, and the end that it may tell."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.intake import Outcome
from shared.lanes import LaneKey
from shared.ports import JSON, Lanes

Place = tuple[int, str]
"""Generation and reference under which a lane has absorbed an event."""


@dataclasses.dataclass(frozen=True)
class Delivery:
    """One delivery with its outcome and the reason."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """What a run's own event says of it."""

    lane: LaneKey
    generation: int
    correlation: str


def lanes(record: JSON) -> list[LaneKey]:
    """The lanes that a delivery matched."""
    return [LaneKey(found["route"], found["key"]) for found in record.get("matches", ())]


def derived(reference: str, record: JSON, places: Mapping[LaneKey, Place]) -> Delivery:
    """The delivery; `places` says where each lane that it matched has absorbed its event, if it has."""
    if "rejected" in record:
        return Delivery(reference, record, Outcome.REJECTED, str(record["rejected"]))
    if not record["matches"]:
        return Delivery(reference, record, Outcome.IGNORED, str(record["reason"]))
    reasons, outcomes = [], {Outcome.REJECTED}
    for lane in lanes(record):
        place = places.get(lane)
        if place is None:
            reasons.append(f"{lane.route}: not absorbed: it was refused, or never acknowledged")
        elif place[1] == reference:
            outcomes.add(Outcome.ROUTED)
            reasons.append(f"{lane.route}: lane {lane.key}, generation {place[0]}")
        else:
            outcomes.add(Outcome.DUPLICATE)
            reasons.append(f"{lane.route}: duplicate of {place[1]}")
    best = min(outcomes, key=(Outcome.ROUTED, Outcome.DUPLICATE, Outcome.REJECTED).index)
    return Delivery(reference, record, best, "; ".join(reasons))


def outcomes(records: Sequence[tuple[str, JSON]], known: Lanes) -> dict[str, int]:
    """How many deliveries these are, and how they have ended; each lane is asked once for all of its events."""
    asked: dict[LaneKey, set[str]] = {}
    for _, record in records:
        for lane in lanes(record):
            asked.setdefault(lane, set()).add(record["identity"])
    found = {lane: known.absorbed(lane, identities) for lane, identities in asked.items()}
    counts = collections.Counter(deliveries=len(records))
    for reference, record in records:
        places = {lane: found[lane][record["identity"]] for lane in lanes(record) if record["identity"] in found[lane]}
        counts[str(derived(reference, record, places).outcome)] += 1
    return counts


def end(record: JSON) -> End | None:
    """The end of a run that a delivery tells, None when it is not one of our own events."""
    if record.get("origin") != "sluice" or not record.get("raw"):
        return None
    facts = json.loads(record["raw"])["data"]
    lane, generation = LaneKey(facts["route"], facts["key"]), int(facts["run"].rpartition("-")[2])
    return End(lane, generation, str(facts.get("correlation") or ""))
