"""Where a run stands, as a table of moves.

preparing ─► [approval ─► queued ─►] starting ─► running ─► succeeded
    │            │                      ▲           │
    ▼            ▼                      └─ waiting ◄┤ (another attempt, when the last one is known to have ended)
 skipped     cancelled                              └──► failed, cancelled ─► (reopened) approval or queued
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping

APPROVE, REJECT = "approve", "reject"


class Phase(enum.StrEnum):
    """Where a run stands."""

    PREPARING = "preparing"  # the set is closed; its manifest and request are being written
    APPROVAL = "approval"  # set and request are frozen; a person decides whether it may start
    QUEUED = "queued"  # it may start as soon as its lane has a slot for it
    STARTING = "starting"  # the request is frozen; the backend has not been heard to accept it yet
    RUNNING = "running"  # the backend works on it
    WAITING = "waiting"  # the last attempt has ended; the next one starts at `next_at`
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing moves any more."""
        return self in _FINAL


_FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.SKIPPED, Phase.CANCELLED})

MOVES: Mapping[str, frozenset[Phase]] = {
    "prepared": frozenset({Phase.PREPARING}),
    "approved": frozenset({Phase.APPROVAL}),
    "rejected": frozenset({Phase.APPROVAL}),
    "expired": frozenset({Phase.APPROVAL}),
    "admitted": frozenset({Phase.QUEUED}),
    "decided": frozenset({Phase.RUNNING}),
    "reopened": frozenset({Phase.FAILED, Phase.CANCELLED}),
    "skipped": frozenset({Phase.PREPARING}),
    "started": frozenset({Phase.STARTING}),
    "unstarted": frozenset({Phase.STARTING}),
    "refused": frozenset({Phase.PREPARING, Phase.STARTING, Phase.RUNNING}),
    "observed": frozenset({Phase.RUNNING}),
    "unobserved": frozenset({Phase.RUNNING}),
    "hastened": frozenset({Phase.RUNNING}),
    "cancelling": frozenset({Phase.RUNNING}),
    "abandoned": frozenset({Phase.STARTING, Phase.RUNNING}),
    "ended early": frozenset(Phase) - _FINAL,
    "passed over": frozenset({Phase.PREPARING}),
    "retried": frozenset({Phase.WAITING}),
    "told": _FINAL,
}
"""What may happen to a run in which phase; anything else raises ValueError and changes nothing."""


class EndingKind(enum.StrEnum):
    """Why a run is ended before it has ended by itself."""

    TIMEOUT = "timeout"  # the attempt takes too long; another may follow
    SUPERSEDED = "superseded"  # a newer generation takes its place, with its set
    CANCELLED = "cancelled"  # an operator wants it to stop
    MISSED = "missed"  # what it waits for has not come in time
    ABANDONED = "abandoned"  # an operator waits no longer for a backend that does not answer


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """That a run is to end, and why.  The slot is held until the backend says that the work has ended."""

    kind: EndingKind
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about a run: `approve` or `reject`."""

    verdict: str
    by: str
    at: dt.datetime
    note: str = ""

    @property
    def sentence(self) -> str:
        """Who did what, and why if they said so."""
        done = "approved" if self.verdict == APPROVE else "rejected"
        return f"{done} by {self.by}" + f": {self.note}" * bool(self.note)


class Step(enum.StrEnum):
    """What the control plane does next for a run."""

    PREPARE = "prepare"
    START = "start"
    OBSERVE = "observe"
    CANCEL = "cancel"
    RETRY = "retry"
    EMIT = "emit"
    SLEEP = "sleep"
    EXPIRE = "expire"
    REST = "rest"
