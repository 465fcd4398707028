"""A system under measurement: takes events over HTTP, and calls the stub for each event or for each lane."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import enum
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from benchmarks.load import Event
from benchmarks.stub import Stub

SETTLE = 1.0
"""Seconds of quiet after which a lane is worked on, everywhere."""

_UP_WITHIN, _QUIET_WITHIN = 120.0, 5.0
_BUSY = 0.06


class Work(enum.Enum):
    """What a system is to do with the events that it is sent."""

    LAKE = "a lake's mix: commits to their lanes, the rest to nothing"
    SINGLE = "a run for each event"
    LANES = "a run for each lane of 50 events"


class NotHere(Exception):
    """The system cannot be had on this machine; the message is one line that says why."""


@dataclasses.dataclass
class Started:
    """A process of a system, in a session of its own."""

    process: subprocess.Popen[bytes]

    def all(self) -> list[psutil.Process]:
        """It and its children, as far as they live."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Ask all to end; kill what does not."""
        known = self.all()
        self.process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(known, timeout=8)
        for one in left:
            one.kill()
        self.process.wait()


class System(abc.ABC):
    """What all have: processes that are started, looked at and ended."""

    name = ""
    means = ""
    """What an acknowledgement means."""
    stored = ""
    """What of it is on a disk by then."""
    events: ClassVar[Mapping[Work, int]] = {}
    """How many events a round has at most; what is not there cannot be asked of it."""

    def __init__(self, folder: Path, stub: Stub) -> None:
        self.folder, self.stub = folder, stub
        self.started: list[Started] = []
        self.versions = ""

    @abc.abstractmethod
    async def start(self) -> None:
        """Install and start it.  Raises NotHere."""

    @abc.abstractmethod
    def address(self) -> str:
        """Its server's address."""

    @abc.abstractmethod
    def requests(self, work: Work, events: Sequence[Event]) -> list[bytes]:
        """The events as the requests that this system takes, one a request."""

    async def ids(self, told: Mapping[str, object]) -> list[str]:
        """The event ids that a call of the stub was about."""
        found = told["ids"]
        assert isinstance(found, list)
        return found

    async def rest(self) -> None:
        """Wait until its processes do not compute any more; some always do a little, so not for ever."""
        deadline = time.monotonic() + _QUIET_WITHIN
        while time.monotonic() < deadline:
            before = self.cpu()
            await asyncio.sleep(0.5)
            if self.cpu() - before < 0.5 * _BUSY:
                return

    def end(self) -> None:
        """End its processes."""
        for one in reversed(self.started):
            one.end()
        self.started.clear()

    def processes(self) -> list[psutil.Process]:
        """Everything that works for it."""
        return [process for one in self.started for process in one.all()]

    def own(self) -> list[psutil.Process]:
        """Of those, what would not be there without it: not the store that it is given."""
        return self.processes()

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used so far."""
        total = 0.0
        for process in self.processes():
            try:
                used = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += used.user + used.system
        return total

    def memory(self) -> float:
        """Megabytes of its own processes' memory; what they share is counted once."""
        total = 0
        for process in self.own():
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total / 1e6

    def spawn(
        self, name: str, command: Sequence[object], environment: Mapping[str, str], user: int | None = None
    ) -> None:
        """Start a process that ends with this system; its log is beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                [str(part) for part in command], cwd=self.folder, env=os.environ | environment, user=user,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.started.append(Started(started))

    async def answers(self, address: str) -> None:
        """Wait until a server answers there with anything at all.  Raises NotHere."""
        deadline = time.monotonic() + _UP_WITHIN
        while time.monotonic() < deadline:
            if any(one.process.poll() is not None for one in self.started):
                raise NotHere(f"a process of {self.name} ended at once; see the logs in {self.folder.name}")
            if await asyncio.to_thread(_answers, address):
                return
            await asyncio.sleep(0.2)
        raise NotHere(f"{self.name} did not answer within {_UP_WITHIN:.0f} s")


def _answers(address: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
