"""One run of the real control plane on a real backend's wire, whose start is in flight when a person cancels it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests

from localcloud.cloud import Cloud
from shared.phases import Phase
from shared.ports import Action, Clock
from shared.routing import Route
from shared.runs import Run
from tests.unit.worlds import Process, Stage, event

Make = Callable[[Clock], Action]
TICK = 0.05


def fault(cloud: Cloud, service: str, *rules: Mapping[str, Any]) -> None:
    """Post fault rules to a service of the local cloud, in place of those that are there."""
    requests.delete(f"{cloud.url(service)}/_faults", timeout=10).raise_for_status()
    answer = requests.post(f"{cloud.url(service)}/_faults", json=list(rules), timeout=10)
    answer.raise_for_status()


class Flight:
    """The store is memory and its time runs twenty times as fast; the backend is real."""

    def __init__(self, kind: str, make: Make, options: Mapping[str, Any]) -> None:
        self.stage = Stage(Route("work", frozenset({"A.B"}), "demand", kind, options))
        self.stage.sweeping = False
        self.stage.actions[kind] = make(self.stage.clock)
        self.process: Process = self.stage.process()
        self.stage.send(event("1"))

    @property
    def run(self) -> Run:
        return self.stage.runs("work")[0]

    def begin(self) -> None:
        """Take the event in, and make the start's first call."""
        self._now()

    def cancel(self) -> str:
        return self.process.control_plane.commands.cancel(self.run.id)

    def go_on(self, until: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, (self.stage.unrest(), self.run.history)
            self._now()
            self.stage.clock.pass_(1)
            time.sleep(TICK)

    def _now(self) -> None:
        """Do all that is due."""
        while self.stage.work(self.process):
            pass

    def rest(self, seconds: float = 30) -> Run:
        """Go on until nothing is owed; the run."""
        self.go_on(self.stage.at_rest, seconds)
        return self.run


@contextmanager
def flying(kind: str, make: Make, options: Mapping[str, Any]) -> Iterator[Flight]:
    flight = Flight(kind, make, options)
    try:
        yield flight
    finally:
        flight.stage.close()


def cancelled_in_flight(flight: Flight, called: Callable[[], bool]) -> Run:
    """The start is being made by one process while a person cancels the run in another; then it goes on to its end.

    `called` says that the backend has the call.
    """
    starting = threading.Thread(target=flight.begin, daemon=True)
    starting.start()
    deadline = time.monotonic() + 20
    while not (flight.stage.runs() and flight.run.phase is Phase.STARTING and called()):
        assert time.monotonic() < deadline, "the start was never called"
        time.sleep(0.02)
    flight.cancel()
    starting.join()
    return flight.rest()


def faults_left(cloud: Cloud, service: str) -> int:
    """How many rules are not used up."""
    left: list[Any] = requests.get(f"{cloud.url(service)}/_faults", timeout=10).json()
    return len(left)
