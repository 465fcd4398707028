"""Every store promise is tested on the in-memory twin, on the simulation's stores, and on Azurite."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import uuid
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from shared.adapters import azure_store
from shared.adapters.memory import (
    MemoryDue,
    MemoryIndexBlobs,
    MemoryJournal,
    MemoryLanes,
    MemoryLimits,
    MemorySets,
)
from shared.event_loop import EventLoop
from shared.ports import Absorption, DueIndex, IndexBlobs, Journal, LaneIntake, Lanes, Limits, Sets
from shared.settings import Storage
from tests.azurites import Azurite
from tests.simulation.stores import SimJournal, SimLanes

Answer = TypeVar("Answer")
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> dt.datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        self.time += dt.timedelta(seconds=seconds)


@dataclasses.dataclass
class Store:
    """All ports of one store, and the loop that its asynchronous half lives on."""

    clock: SetClock
    journal: Journal
    lanes: Lanes
    lane_intake: LaneIntake
    due: DueIndex
    limits: Limits
    sets: Sets
    index: IndexBlobs
    loop: EventLoop

    def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.wait(work, 60)


@pytest.fixture(scope="session")
def loop() -> EventLoop:
    return EventLoop()


@pytest.fixture(scope="session", params=["memory", "simulated", "azurite"])
def opened(request: pytest.FixtureRequest, loop: EventLoop) -> Iterator[Store]:
    clock = SetClock()
    if request.param == "memory":
        yield in_memory(clock, loop, MemoryLanes(clock), MemoryJournal())
        return
    if request.param == "simulated":
        yield in_memory(clock, loop, SimLanes(clock), SimJournal())
        return
    with on_azurite(request.getfixturevalue("azurite"), clock, loop) as store:
        yield store


@pytest.fixture(params=["memory", "azurite"])
def fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, loop: EventLoop) -> Iterator[Store]:
    """A store that nothing else has been kept in."""
    clock = SetClock()
    if request.param == "memory":
        yield in_memory(clock, loop, MemoryLanes(clock), MemoryJournal())
        return
    for name in ("CONTAINER", "LANES", "DUE"):
        monkeypatch.setattr(azure_store, name, f"s{uuid.uuid4().hex}")
    with on_azurite(request.getfixturevalue("azurite"), clock, loop) as store:
        yield store


def in_memory(clock: SetClock, loop: EventLoop, lanes: MemoryLanes, journal: MemoryJournal) -> Store:
    blobs = MemoryIndexBlobs(clock)
    return Store(clock, journal, lanes, lanes, MemoryDue(), MemoryLimits(), MemorySets(), blobs, loop)


@contextlib.contextmanager
def on_azurite(azurite: Azurite, clock: SetClock, loop: EventLoop) -> Iterator[Store]:
    storage = Storage("sluicestore", azurite.connection_string())
    on = azure_store.open_store(storage, clock, loop, lambda: None, lambda: None)
    yield Store(clock, on.journal, on.lanes, on.lane_intake, on.due, on.limits, on.sets, on.index, loop)
    loop.wait(on.close())


@pytest.fixture
def store(opened: Store) -> Store:
    opened.clock.time = NOON
    return opened


_numbers = itertools.count()


def absorption(name: str | None = None, *, reference: str = "", received: dt.datetime = NOON) -> Absorption:
    """An event on its way into a lane; events of one name are the same event."""
    name = name or f"event-{next(_numbers)}-{uuid.uuid4().hex}"
    return Absorption(name, name, "Some.Event", {"version": "7"}, reference or f"ref-{name}", received)


@pytest.fixture
def key() -> str:
    """A lane key that no other test uses."""
    return uuid.uuid4().hex
