"""Everything of one route that shares one key, and when its open generation becomes a run.  Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib


@dataclasses.dataclass(frozen=True, slots=True)
class LaneKey:
    """Names a lane: a route and the key that its events share (say, one table)."""

    route: str
    key: str

    @property
    def partition(self) -> str:
        """32 hexadecimal digits: where the lane's rows live."""
        return hashlib.sha256(f"{self.route}|{self.key}".encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class Lane:
    """The lane's own row.  It is never deleted and its generation never restarts."""

    route: str
    key: str
    generation: int = 1
    ring_no: int = 0
    wake_at: dt.datetime | None = None
    slot: int | None = None

    @property
    def name(self) -> LaneKey:
        """The lane's name."""
        return LaneKey(self.route, self.key)


@dataclasses.dataclass(frozen=True, slots=True)
class Collected:
    """When the open generation was first and last added to; times are those of receipt, never the event's own."""

    first_at: dt.datetime
    last_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """How a lane turns events into runs.

    A generation is handed over when nothing has arrived for `settle`, at the latest `settle_max` after its first event.
    One run at a time holds the lane's slot; meanwhile the next generation collects.
    """

    settle: dt.timedelta = dt.timedelta(0)
    settle_max: dt.timedelta = dt.timedelta(0)


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Close the generation and hand it to a run."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`."""

    until: dt.datetime
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do: the next event, or the end of the run that holds the slot, rings."""

    reason: str


Decision = Start | Wait | Rest


def decide(lane: Lane, collected: Collected | None, flow: Flow, now: dt.datetime) -> Decision:
    """What becomes of the lane's open generation at this time, and why."""
    if collected is None:
        return Rest(f"generation {lane.generation} is empty")
    if lane.slot is not None:
        return Rest(f"generation {lane.generation} collects while the run of generation {lane.slot} holds the slot")
    quiet_at = collected.last_at + flow.settle
    capped_at = collected.first_at + flow.settle_max
    due_at = min(quiet_at, capped_at)
    if now < due_at:
        return Wait(due_at, f"settling until {due_at.isoformat(timespec='milliseconds')}")
    if not flow.settle:
        return Start("the route does not settle")
    if now >= quiet_at:
        return Start(f"quiet for {flow.settle}")
    return Start(f"collected for {flow.settle_max}, the route's settle_max")


def waiting(lane: Lane, until: dt.datetime) -> Lane:
    """The lane waits: the next message about it carries the next number; older ones are dropped."""
    return dataclasses.replace(lane, ring_no=lane.ring_no + 1, wake_at=until)


def handed_over(lane: Lane) -> Lane:
    """The generation is closed: its run takes the slot and the next generation opens."""
    return dataclasses.replace(lane, generation=lane.generation + 1, ring_no=0, wake_at=None, slot=lane.generation)


def freed(lane: Lane, generation: int) -> Lane:
    """The run of `generation` has ended; a slot that another run holds by now is left alone."""
    return dataclasses.replace(lane, slot=None) if lane.slot == generation else lane
