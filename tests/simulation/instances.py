"""One instance of the app: the real intake, run steps and control plane, on simulated ports; it lives and dies."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import greenlet

from shared.actions.release import Release
from shared.control_plane import ControlPlane
from shared.event_index import EventIndex
from shared.indexing import Indexing
from shared.intake import Intake
from shared.lanes import LaneKey
from shared.late_events import LateEvents
from shared.ports import Ring
from shared.prompt_bells import PromptBells
from shared.retirement import Keeping, Retirement
from shared.upkeep import Upkeep
from shared.world import World
from tests.simulation.scheduler import Crash, SimClock, SimIntakeLoop, SimLoop
from tests.simulation.wires import Wired

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

KEEPING = Keeping(*(dt.timedelta(seconds=seconds) for seconds in (20, 45, 15)))
"""Rows retire within a simulation, and stay beside their copies for longer than a call takes, or lands late."""
CHANGES = frozenset({"lanes.save_lane", "lanes.hand_over", "lanes.save_run", "lanes.move", "limits.save_limit"})


class Quiet:
    """Telemetry that nobody reads."""

    def event(self, name: str, correlation: str, facts: Mapping[str, Any]) -> None:
        """See `ports.Telemetry`."""

    def metric(self, name: str, value: float, facts: Mapping[str, str]) -> None:
        """See `ports.Telemetry`."""

    def span(self, name: str, correlation: str, facts: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """See `ports.Telemetry`."""
        return contextlib.nullcontext()


class NotedBells(PromptBells):
    """The simulation knows of each lane that was rung, whoever wakes it."""

    rung: set[tuple[LaneKey, int]]

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        super().ring_lane(ring, delay)
        self.rung.add((ring.lane, ring.generation))


class Instance:
    """One life of the app."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.name, self.alive = name, True
        self.scheduler, self.dice, self.simulation = simulation.scheduler, simulation.dice, simulation
        self.clock = SimClock(self.scheduler, simulation.skew * self.dice.number(f"skew {name}", -1, 1))
        self.loop = SimLoop(self.scheduler, lambda work: self.spawn(work))
        self._workers: dict[greenlet.greenlet, None] = {}
        wired: dict[str, Any] = {
            port: Wired(port, value, self)
            for port, value in (
                ("journal", simulation.journal), ("lanes", simulation.lanes), ("due", simulation.due),
                ("limits", simulation.limits), ("bells", simulation.queues), ("sets", simulation.sets),
                ("publisher", simulation.publisher),
            )
        }  # fmt: skip
        bells = NotedBells(wired["bells"], self.spawn)
        bells.rung = simulation.queues.rung
        wired["bells"] = bells
        blobs: Any = Wired("index", simulation.blobs, self)
        index = EventIndex(blobs)
        retirement = Retirement(wired["lanes"], wired["sets"], index, blobs, KEEPING)
        indexing = Indexing(wired["journal"], wired["lanes"], index, retirement, KEEPING)
        self.upkeep = Upkeep(indexing, index, retirement, self.clock)
        intake = Intake(
            routes=simulation.routes, journal=wired["journal"],
            lanes=LateEvents(wired["lanes"], index, KEEPING, self.clock), due=wired["due"],
            bells=wired["bells"], clock=self.clock, longest_pause=0.05,
        )  # fmt: skip
        self.intake: Any = SimIntakeLoop(intake, self.loop, self.scheduler)
        actions: dict[str, Any] = {
            backend.name: Wired(backend.name, backend, self, backend=True) for backend in simulation.backends
        }
        actions["release"] = Wired("release", Release(simulation.town.backends(self._backend), self.clock), self)
        guards: dict[str, Any] = {"compaction": Wired("guard", simulation.guard, self)}
        world = World(
            **wired, clock=self.clock, actions=actions, guards=guards, telemetry=Quiet(), settings={"account": "lake"}
        )
        self.control_plane = ControlPlane(routes=simulation.routes, intake=self.intake, world=world)
        if self.dice.number(f"prompt {name}", 0, 1) < 0.7:  # the rest are like processes that take no events in
            bells.answer(self.control_plane.wake)

    def _backend(self, name: str, port: Any) -> Any:
        return Wired(name, port, self, backend=True)

    def spawn(self, work: Callable[[], Any], ended: Callable[[BaseException | None], None] | None = None) -> None:
        """Begin some work of this instance; `ended` hears how it ended, also when the instance died under it."""

        def run() -> None:
            error: BaseException | None = None
            try:
                if not self.alive:
                    raise Crash
                work()
            except (Exception, Crash) as raised:
                error = raised
            self._workers.pop(made, None)
            if ended:
                ended(error if self.alive else Crash())

        made = self.scheduler.spawn(run)
        self._workers[made] = None

    def crash(self) -> None:
        """Everything in memory is gone; another instance starts a little later."""
        if not self.alive:
            return
        self.alive, self.loop.dead = False, True
        current = greenlet.getcurrent()
        for worker in list(self._workers):
            if worker is not current:
                self.scheduler.at(0, self.scheduler.kill, worker)
        self.simulation.crashed(self)

    @contextlib.contextmanager
    def calling(self, place: str, args: tuple[Any, ...]) -> Iterator[None]:
        """What the simulation wants to know of a call that is under way."""
        self.simulation.store_clock.skew = self.clock.skew
        stale = place in CHANGES and greenlet.getcurrent() in self.simulation.stale
        self.simulation.checks.hold(not stale, f"a message with an older number changes nothing: {place}")
        done = self.simulation.checks.exclusively(place, args)
        try:
            yield
        finally:
            done()
