"""The stores: the memory twins, which pass the contract tests, with an eye on every write; and the two queues."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.adapters.memory import (
    MemoryDue,
    MemoryIndexBlobs,
    MemoryJournal,
    MemoryLanes,
    MemoryLimits,
    MemorySets,
)
from shared.lanes import Lane, LaneKey
from shared.ports import JSON, Absorption, Clock, Ring
from shared.runs import Run
from tests.simulation.dice import Dice
from tests.simulation.scheduler import Scheduler

if TYPE_CHECKING:
    from tests.simulation.checks import Checks


class SimJournal(MemoryJournal):
    """Tells the checks what is appended."""

    checks: Checks | None = None

    async def append(self, records: Sequence[JSON]) -> list[str]:
        """See `ports.Journal`."""
        references = await super().append(records)
        if self.checks:
            self.checks.journalled(records)
        return references


class SimLanes(MemoryLanes):
    """Tells the checks of every write of a lane's or a run's row."""

    checks: Checks | None = None

    def __init__(self, clock: Clock, store_id: str = "0" * 32) -> None:
        super().__init__(clock)
        self.store_id = store_id
        self.retired: dict[tuple[LaneKey, int], list[Absorption]] = {}

    def retire(self, lane: LaneKey, generation: int) -> int:
        """See `ports.Lanes`."""
        if page := self.events(lane, generation):
            self.retired[lane, generation] = page
        return super().retire(lane, generation)

    def ever(self, lane: LaneKey, generation: int) -> list[Absorption]:
        """Every event of a generation, also when its pages were retired."""
        return self.events(lane, generation) or self.retired.get((lane, generation), [])

    def ever_absorbed_as(self, lane: LaneKey, identity: str) -> tuple[int, str] | None:
        """Where an event was absorbed, also when its row was retired."""
        gone = ((g, e.reference) for (of, g), page in self.retired.items() for e in page
                if of == lane and e.identity == identity)  # fmt: skip
        return self.absorbed_as(lane, identity) or next(gone, None)

    def save_lane(self, lane: Lane, version: str) -> str:
        """See `ports.Lanes`."""
        before = self.lane(lane.name)
        answer = super().save_lane(lane, version)
        self._lane_written(before, lane)
        return answer

    def hand_over(self, lane: Lane, version: str, run: Run) -> tuple[str, str]:
        """See `ports.Lanes`."""
        before, old = self.lane(lane.name), self.run(lane.name, run.generation)
        answer = super().hand_over(lane, version, run)
        self._lane_written(before, lane)
        self._run_written(old, run)
        return answer

    def save_run(self, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        before = self.run(LaneKey(run.route, run.key), run.generation)
        answer = super().save_run(run, version)
        self._run_written(before, run)
        return answer

    def move(self, lane: Lane, lane_version: str, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        before = self.lane(lane.name)
        answer = super().move(lane, lane_version, run, version)
        self._lane_written(before, lane)
        return answer

    def _lane_written(self, before: tuple[Lane, str] | None, after: Lane) -> None:
        if self.checks:
            self.checks.lane_written(before[0] if before else None, after)

    def _run_written(self, before: tuple[Run, str] | None, after: Run) -> None:
        if self.checks:
            self.checks.run_written(before[0] if before else None, after)


@dataclasses.dataclass
class Message:
    """A message in a queue; gone when a handler of it has returned."""

    queue: str
    ring: Ring
    number: int
    copy: bool = False
    tries: int = 0
    visible_at: float = 0.0


class SimQueues:
    """The two queues: at least once, in no order; what is sent may come late, twice or never."""

    def __init__(self, scheduler: Scheduler, dice: Dice, settled_at: float) -> None:
        self._scheduler, self._dice, self._sent = scheduler, dice, 0
        self.messages: dict[int, Message] = {}
        self.rung: set[tuple[LaneKey, int]] = set()
        self.most = self.most_settled = 0
        self.settled_at = settled_at
        self.deliver: Any = None

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self.rung.add((ring.lane, ring.generation))
        self._send("lane", ring, delay)

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self._send("run", ring, delay)

    def _send(self, queue: str, ring: Ring, delay: dt.timedelta) -> None:
        roll = self._dice.roll(f"queue {queue}")
        fault = self._dice.fault(roll, ("never", "twice", "delayed"))
        if fault == "never":
            return
        seconds = max(0.0, float(-int(-delay.total_seconds() // 1)))
        self._put(queue, ring, seconds + (roll.between(5, 120) if fault == "delayed" else 0.0), copy=False)
        if fault == "twice":
            self._put(queue, ring, seconds + 30 * roll.b**4, copy=True)  # many at once, some long after

    def _put(self, queue: str, ring: Ring, seconds: float, *, copy: bool) -> None:
        self._sent += 1
        message = Message(queue, ring, self._sent, copy, visible_at=self._scheduler.now + seconds)
        self.messages[message.number] = message
        held = self.of(queue, ring)
        self.most = max(self.most, held)
        if self._scheduler.now > self.settled_at:
            self.most_settled = max(self.most_settled, held)
        self._scheduler.at(seconds, self.deliver, message)

    def of(self, queue: str, ring: Ring) -> int:
        """How many messages about one lane or run nobody has had in hand yet, copies that a fault made left out."""
        key = (queue, ring.lane, ring.generation if queue == "run" else 0)
        return sum(
            key == (held.queue, held.ring.lane, held.ring.generation if queue == "run" else 0)
            and not (held.copy or held.tries)
            for held in self.messages.values()
        )


__all__ = [
    "MemoryDue",
    "MemoryIndexBlobs",
    "MemoryLimits",
    "MemorySets",
    "Message",
    "SimJournal",
    "SimLanes",
    "SimQueues",
]
