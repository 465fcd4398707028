"""Cost: storage operations a million events at low and at high load, at public prices, against Event Grid's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from benchmarks import ground
from benchmarks.counting import EVENT_GRID, PRICES, dollars
from benchmarks.load import Event, bodies, commits, deliver, lake_mix, post
from benchmarks.report import Part
from benchmarks.stage import Stage
from benchmarks.systems.sluice import NOTIFICATION

_BILLED = ("table", "queue", "blob writes", "blob reads")


async def measure(stage: Stage) -> Part:
    """The table."""
    share = 10 if stage.quick else 1
    part = Part("Cost: storage operations a million events")
    part.table("", *_BILLED, "$ a million events", "of Event Grid's own")
    async with stage.hosts(counted=True) as [host]:
        address = await asyncio.to_thread(ground.address, host)
        await _counted(stage, address, commits(20, 20), 1, 1)  # its lanes are known, and rung, from here on
        for name, make, count, batch, in_flight in _loads():
            count = max(batch, count // share)
            one = await _counted(stage, address, make(count), batch, in_flight)
            a_million = {kind: one[kind] / count * 1e6 for kind in _BILLED}
            cost = dollars(a_million)
            shown = [f"{a_million[kind]:,.0f}" for kind in _BILLED]
            part.row(name, *shown, f"{cost:.3f}", f"{cost / EVENT_GRID:.2f} ×")  # noqa: RUF001 a times sign
            part.facts[f"cost {name}"] = cost / EVENT_GRID
    prices = ", ".join(f"{kind} ${price:.3g}" for kind, price in PRICES.items() if kind in _BILLED)
    part.note(
        f"A million operations: {prices}; a transaction is one operation. Event Grid charges ${EVENT_GRID:.2f} for",
        "publishing and delivering a million events. Looks into queues are in *Idle*, runs are in *Storm*; executions,",
        "capacity and logs are not here.",
    )
    return part


def _loads() -> list[tuple[str, Callable[[int], list[Event]], int, int, int]]:
    return [
        ("low: a lake's mix, one event at a time", lake_mix, 400, 1, 1),
        ("low: all match, 20 lanes, one event at a time", lambda count: commits(count, 20), 200, 1, 1),
        ("high: a lake's mix, single, 512 in flight", lake_mix, 4000, 1, 512),
        ("high: a lake's mix, batches of 64, 32 in flight", lake_mix, 12_800, 64, 32),
        ("high: all match, 20 lanes, batches of 64, 32 in flight", lambda count: commits(count, 20), 6400, 64, 32),
    ]


async def _counted(stage: Stage, address: str, events: list[Event], batch: int, in_flight: int) -> Mapping[str, int]:
    before = stage.relay.counts.copy()
    sent = [post(address, body, NOTIFICATION) for body in bodies(events, batch)]
    one = await deliver(address, sent, in_flight, batch)
    stage.keep("cost", one.refused)
    await asyncio.sleep(1.0)
    return stage.relay.counts - before
