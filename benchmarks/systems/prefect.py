"""Prefect: its server's events API, an automation, and the webhook that the automation calls."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.load import Event, post, table_of
from benchmarks.systems import environment
from benchmarks.systems.peer import INSIDE, Peer, free_port
from benchmarks.systems.system import NotHere, Work

# 3.8.8 does not import with FastAPI 0.165.
_PACKAGES = ("prefect==3.8.8", "fastapi==0.142.4")


class Prefect(Peer):
    """A Prefect server on SQLite with its default settings."""

    name = "Prefect"
    means = "the event is in the broker in the server's memory"
    stored = "no fsync"
    # Its automations count events, but hand none of them on but the last: no lanes.
    events: ClassVar[Mapping[Work, int]] = {Work.LAKE: 1000, Work.SINGLE: 100}
    versions = "prefect 3.8.8"

    async def start(self) -> None:
        """See `System`."""
        python = await asyncio.to_thread(environment.python, "prefect", _PACKAGES)
        self.versions = Prefect.versions
        shutil.rmtree(self.folder, ignore_errors=True)
        self._port = free_port()
        settings = {
            "PREFECT_HOME": str(self.folder / "home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_URL": f"{self.address()}/api", "PREFECT_LOGGING_SERVER_LEVEL": "ERROR", "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_API_PORT": str(self._port), "PREFECT_SERVER_UI_ENABLED": "false",
        }  # fmt: skip
        command = [python.parent / "prefect", "server", "start", "--host", "127.0.0.1", "--port", self._port]
        self.spawn("prefect", command, settings)
        await self.answers(f"{self.address()}/api/health")
        await asyncio.to_thread(self._automate, python, settings)

    def _automate(self, python: Path, settings: dict[str, str]) -> None:
        done = subprocess.run(
            [python, INSIDE / "prefect_automations.py"], check=False, capture_output=True, text=True,
            env=os.environ | settings | {"BENCH_STUB": self.stub.address},
        )  # fmt: skip
        if done.returncode:
            raise NotHere(f"its automations could not be made: {done.stderr.strip().splitlines()[-1][:200]}")

    def address(self) -> str:
        """See `System`."""
        return f"http://127.0.0.1:{self._port}"

    def requests(self, work: Work, events: Sequence[Event]) -> list[bytes]:
        """See `System`."""
        path = f"{self.address()}/api/events"
        return [post(path, json.dumps([_event(work, event)]).encode()) for event in events]


def _event(work: Work, event: Event) -> Event:
    """Prefect's own schema; the table is the resource, so that an automation can count by it."""
    now = dt.datetime.now(dt.UTC).isoformat()
    resource = {"prefect.resource.id": f"table.{table_of(event)}"}
    told = {"id": event["id"], "occurred": now, "event": f"bench.{work.name.lower()}"}
    return told | {"payload": event["data"], "resource": resource}
