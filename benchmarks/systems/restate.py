"""Restate: the server from npm, its handlers with the Python SDK."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from typing import ClassVar

from benchmarks.load import Event, post, table_of
from benchmarks.systems import environment
from benchmarks.systems.peer import Peer, free_port
from benchmarks.systems.system import NotHere, Work

_SERVER = "@restatedev/restate-server@1.7.12"
_PACKAGES = ("restate-sdk[serde]==1.3.0", "hypercorn==0.18.0")


class Restate(Peer):
    """One Restate node with its default settings, and one process of handlers."""

    name = "Restate, Python SDK"
    means = "the invocation is in Restate's replicated log"
    stored = "fsync"
    events: ClassVar[Mapping[Work, int]] = {Work.LAKE: 6000, Work.SINGLE: 4000, Work.LANES: 4000}
    versions = f"restate-server {_SERVER.rpartition('@')[2]}, restate-sdk 1.3.0"

    async def start(self) -> None:
        """See `System`."""
        modules = await asyncio.to_thread(environment.npm, "restate", [_SERVER])
        python = await asyncio.to_thread(environment.python, "restate", _PACKAGES)
        program = next(modules.glob("@restatedev/restate-server-*/bin/restate-server"), None)
        if program is None:
            raise NotHere("npm has no Restate server for this machine")
        self.versions = Restate.versions
        self._ingress, admin, service = free_port(), free_port(), free_port()
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        settings = {
            "RESTATE_BASE_DIR": str(self.folder / "data"), "RESTATE_BIND_PORT": str(free_port()),
            "RESTATE_LISTEN_MODE": "tcp", "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_INGRESS__BIND_PORT": str(self._ingress), "RESTATE_ADMIN__BIND_PORT": str(admin),
            "RESTATE_LOG_FILTER": "warn", "RESTATE_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
        }  # fmt: skip
        self.spawn("restate-server", [program, "--no-logo"], settings)
        self.serve(python, "restate_service", service)
        await self.answers(f"http://127.0.0.1:{admin}/health")
        await self.answers(f"http://127.0.0.1:{service}/health")
        await asyncio.to_thread(_register, f"http://127.0.0.1:{admin}/deployments", f"http://127.0.0.1:{service}")

    def address(self) -> str:
        """See `System`."""
        return f"http://127.0.0.1:{self._ingress}"

    def requests(self, work: Work, events: Sequence[Event]) -> list[bytes]:
        """See `System`."""
        return [
            post(self.address() + _path(work, event), json.dumps(event).encode(), {"Idempotency-Key": str(event["id"])})
            for event in events
        ]


def _path(work: Work, event: Event) -> str:
    if work is Work.LANES:
        return f"/lane/{table_of(event)}/add/send"
    return f"/{'lake' if work is Work.LAKE else 'single'}/take/send"


def _register(admin: str, service: str) -> None:
    body = json.dumps({"uri": service}).encode()
    request = urllib.request.Request(admin, body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        answer.read()
