"""Child processes: started in sessions of their own, ended with all that they started."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil

from localcloud import processes
from localcloud.processes import Processes

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
{then}
"""


async def start(owner: Processes, folder: Path, then: str) -> tuple[asyncio.subprocess.Process, int]:
    argv = [sys.executable, "-c", PARENT.format(then=then)]
    log = folder / f"{then[:4]}.log"
    process = await owner.start("parent", argv, env={"EXTRA": "1"}, cwd=folder, log=log)
    async with asyncio.timeout(10):
        while not (said := log.read_text()).endswith("\n"):
            await asyncio.sleep(0.02)
    return process, int(said)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def gone(*pids: int) -> None:
    """What was killed is gone as soon as the kernel comes to it."""
    async with asyncio.timeout(10):
        while any(map(alive, pids)):
            await asyncio.sleep(0.02)


async def test_stopping_a_process_ends_its_children_and_its_note(tmp_path: Path) -> None:
    owner = Processes(tmp_path)
    process, child = await start(owner, tmp_path, "time.sleep(60)")
    assert [known.pid for known in processes.written_down(tmp_path)] == [process.pid]
    await owner.stop(process)
    await gone(process.pid, child)
    assert processes.written_down(tmp_path) == []


async def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    owner = Processes(tmp_path)
    process, child = await start(owner, tmp_path, "import signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    await owner.stop(process, grace=0.3)
    assert process.returncode == -9
    assert not alive(child)


async def test_what_a_finished_process_left_behind_is_ended(tmp_path: Path) -> None:
    owner = Processes(tmp_path)
    process, child = await start(owner, tmp_path, "sys.exit(7)")
    assert await process.wait() == 7
    await owner.close()
    async with asyncio.timeout(5):
        while alive(child):
            await asyncio.sleep(0.02)


async def test_notes_suffice_to_end_a_process_and_its_orphans(tmp_path: Path) -> None:
    owner = Processes(tmp_path)
    process, child = await start(owner, tmp_path, "time.sleep(60)")
    known = processes.written_down(tmp_path)
    assert await asyncio.to_thread(processes.end, tmp_path, known) == ["parent"]
    assert not alive(process.pid)
    assert not alive(child)
    await owner.close()
