"""Cold start: indexing `function_app.py` against an empty function app, and the first event of a new host."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.load import deliver, lake_mix
from benchmarks.report import Part, spread
from benchmarks.stage import Stage
from benchmarks.systems.system import Work
from localcloud.cloud import ROOT

_EMPTY = "import azure.functions as func\n\napp = func.FunctionApp()\n"
_PROGRAM = (
    "import json, sys, time; t = time.perf_counter(); import function_app; function_app.app.get_functions(); "
    "print(json.dumps([(time.perf_counter() - t) * 1000, len(sys.modules)]))"
)


async def measure(stage: Stage) -> Part:
    """The table of cold starts."""
    part = Part("Cold start")
    found = await asyncio.to_thread(_indexes, max(stage.rounds, 5))
    empty = statistics.median(taken for taken, _ in found["an empty app"])
    part.table("", "ms", "to an empty app", "modules")
    for name, results in found.items():
        taken = [one for one, _ in results]
        ratio = statistics.median(taken) / empty
        part.row(f"index of {name}", spread(taken), f"{ratio:.2f}", results[0][1])
        part.facts[f"index of {name}"] = ratio
    first, second = [], []
    for _ in range(stage.rounds):
        one, other = await _first(stage)
        first.append(one)
        second.append(other)
    part.row("first event after it (connects to storage, imports its clients)", spread(first), "", "")
    part.row("second event", spread(second), "", "")
    return part


def _indexes(rounds: int) -> Mapping[str, list[tuple[float, int]]]:
    """Both apps, turn and turn about; the first turn warms the disk's cache and does not count."""
    found: dict[str, list[tuple[float, int]]] = {"`function_app.py`": [], "an empty app": []}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "function_app.py").write_text(_EMPTY)
        for turn in range(rounds + 1):
            for name, place in (("`function_app.py`", ROOT), ("an empty app", Path(folder))):
                result = _index(place)
                if turn:
                    found[name].append(result)
    return found


def _index(folder: Path) -> tuple[float, int]:
    """Milliseconds and modules of one index, in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=folder, capture_output=True, text=True, check=True)
    taken, modules = json.loads(done.stdout)
    return taken, modules


async def _first(stage: Stage) -> tuple[float, float]:
    """Milliseconds of the first and of the second event of a new host."""
    await asyncio.to_thread(stage.sluice.pause)
    await stage.sluice.start()
    taken = []
    for event in lake_mix(2):
        began = time.perf_counter()
        await deliver(stage.sluice.address(), stage.sluice.requests(Work.LAKE, [event]), 1)
        taken.append((time.perf_counter() - began) * 1000)
    return taken[0], taken[1]
