"""Everything of one route that shares one key, and when its open generation becomes a run.  Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import hashlib

from shared.runs import EndingKind, Phase, Run

MOST_SUPERSEDED = 3
"""So many runs of a lane in a row may be superseded; then one may finish."""

_LOOK_FOR_MORE = dt.timedelta(seconds=1)


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
    """The lane's own row.  It is never deleted and its generation never restarts.

    `carried` are earlier generations whose sets join the next run's; `asked` says that an operator wants it now.
    """

    route: str
    key: str
    generation: int = 1
    ring_no: int = 0
    wake_at: dt.datetime | None = None
    slot: int | None = None
    last_end: dt.datetime | None = None
    carried: tuple[int, ...] = ()
    superseded: int = 0
    asked: bool = False

    @property
    def name(self) -> LaneKey:
        """The lane's name."""
        return LaneKey(self.route, self.key)


@dataclasses.dataclass(frozen=True, slots=True)
class Collected:
    """When the open generation was first and last added to, by the times of receipt, and how many events it holds."""

    first_at: dt.datetime
    last_at: dt.datetime
    count: int = 1


class Busy(enum.StrEnum):
    """What a lane does with a generation that is ready while a run holds the slot."""

    COLLECT = "collect"  # go on collecting; the end of the run starts the next
    SUPERSEDE = "supersede"  # cancel the run; its set joins the next run's
    SKIP = "skip"  # close the generation without a run of its own


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """How a lane turns events into runs.

    A generation is handed over when nothing has arrived for `settle`, at the latest `settle_max` after its first event,
    and early when it holds `batch_max` events; never before `cooldown` has passed since the last run ended.
    One run at a time holds the lane's slot; `when_busy` says what happens meanwhile.
    """

    settle: dt.timedelta = dt.timedelta(0)
    settle_max: dt.timedelta = dt.timedelta(0)
    batch_max: int | None = None
    cooldown: dt.timedelta = dt.timedelta(0)
    when_busy: Busy = Busy.COLLECT


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


@dataclasses.dataclass(frozen=True, slots=True)
class Skip:
    """Close the generation without doing anything for it."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Supersede:
    """Cancel the run that holds the slot; its end starts this generation, together with its set."""

    reason: str


Decision = Start | Wait | Rest | Skip | Supersede


def decide(lane: Lane, collected: Collected | None, flow: Flow, now: dt.datetime) -> Decision:
    """What becomes of the lane's open generation at this time, and why."""
    if collected is None and not lane.asked:
        return Rest(f"generation {lane.generation} is empty")
    ready = _ready(lane, collected, flow, now)
    if lane.slot is not None:
        return _busy(lane, lane.slot, ready, flow)
    if isinstance(ready, Start) and lane.last_end and now < lane.last_end + flow.cooldown and not lane.asked:
        until = lane.last_end + flow.cooldown
        return Wait(until, f"cooling down until {until.isoformat(timespec='milliseconds')}")
    return ready


def _busy(lane: Lane, slot: int, ready: Start | Wait, flow: Flow) -> Decision:
    holds = f"the run of generation {slot} holds the slot"
    if flow.when_busy is Busy.COLLECT or lane.asked:
        return Rest(f"generation {lane.generation} collects while {holds}")
    if isinstance(ready, Wait):
        return ready
    if flow.when_busy is Busy.SKIP:
        return Skip(f"{holds}, and the route skips what arrives meanwhile")
    if lane.superseded >= MOST_SUPERSEDED:
        return Rest(f"{holds}, and may finish: {lane.superseded} in a row were superseded")
    return Supersede(f"superseded by generation {lane.generation}")


def _ready(lane: Lane, collected: Collected | None, flow: Flow, now: dt.datetime) -> Start | Wait:
    if collected is None or lane.asked:
        return Start("an operator asked for it")
    if flow.batch_max is not None and collected.count >= flow.batch_max:
        return Start(f"{collected.count} events, the route's batch_max is {flow.batch_max}")
    quiet_at = collected.last_at + flow.settle
    due_at = min(quiet_at, collected.first_at + flow.settle_max)
    if now < due_at:
        look_at = due_at if flow.batch_max is None else min(due_at, now + _LOOK_FOR_MORE)
        return Wait(look_at, f"settling until {due_at.isoformat(timespec='milliseconds')}")
    if not flow.settle:
        return Start("the route does not settle")
    if now >= quiet_at:
        return Start(f"quiet for {flow.settle}")
    return Start(f"collected for {flow.settle_max}, the route's settle_max")


def waiting(lane: Lane, until: dt.datetime) -> Lane:
    """The lane waits: the next message about it carries the next number; older ones are dropped."""
    return dataclasses.replace(lane, ring_no=lane.ring_no + 1, wake_at=until)


def handed_over(lane: Lane) -> Lane:
    """The generation is closed: its run takes the slot and the carried sets, and the next generation opens."""
    opened = skipped_over(lane)
    return dataclasses.replace(opened, slot=lane.generation, carried=(), asked=False)


def skipped_over(lane: Lane) -> Lane:
    """The generation is closed without a run that works: the slot stays with whom it is."""
    return dataclasses.replace(lane, generation=lane.generation + 1, ring_no=0, wake_at=None)


def freed(lane: Lane, run: Run) -> Lane:
    """The run has ended; a slot that another run holds by now is left alone.  A superseded set joins the next one."""
    if lane.slot != run.generation:
        return lane
    ended = dataclasses.replace(lane, slot=None, last_end=run.ended_at, superseded=0)
    if run.phase is Phase.SUCCEEDED or run.ending is None or run.ending.kind is not EndingKind.SUPERSEDED:
        return ended
    carried = tuple(dict.fromkeys((*lane.carried, *run.carries, run.generation)))
    return dataclasses.replace(ended, carried=carried, superseded=lane.superseded + 1)


def asked(lane: Lane, *generations: int) -> Lane:
    """An operator wants the sets of ended generations to be worked on again, with whatever the lane has collected."""
    return dataclasses.replace(lane, carried=tuple(dict.fromkeys((*lane.carried, *generations))), asked=True)
