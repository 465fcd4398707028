"""Runs: what one costs in storage operations, from its delivery to the telling of its end, request by request."""

from __future__ import annotations

import asyncio
import time

from benchmarks import ground
from benchmarks.load import bodies, commits, deliver, post
from benchmarks.report import Part
from benchmarks.stage import Stage
from benchmarks.systems.sluice import NOTIFICATION

EVENTS, IN_FLIGHT, _WITHIN, _SWEPT = 200, (1, 32), 120.0, 100.0
_NOT_OURS = ("host", "queue looks")


async def measure(stage: Stage) -> Part:
    """The table."""
    part = Part("Runs: storage operations of a run for each event")
    part.note(
        "Counted by a relay between host and Azurite, from the delivery until the sweep has let go of the run;",
        "a transaction is one operation, looks into empty queues are left out, appends are shared by a group.",
    )
    part.table("", *(f"{number} in flight" for number in IN_FLIGHT))
    found = []
    async with stage.hosts(counted=True) as [host]:
        address = await asyncio.to_thread(ground.address, host)
        await _counted(stage, address, 5, 1)
        for in_flight in IN_FLIGHT:
            found.append(await _counted(stage, address, EVENTS // (5 if in_flight == 1 else 1), in_flight))
    for name in sorted({name for one in found for name in one}):
        part.row(name, *(f"{one.get(name, 0.0):.2f}" for one in found))
    part.row("**all**", *(f"{sum(one.values()):.1f}" for one in found))
    for in_flight, one in zip(IN_FLIGHT, found, strict=True):
        part.facts[f"operations of a run, {in_flight}"] = sum(one.values())
    return part


async def _counted(stage: Stage, address: str, count: int, in_flight: int) -> dict[str, float]:
    before, seen = stage.relay.requests.copy(), len(stage.stub.calls)
    events = commits(count, count, "single")
    await deliver(address, [post(address, body, NOTIFICATION) for body in bodies(events, 1)], in_flight)
    deadline = time.monotonic() + _WITHIN
    while len(stage.stub.calls) - seen < count and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(5.0 if stage.quick else _SWEPT)
    asked = stage.relay.requests - before
    return {name: number / count for name, number in asked.items() if name.partition(":")[0] not in _NOT_OURS}
