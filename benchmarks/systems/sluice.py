"""Sluice: the real `function_app.py` in the local Functions host, on Azurite."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import psutil
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from benchmarks import ground
from benchmarks.ground import Ground
from benchmarks.load import Event, post
from benchmarks.stub import Stub
from benchmarks.systems.system import System, Work

NOTIFICATION = {"aeg-event-type": "Notification"}
_QUIET_WITHIN = 120.0


class Sluice(System):
    """One Functions host.  Its backend is the stub, as a Databricks workspace."""

    name = "Sluice"
    means = "the journal and every matched lane have the event"
    stored = "no fsync: Azurite answers from memory"
    events: ClassVar[Mapping[Work, int]] = {Work.LAKE: 6000, Work.SINGLE: 2000, Work.LANES: 8000}

    def __init__(self, folder: Path, stub: Stub, where: Ground) -> None:
        super().__init__(folder, stub)
        self.ground = where

    async def start(self) -> None:
        """See `System`."""
        self._hosts = await asyncio.to_thread(self.ground.hosts)
        self.host = self._hosts.all[0]
        self._webhook = await asyncio.to_thread(ground.address, self.host)
        self._sets = ContainerClient.from_connection_string(self.ground.connection, "sluice")
        self._rings = QueueClient.from_connection_string(self.ground.connection, "sluice-run")

    def pause(self) -> None:
        """End the host; `start` brings another one up on the same store."""
        self._hosts.end()

    def address(self) -> str:
        """See `System`."""
        return self._webhook

    def requests(self, work: Work, events: Sequence[Event]) -> list[bytes]:  # noqa: ARG002 the events' containers tell
        """See `System`."""
        return [post(self._webhook, json.dumps([event]).encode(), NOTIFICATION) for event in events]

    async def ids(self, told: Mapping[str, object]) -> list[str]:
        """See `System`; the set of a lane is in its run's manifest."""
        if "manifest" not in told:
            return [str(told.get("event"))]
        name = str(told["manifest"]).split("/sluice/", 1)[1]
        blob = await asyncio.to_thread(lambda: self._sets.download_blob(name).readall())
        return [str(entry["id"]) for entry in json.loads(blob)["events"]]

    async def rest(self) -> None:
        """See `System`; also every run has been seen to its end."""
        deadline = time.monotonic() + _QUIET_WITHIN
        while time.monotonic() < deadline:
            waiting = await asyncio.to_thread(lambda: self._rings.get_queue_properties().approximate_message_count)
            if not waiting:
                break
            await asyncio.sleep(0.5)
        await super().rest()

    def processes(self) -> list[psutil.Process]:
        """See `System`: the host, and Azurite for it."""
        return [*self.own(), self.ground.azurite()]

    def own(self) -> list[psutil.Process]:
        """The host alone."""
        assert self.host.process is not None
        return [psutil.Process(self.host.process.pid)]
