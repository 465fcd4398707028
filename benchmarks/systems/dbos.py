"""DBOS: workflows in a Starlette app, on SQLite or on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.load import Event, post
from benchmarks.systems import environment
from benchmarks.systems.peer import Peer, free_port
from benchmarks.systems.system import NotHere, Work

_PACKAGES = ("dbos==3.4.0", "psycopg[binary]==3.3.9", "starlette==1.10.0", "uvicorn==0.54.0")


class DBOS(Peer):
    """DBOS on SQLite, its default."""

    name = "DBOS, SQLite"
    means = "the workflow (or the message to it) is in the database"
    stored = "fsync (SQLite's default)"
    events: ClassVar[Mapping[Work, int]] = {Work.LAKE: 2000, Work.SINGLE: 1000, Work.LANES: 2000}

    async def start(self) -> None:
        """See `System`."""
        python = await asyncio.to_thread(environment.python, "dbos", _PACKAGES)
        self.versions = "dbos 3.4.0"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._port = free_port()
        self.serve(python, "dbos_service", self._port, {"BENCH_DATABASE": await self.database()})
        await self.answers(f"{self.address()}/")

    async def database(self) -> str:
        """Its database's address; started when it needs to be."""
        return f"sqlite:///{self.folder / 'dbos.sqlite'}"

    def address(self) -> str:
        """See `System`."""
        return f"http://127.0.0.1:{self._port}"

    def requests(self, work: Work, events: Sequence[Event]) -> list[bytes]:
        """See `System`."""
        path = f"{self.address()}/{work.name.lower()}"
        return [post(path, json.dumps(event).encode()) for event in events]


class DBOSPostgres(DBOS):
    """DBOS on a PostgreSQL of its own, with PostgreSQL's default settings."""

    name = "DBOS, PostgreSQL"
    stored = "fsync"
    events: ClassVar[Mapping[Work, int]] = {Work.LAKE: 2000, Work.SINGLE: 1000, Work.LANES: 2000}

    async def database(self) -> str:
        """See `DBOS`."""
        programs = _postgres()
        user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        data = Path("/tmp" if user else self.folder) / f"sluice-bench-postgres-{os.getpid()}"
        self._data, port = data, free_port()
        data.mkdir(mode=0o700)
        if user:
            os.chown(data, user, -1)
        made = await asyncio.create_subprocess_exec(
            programs / "initdb", "--pgdata", data, "--username", "bench", "--auth", "trust", "--encoding", "UTF8",
            cwd=data.parent, user=user, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await made.communicate()
        if made.returncode:
            raise NotHere(f"initdb failed: {said.decode().strip().splitlines()[-1]}")
        command = [programs / "postgres", "-D", data, "-p", port, "-k", data, "-h", "127.0.0.1"]
        self.spawn("postgres", command, {"TZ": "UTC"}, user)
        ask = [programs / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "-c", "create database dbos"]
        for _ in range(100):
            quiet = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
            if await (await asyncio.create_subprocess_exec(*ask, "postgres", **quiet)).wait() == 0:
                self.versions += f", PostgreSQL {programs.parent.name}"
                return f"postgresql://bench@127.0.0.1:{port}/dbos"
            await asyncio.sleep(0.1)
        raise NotHere("PostgreSQL did not come up")

    def end(self) -> None:
        """See `System`."""
        super().end()
        if hasattr(self, "_data"):
            shutil.rmtree(self._data, ignore_errors=True)


def _postgres() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise NotHere("there is no PostgreSQL on this machine (Debian: postgresql)")
    return Path(on_path).resolve().parent
