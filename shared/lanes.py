"""Everything of one route that shares one key: the lane's own row, and how it moves.  Pure.

A lane collects events into its open generation.  A closed generation is the set of one run, which is `pending` while a
person has to approve it, `queued` when it may start as soon as a slot is free, and in `slots` while its work may live.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from typing import NamedTuple

from shared.phases import EndingKind, Phase
from shared.runs import Run

_MOST_FAILED = 20


class LaneKey(NamedTuple):
    """Names a lane: a route and the key that its events share (say, one table)."""

    route: str
    key: str

    @property
    def partition(self) -> str:
        """32 hexadecimal digits: where the lane's rows live."""
        return hashlib.sha256(f"{self.route}|{self.key}".encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class Lane:
    """The lane's own row.  It is never deleted and its generation never restarts.

    `slots`, `queued` and `pending` are generations whose runs work, may start, and wait for a person.
    `carried` are earlier generations whose sets join the next run's, `have` the event types that missed joins among
    them hold already.  `failed` are the newest generations whose sets wait to be worked on again.
    `fired` is the first generation that became a run.  `asked` names who wants the next run now.
    """

    route: str
    key: str
    generation: int = 1
    ring_no: int = 0
    wake_at: dt.datetime | None = None
    slots: tuple[int, ...] = ()
    queued: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    last_end: dt.datetime | None = None
    carried: tuple[int, ...] = ()
    have: frozenset[str] = frozenset()
    failed: tuple[int, ...] = ()
    fired: int | None = None
    superseded: int = 0
    asked: str = ""

    @property
    def name(self) -> LaneKey:
        """The lane's name."""
        return LaneKey(self.route, self.key)


@dataclasses.dataclass(frozen=True, slots=True)
class Collected:
    """What the open generation holds: when it was first and last added to, by the times of receipt, and how much."""

    first_at: dt.datetime
    last_at: dt.datetime
    count: int = 1
    types: frozenset[str] = frozenset()


def waiting(lane: Lane, until: dt.datetime) -> Lane:
    """The lane waits: the next message about it carries the next number; older ones are dropped."""
    return dataclasses.replace(lane, ring_no=lane.ring_no + 1, wake_at=until)


def handed_over(lane: Lane) -> Lane:
    """The generation is closed: its run takes a slot and the carried sets, and the next generation opens."""
    return dataclasses.replace(_fired(lane), slots=(*lane.slots, lane.generation))


def set_aside(lane: Lane) -> Lane:
    """The generation is closed: its run takes the carried sets and waits for a person, without a slot."""
    return dataclasses.replace(_fired(lane), pending=(*lane.pending, lane.generation))


def skipped_over(lane: Lane) -> Lane:
    """The generation is closed without a run that works: the slots stay with whom they are."""
    return dataclasses.replace(lane, generation=lane.generation + 1, ring_no=0, wake_at=None)


def missed_over(lane: Lane, collected: Collected) -> Lane:
    """The generation is closed because what it waited for did not come in time; its set joins the next one."""
    carried = (*lane.carried, lane.generation)
    return dataclasses.replace(skipped_over(lane), carried=carried, have=lane.have | collected.types)


def approved(lane: Lane, generation: int) -> Lane:
    """A run that waited for a person may start as soon as a slot is free."""
    return dataclasses.replace(_without(lane, generation), queued=(*lane.queued, generation))


def admitted(lane: Lane, generation: int) -> Lane:
    """A queued run takes a slot."""
    return dataclasses.replace(_without(lane, generation), slots=(*lane.slots, generation))


def reopened(lane: Lane, run: Run) -> Lane:
    """The run of a generation that had ended is to work again, or to be approved again first."""
    lane = _without(lane, run.generation)
    if run.phase is Phase.APPROVAL:
        return dataclasses.replace(lane, pending=(*lane.pending, run.generation))
    return dataclasses.replace(lane, queued=(*lane.queued, run.generation))


def asked(lane: Lane, by: str, *generations: int) -> Lane:
    """Somebody wants the sets of ended generations in a run of their own, with whatever the lane has collected."""
    carried = tuple(dict.fromkeys((*lane.carried, *generations)))
    failed = tuple(number for number in lane.failed if number not in generations)
    return dataclasses.replace(lane, carried=carried, failed=failed, asked=by)


def freed(lane: Lane, run: Run, *, carries: bool = True) -> Lane:
    """The run has ended and holds nothing any more.  With `carries` a superseded set joins the next one."""
    if run.generation not in (*lane.slots, *lane.queued, *lane.pending):
        return lane
    worked = run.generation in lane.slots
    ended = dataclasses.replace(
        _without(lane, run.generation), last_end=run.ended_at if worked else lane.last_end, superseded=0
    )
    if run.phase is Phase.SKIPPED and lane.fired == run.generation:
        return dataclasses.replace(ended, fired=None)
    if run.phase is Phase.SUCCEEDED or run.ending is None or run.ending.kind is not EndingKind.SUPERSEDED:
        failed = (*ended.failed, run.generation)[-_MOST_FAILED:] if run.phase is Phase.FAILED else ended.failed
        return dataclasses.replace(ended, failed=failed)
    carried = tuple(dict.fromkeys((*lane.carried, *run.carries, run.generation))) if carries else lane.carried
    return dataclasses.replace(ended, carried=carried, superseded=lane.superseded + 1)


def _fired(lane: Lane) -> Lane:
    first = lane.generation if lane.fired is None else lane.fired
    return dataclasses.replace(skipped_over(lane), carried=(), have=frozenset(), asked="", fired=first)


def _without(lane: Lane, generation: int) -> Lane:
    slots, queued, pending, failed = (
        tuple(number for number in numbers if number != generation)
        for numbers in (lane.slots, lane.queued, lane.pending, lane.failed)
    )
    return dataclasses.replace(lane, slots=slots, queued=queued, pending=pending, failed=failed)
