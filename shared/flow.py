"""The flow policy of a route: when a lane's open generation becomes a run, and when a queued run starts.  Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum

from shared.lanes import Collected, Lane

MOST_SUPERSEDED = 3
"""So many runs of a lane in a row may be superseded; then one may finish."""

_LOOK_FOR_MORE = dt.timedelta(seconds=1)


class Busy(enum.StrEnum):
    """What a lane does with a generation that is ready while runs hold all its slots."""

    COLLECT = "collect"  # go on collecting; the end of a run starts the next
    SUPERSEDE = "supersede"  # cancel the run; its set joins the next run's
    SKIP = "skip"  # close the generation without a run of its own


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """How a lane turns events into runs.

    A generation is handed over when it holds an event of each type in `wait_for` and nothing has arrived for `settle`,
    at the latest `settle_max` after its first event, and early when it holds `batch_max` events; never before
    `cooldown` has passed since the last run ended.  A join that is not complete `within` its first event is missed.
    At most `concurrency` runs at a time hold the lane's slots; `when_busy` says what happens meanwhile.  With `once`
    only the first generation becomes a run, and later ones are late.  `carries`: superseded sets join the next one.
    """

    settle: dt.timedelta = dt.timedelta(0)
    settle_max: dt.timedelta = dt.timedelta(0)
    batch_max: int | None = None
    cooldown: dt.timedelta = dt.timedelta(0)
    when_busy: Busy = Busy.COLLECT
    concurrency: int = 1
    wait_for: frozenset[str] = frozenset()
    within: dt.timedelta = dt.timedelta(0)
    once: bool = False
    carries: bool = True

    @property
    def looks_inside(self) -> bool:
        """Whether it matters when the first event came, how many there are, or of which types."""
        return bool(self.settle or self.wait_for)

    @property
    def first_look(self) -> dt.timedelta:
        """How long after its first event a generation need not be looked at: it would only settle."""
        settles = self.batch_max is None and not self.wait_for
        return min(self.settle, self.settle_max) if settles else dt.timedelta(0)


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """Close the generation and hand it to a run."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Admit:
    """Give a free slot to a queued run."""

    generation: int
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`."""

    until: dt.datetime
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do: the next event, or the end of a run that holds a slot, rings."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Skip:
    """Close the generation without doing anything for it."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Miss:
    """Close the generation: what it waits for has not come in time.  Its set joins the next one."""

    missing: tuple[str, ...]
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Supersede:
    """Cancel an earlier run; its end starts this generation, together with its set."""

    generation: int
    reason: str


Decision = Start | Admit | Wait | Rest | Skip | Miss | Supersede


def full(lane: Lane, flow: Flow) -> bool:
    """Whether runs hold all the slots of the lane."""
    return len(lane.slots) >= flow.concurrency


def decide(lane: Lane, collected: Collected | None, flow: Flow, now: dt.datetime) -> Decision:
    """What becomes of the lane at this time, and why."""
    if lane.queued and not full(lane, flow):
        return Admit(lane.queued[0], f"a slot is free for the run of generation {lane.queued[0]}")
    if collected is None and not lane.asked:
        return Rest(f"generation {lane.generation} is empty")
    ready = _ready(lane, collected, flow, now)
    if isinstance(ready, Miss | Skip):
        return ready
    earlier = (*lane.pending, *lane.queued, *lane.slots)
    if full(lane, flow) or (earlier and flow.when_busy is Busy.SUPERSEDE and not lane.asked):
        return _busy(lane, earlier, ready, flow)
    if isinstance(ready, Start) and lane.last_end and now < lane.last_end + flow.cooldown and not lane.asked:
        until = lane.last_end + flow.cooldown
        return Wait(until, f"cooling down until {until.isoformat(timespec='milliseconds')}")
    return ready


def _busy(lane: Lane, earlier: tuple[int, ...], ready: Start | Wait, flow: Flow) -> Decision:
    numbers = ", ".join(map(str, lane.slots))
    holds = f"the run{'s' * (len(lane.slots) > 1)} of generation {numbers} hold{'s' * (len(lane.slots) == 1)} the slot"
    if flow.when_busy is Busy.COLLECT or lane.asked:
        return Rest(f"generation {lane.generation} collects while {holds}")
    if isinstance(ready, Wait):
        return ready
    if flow.when_busy is Busy.SKIP:
        return Skip(f"{holds}, and the route skips what arrives meanwhile")
    if lane.slots and lane.superseded >= MOST_SUPERSEDED:
        return Rest(f"{holds}, and may finish: {lane.superseded} in a row were superseded")
    return Supersede(earlier[0], f"superseded by generation {lane.generation}")


def _ready(lane: Lane, collected: Collected | None, flow: Flow, now: dt.datetime) -> Start | Wait | Miss | Skip:
    if collected is None or lane.asked:
        return Start(f"{lane.asked} asked for it")
    late = flow.once and lane.fired is not None
    missing = tuple(sorted(flow.wait_for - collected.types - lane.have))
    if missing and not late:
        return _join(collected, missing, flow, now)
    settled = _settled(collected, flow, now)
    if late and isinstance(settled, Start):
        return Skip(f"late: it joins generation {lane.fired}, which has fired; the route fires once for a key")
    return settled


def _join(collected: Collected, missing: tuple[str, ...], flow: Flow, now: dt.datetime) -> Wait | Miss:
    until = collected.first_at + flow.within
    names = " and ".join(missing)
    if now < until:
        return Wait(until, f"waits for {names} until {until.isoformat(timespec='seconds')}")
    return Miss(missing, f"{names} did not come within {flow.within}; the set joins whatever comes later")


def _settled(collected: Collected, flow: Flow, now: dt.datetime) -> Start | Wait:
    if flow.batch_max is not None and collected.count >= flow.batch_max:
        return Start(f"{collected.count} events, the route's batch_max is {flow.batch_max}")
    quiet_at = collected.last_at + flow.settle
    due_at = min(quiet_at, collected.first_at + flow.settle_max)
    if now < due_at:
        look_at = due_at if flow.batch_max is None else min(due_at, now + _LOOK_FOR_MORE)
        return Wait(look_at, f"settling until {due_at.isoformat(timespec='milliseconds')}")
    if flow.wait_for:
        return Start(f"complete: {', '.join(sorted(flow.wait_for))}")
    if not flow.settle:
        return Start("the route does not settle")
    if now >= quiet_at:
        return Start(f"quiet for {flow.settle}")
    return Start(f"collected for {flow.settle_max}, the route's settle_max")
