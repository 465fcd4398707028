"""The supervisor: starts the processes of one local cloud, starts again what dies, and ends everything at the end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from localcloud import azurite, certificates, ports, processes
from localcloud.cloud import ROOT, SERVICES, Cloud
from localcloud.processes import Known, Processes
from localcloud.services import ELSEWHERE

READY_WITHIN = 60.0
STARTS = 5
"""A process that does not come up so often in a row is given up, and the cloud with it."""

GROUP = "supervised"


class CannotStart(Exception):
    """The cloud cannot be started; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a cloud is started."""

    name: str
    root: Path = ROOT
    host: bool = True
    fresh: bool = False
    time_scale: float = 0.1
    ports: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Part:
    """One process of a cloud: how it starts, the ports it must answer on, and how long it may take to end."""

    name: str
    start: Callable[[], Awaitable[asyncio.subprocess.Process]]
    ports: tuple[int, ...]
    grace: float


def prepare(options: Options) -> Cloud:
    """End what an earlier supervisor left, choose or recall the ports, and write everything that processes need."""
    home = options.root / ".local" / options.name
    if (pid := running(home)) is not None:
        raise CannotStart(
            f"the local cloud {options.name!r} is running already (process {pid}); "
            f"end it with `sluice down --name {options.name}`, or choose another --name"
        )
    clear_left_over(home)
    if options.fresh:
        shutil.rmtree(home, ignore_errors=True)
    known = json.loads((home / "cloud.json").read_text())["ports"] if (home / "cloud.json").exists() else {}
    cloud = Cloud(options.name, ports.choose({**known, **options.ports}), options.root)
    ports.check(cloud.ports)
    certificates.prepare(cloud)
    cloud.save([dataclasses.asdict(Known.of("supervisor", os.getpid()))])
    return cloud


def running(home: Path) -> int | None:
    """The process id of the supervisor of the cloud in `home`, when it runs."""
    for known in saved_processes(home):
        if known.name == "supervisor" and known.process() is not None:
            return known.pid
    return None


def saved_processes(home: Path) -> list[Known]:
    """The processes that `cloud.json` names."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return [Known(**row) for row in json.loads((home / "cloud.json").read_text())["processes"]]
    return []


def clear_left_over(home: Path) -> list[str]:
    """End processes whose supervisor is gone; their names."""
    supervised = processes.written_down(home, GROUP)
    azurites = [known for known in supervised if known.name == "azurite"]
    others = [known for known in processes.written_down(home) if known not in azurites]
    # Azurite last, because the others write to it, and with time to save what it was told.
    ended = processes.end(home, others) + processes.end(home, azurites, grace=azurite.STOP_WITHIN)
    for group in (GROUP, "children"):
        processes.forget(home, group)
    return ended


class Supervisor:
    """The processes of one cloud."""

    def __init__(self, cloud: Cloud, options: Options, say: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._options = options
        self._say = say
        self._processes = Processes(cloud.home, GROUP)
        self._running: list[tuple[Part, asyncio.subprocess.Process]] = []
        self._guards: list[asyncio.Task[None]] = []
        self.failed = asyncio.Event()

    async def start(self) -> None:
        """Start all parts, each after the one before answers; `CannotStart` shows the log of the one that does not."""
        for part in self._parts():
            process = await part.start()
            self._running.append((part, process))
            await self._ready(part, process)
            self._save()
        self._guards = [asyncio.create_task(self._guard(place)) for place in range(len(self._running))]

    async def close(self) -> None:
        """End everything in reverse order."""
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        for part, process in reversed(self._running):
            await self._processes.stop(process, grace=part.grace)
        await self._processes.close()
        clear_left_over(self._cloud.home)
        self._cloud.save()

    def _parts(self) -> list[Part]:
        numbers = self._cloud.ports
        storage = tuple(numbers[f"azurite_{kind}"] for kind in ("blob", "queue", "table"))
        services = tuple(numbers[name] for name in SERVICES if name not in ELSEWHERE)
        parts = [
            Part("azurite", lambda: azurite.start(self._cloud, self._processes), storage, azurite.STOP_WITHIN),
            Part("services", self._start_services, services, 8.0),
        ]
        if self._options.host:
            parts.append(Part("functions", self._start_host, (numbers["functions"],), 8.0))
        return parts

    async def _start_services(self) -> asyncio.subprocess.Process:
        cloud = self._cloud
        scale = ["--time-scale", f"{self._options.time_scale:g}"]
        argv = ["-m", "localcloud.services", "--name", cloud.name, "--root", str(cloud.root), *scale]
        return await self._python("services", argv, cloud.trust())

    async def _start_host(self) -> asyncio.subprocess.Process:
        home = self._cloud.home
        argv = [
            "-m", "localcloud.functions_host", "--settings", str(home / "local.settings.json"), "--app", str(ROOT),
            "--port", str(self._cloud.ports["functions"]), "--state", str(home / "host"),
        ]  # fmt: skip
        # Settings give way to variables that are there already, and this machine's may hold real accounts.
        return await self._python("functions", argv, self._cloud.app_settings())

    async def _python(self, name: str, argv: list[str], env: Mapping[str, str]) -> asyncio.subprocess.Process:
        log = self._cloud.home / "logs" / f"{name}.log"
        whole = {"PYTHONUNBUFFERED": "1", **env}
        return await self._processes.start(name, [sys.executable, *argv], env=whole, cwd=ROOT, log=log)

    async def _ready(self, part: Part, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not all(ports.answers(port) for port in part.ports):
            if process.returncode is not None or time.monotonic() > deadline:
                what = "ended" if process.returncode is not None else f"did not answer within {READY_WITHIN:g} s"
                log = self._cloud.home / "logs" / f"{part.name}.log"
                raise CannotStart(f"the process {part.name!r} {what}; the end of {log}:\n{_tail(log)}")
            await asyncio.sleep(0.05)

    async def _guard(self, place: int) -> None:
        """Start a part again whenever it dies, and say so."""
        failures = 0
        while failures < STARTS:
            part, process = self._running[place]
            status = await process.wait()
            self._say(f"{part.name} died ({_cause(status)}); starting it again")
            began = time.monotonic()
            process = await part.start()
            self._running[place] = (part, process)
            try:
                await self._ready(part, process)
            except CannotStart as problem:
                failures += 1
                self._say(str(problem))
                await self._processes.stop(process)
                continue
            failures = 0
            self._save()
            self._say(f"{part.name} is back after {time.monotonic() - began:.1f} s (process {process.pid})")
        self._say(f"{part.name} did not come up {STARTS} times in a row: the local cloud ends. See its log.")
        self.failed.set()

    def _save(self) -> None:
        parts = [Known.of(part.name, process.pid) for part, process in self._running]
        self._cloud.save([dataclasses.asdict(one) for one in (Known.of("supervisor", os.getpid()), *parts)])


def _cause(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"


def _tail(log: Path, lines: int = 15) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
