"""The whole control plane on one store of the contract tests, with a backend that remembers what it did."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from shared.adapters.memory import MemoryBells
from shared.adapters.memory_releases import MemoryEvidence
from shared.control_plane import ControlPlane
from shared.errors import Unavailable
from shared.event_index import EventIndex
from shared.history import History
from shared.indexing import Indexing
from shared.intake import Intake, Receipt
from shared.intake_loop import IntakeLoop
from shared.late_events import LateEvents
from shared.operations import Operations
from shared.retirement import Keeping, Retirement
from shared.routing import Route, Routes
from shared.telemetry import Recording
from shared.upkeep import Kept, Upkeep
from shared.world import World
from tests.contract.conftest import Store
from tests.unit.worlds import Backend

DAY = dt.timedelta(days=1)
FIVE_MINUTES = dt.timedelta(minutes=5)


class Plant:
    """Intake, control plane, operations and upkeep."""

    def __init__(self, store: Store, *routes: Route) -> None:
        self.store, self.clock = store, store.clock
        self.bells, self.backend = MemoryBells(store.clock), Backend(store.clock)
        self.index, self.keeping = EventIndex(store.index), Keeping()
        rules, telemetry = Routes(routes, "digest"), Recording()
        self.intake = IntakeLoop(
            Intake(
                routes=rules,
                journal=store.journal,
                lanes=LateEvents(store.lane_intake, self.index, self.keeping, store.clock),
                due=store.due,
                bells=self.bells,
                clock=store.clock,
            ),
            store.loop,
        )
        world = World(
            clock=store.clock, journal=store.journal, lanes=store.lanes, due=store.due, bells=self.bells,
            limits=store.limits, sets=store.sets, actions={"work": self.backend}, guards={}, telemetry=telemetry,
            publisher=None, settings={},
        )  # fmt: skip
        self.control_plane = ControlPlane(routes=rules, intake=self.intake, world=world)
        self.commands = self.control_plane.commands
        self.operations = Operations(
            routes=rules, journal=store.journal, lanes=store.lanes, history=self.history, intake=self.intake,
            evidence=MemoryEvidence(), telemetry=telemetry, clock=store.clock,
        )  # fmt: skip
        self.retirement = Retirement(store.lanes, store.sets, self.index, store.index, self.keeping)
        self.indexing = Indexing(store.journal, store.lanes, self.index, self.retirement, self.keeping)
        self.upkeep = Upkeep(self.indexing, self.index, self.retirement, store.clock)

    def history(self) -> History:
        return History(
            journal=self.store.journal, lanes=self.store.lanes, due=self.store.due, sets=self.store.sets,
            index=self.index, keeping=self.keeping, now=self.clock.now(),
        )  # fmt: skip

    def receive(self, payloads: Sequence[str]) -> list[Receipt]:
        """What is not acknowledged is sent again, as every sender does."""
        for _ in range(20):
            with contextlib.suppress(Unavailable):
                return self.intake.submit("event_hubs", payloads).result(300)
        raise AssertionError("the store took nothing in twenty times")

    def work(self) -> None:
        """Hand out messages, each when its time has come, until there is none; what is sent meanwhile too."""
        while self.bells.lanes or self.bells.runs:
            held = self.bells.lanes or self.bells.runs
            at, ring = held.pop(0)
            self.clock.time = max(self.clock.time, at)
            (self.control_plane.wake if held is self.bells.lanes else self.control_plane.advance)(ring)

    def tick(self, passed: dt.timedelta = FIVE_MINUTES) -> Kept:
        self.clock.time += passed
        return self.upkeep.tick()


def payload(plant: Plant, id_: str, type_: str = "A.B", *, at: dt.datetime | None = None, **data: Any) -> str:
    """An event with its time, now unless said."""
    time = (at or plant.clock.now()).isoformat()
    named = {"id": id_, "topic": "/t", "subject": "x", "eventType": type_, "eventTime": time, "data": data}
    return json.dumps(named)
