"""The processes of a local cloud: started in sessions of their own, written down, and ended for certain.

A process is known by its id *and* its time of creation, so that ending a cloud never touches a stranger who was given
the same id later.  What is written down survives a `kill -9` of whoever started it: the next `up` or `down` ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "SLUICE_LOCAL_CLOUD"
"""Variable that every process of a cloud inherits; its value is the folder of the cloud's state."""

GRACE = 3.0
"""Seconds between asking a process to end and killing it."""


@dataclasses.dataclass(frozen=True)
class Known:
    """One process that a cloud started."""

    name: str
    pid: int
    created: float

    @classmethod
    def of(cls, name: str, pid: int) -> Known:
        """The running process `pid`; `created` is 0 when it has ended already."""
        try:
            return cls(name, pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(name, pid, 0.0)

    def process(self) -> psutil.Process | None:
        """The process itself, when it still runs and is still the same one."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < 0.02 and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return found if same else None


class Processes:
    """Starts child processes for one service or supervisor, and ends them."""

    def __init__(self, home: Path, group: str = "children") -> None:
        self._home = home
        self._folder = home / "processes" / group
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._running: dict[int, asyncio.subprocess.Process] = {}

    async def start(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> asyncio.subprocess.Process:
        """Start `argv` in a session of its own, with `env` added to this process's, its output appended to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=_inherited() | dict(env) | {MARK: str(self._home)},
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        note = self._folder / f"{process.pid}.json"
        note.write_text(json.dumps(dataclasses.asdict(Known.of(name, process.pid))), encoding="utf-8")
        self._running[process.pid] = process
        self._watchers[process.pid] = asyncio.create_task(self._watch(process, note))
        return process

    async def stop(self, process: asyncio.subprocess.Process, *, grace: float = GRACE) -> None:
        """Ask the process and its group to end, and kill what is left after `grace` seconds."""
        watcher = self._watchers.get(process.pid)
        if watcher is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(watcher), grace)
        except TimeoutError:
            _signal_group(process.pid, signal.SIGKILL)
            await watcher

    async def close(self) -> None:
        """Stop everything that still runs."""
        await asyncio.gather(*(self.stop(process) for process in list(self._running.values())))

    async def _watch(self, process: asyncio.subprocess.Process, note: Path) -> None:
        await process.wait()
        # What a finished process left behind in its group has nobody to end it later.
        _signal_group(process.pid, signal.SIGKILL)
        note.unlink(missing_ok=True)
        self._running.pop(process.pid, None)
        self._watchers.pop(process.pid, None)


def written_down(home: Path, group: str = "*") -> list[Known]:
    """The processes that were started for the cloud in `home` (by `group`) and not seen ending."""
    found = []
    for note in sorted((home / "processes").glob(f"{group}/*.json")):
        with contextlib.suppress(ValueError, TypeError, OSError):
            found.append(Known(**json.loads(note.read_text(encoding="utf-8"))))
    return found


def end(home: Path, known: Iterable[Known], *, grace: float = GRACE) -> list[str]:
    """End the given processes of the cloud in `home` with all their descendants; the names of those that still ran."""
    names: list[str] = []
    targets: dict[int, psutil.Process] = {}
    for one in known:
        family = {process.pid: process for process in _family(home, one)}
        if family:
            names.append(one.name)
        targets |= family
    alive = _ask(targets.values(), psutil.Process.terminate, grace)
    _ask(alive, psutil.Process.kill, grace)
    return names


def forget(home: Path, group: str) -> None:
    """Remove the notes about processes of `group`, after they were ended."""
    for note in (home / "processes" / group).glob("*.json"):
        note.unlink(missing_ok=True)


def _family(home: Path, known: Known) -> Iterator[psutil.Process]:
    """The process, its descendants, and orphans of its session, which carry the cloud's mark."""
    leader = known.process()
    if leader is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield from leader.children(recursive=True)
        yield leader
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == known.pid and process.environ().get(MARK) == str(home):
                yield process


def wait_until_ended(waited: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes, also for those that only their parent has still to notice; those that run on."""
    deadline = time.monotonic() + seconds
    alive = [process for process in waited if _runs(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [process for process in alive if _runs(process)]
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ask(asked: Iterable[psutil.Process], send: Callable[[psutil.Process], None], grace: float) -> list[psutil.Process]:
    """Send each process what ends it; those that still run after `grace` seconds."""
    targets = list(asked)
    for process in targets:
        with contextlib.suppress(psutil.Error):
            send(process)
    return wait_until_ended(targets, grace)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _inherited() -> dict[str, str]:
    """This process's variables, but for the one that azure-ai-ml sets in whoever used it: it names another cloud."""
    return {name: value for name, value in os.environ.items() if name != "AZUREML_CURRENT_CLOUD"}
