"""The intake's storage adapters, before and after: `python -m benchmarks.intake_adapters --before <older checkout>`.

Events a second through `Intake.receive` on one Azurite, without the Functions host.  Each measurement is a process of
its own that imports `shared` from one of the two checkouts; the two take turns, so that they share the machine's moods.
Azurite answers from memory.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.load import bodies, commits, lake_mix
from tests.azurites import Azurite, azurite_program

ROOT = Path(__file__).resolve().parents[1]
LANES = 20
LOADS = ("matching", "mix")
IN_FLIGHT = {32: 3000, 512: 8000}
ROUTES = {
    "routes": {
        "accept": {
            "events": ["Microsoft.Storage.BlobCreated"],
            "subject": "/blobServices/default/containers/bronze/blobs/{table}/_delta_log/{version:20d}.json",
            "key": "{table}",
            "settle": "2h",
            "settle_max": "2h",
            "action": "emit",
            "emits": {"type": "Bench.Accepted", "subject": "tables/{key}"},
        }
    }
}


class _Now:
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


def _measure(connection: str, load: str, in_flight: int) -> dict[str, Any]:
    """In a process of one side, on the event loop on which its store has its connections."""
    from shared.adapters.azure_store import open_store
    from shared.settings import Storage

    storage, none = Storage("sluicestore", connection), lambda: None
    try:
        from shared.event_loop import EventLoop
    except ImportError:  # an older checkout, whose store lives on the loop that uses it
        return asyncio.run(_load(open_store(storage, _Now(), none, none), load, in_flight))
    loop = EventLoop()
    return loop.wait(_load(open_store(storage, _Now(), loop, none, none), load, in_flight))


async def _load(store: Any, load: str, in_flight: int) -> dict[str, Any]:
    """Warm the lanes up, then keep `in_flight` receives going until all are acknowledged."""
    import shared
    from shared.intake import Intake
    from shared.route_file import read

    routes = read(ROUTES, "routes.yaml", {"emit": lambda _: []}, frozenset())
    intake = Intake(
        routes=routes, journal=store.journal, lanes=store.lane_intake, due=store.due, bells=store.bells, clock=_Now()
    )
    name, count = uuid.uuid4().hex[:8], IN_FLIGHT[in_flight]
    for first in bodies(commits(LANES, LANES, name=name), 1):
        await intake.receive("bench", [first])
    events = commits(count, LANES, name=name) if load == "matching" else lake_mix(count, LANES)
    waiting = iter(bodies(events, 1))

    async def sender() -> None:
        for body in waiting:
            await intake.receive("bench", [body])

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(sender() for _ in range(in_flight)))
    took, used = time.perf_counter() - began, time.process_time() - cpu
    return {"rate": count / took, "cpu": used / count * 1000, "from": str(Path(shared.__file__).parents[1])}


def _run(checkout: Path, connection: str, load: str, in_flight: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.intake_adapters", "--worker", connection, load, str(in_flight)]
    environment = os.environ | {"PYTHONPATH": f"{checkout}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    if Path(answer["from"]) != checkout:
        raise SystemExit(f"measured {answer['from']} instead of {checkout}")
    return answer


def _told(runs: list[dict[str, Any]]) -> str:
    rates = [run["rate"] for run in runs]
    cpu = statistics.median(run["cpu"] for run in runs)
    return f"{statistics.median(rates):,.0f} [{min(rates):,.0f}-{max(rates):,.0f}] ({cpu:.2f})"


def _compare(before: Path, rounds: int) -> list[str]:
    program = azurite_program()
    if program is None:
        raise SystemExit("Azurite is not installed: run `make setup`")
    packages = ("aiohttp", "azure-data-tables", "azure-storage-blob")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    lines = [
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}; {rounds} rounds; median [least-most] (CPU ms an event)",
        "| load | in flight | before, events/s | after, events/s | ratio |",
        "|---|---|---|---|---|",
    ]
    for load in LOADS:
        for in_flight in IN_FLIGHT:
            sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
            for number in range(rounds):
                with tempfile.TemporaryDirectory() as folder:
                    azurite = Azurite(program, Path(folder))
                    azurite.start()
                    for side in (0, 1) if number % 2 else (1, 0):
                        sides[side].append(_run((before, ROOT)[side], azurite.connection_string(), load, in_flight))
                    azurite.stop()
            ratio = statistics.median(b["rate"] / a["rate"] for a, b in zip(*sides, strict=True))
            lines.append(f"| {load} | {in_flight} | {_told(sides[0])} | {_told(sides[1])} | {ratio:.1f} |")
            print(lines[-1], file=sys.stderr, flush=True)  # noqa: T201 a command
    return lines


def main() -> None:
    """Compare two checkouts, or be one of the processes that are compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout to compare this one with, such as a git worktree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        connection, load, in_flight = options.worker
        print(json.dumps(_measure(connection, load, int(in_flight))))  # noqa: T201 a command
    elif options.before:
        print("\n".join(_compare(options.before.resolve(), options.rounds)))  # noqa: T201 a command
    else:
        parser.error("--before is needed: the checkout to compare with")


if __name__ == "__main__":
    main()
