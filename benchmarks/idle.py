"""Idle latency: one event after a while of nothing, with the shipped polling settings; and what the polling costs."""

from __future__ import annotations

import asyncio
import json
import random
import time

from benchmarks import ground
from benchmarks.counting import PRICES, Relay
from benchmarks.ground import Ground
from benchmarks.load import bodies, commits, deliver, lake_mix, post
from benchmarks.report import Part, spread
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION
from benchmarks.systems.system import System, Work
from localcloud.cloud import ROOT

EVENTS, WATCHED = 20, 30.0
_A_MONTH = 30.4 * 86_400
_WITHIN = 60.0


async def measure(stage: Stage) -> Part:
    """The table; the systems take turns."""
    part = Part("Idle: one event after some seconds of nothing")
    shipped = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))["extensions"]["queues"]
    polling = f"maxPollingInterval {shipped['maxPollingInterval']}"
    count, gap = (4, 2.0) if stage.quick else (EVENTS, 4.0)
    found: dict[str, list[float]] = {}
    dice = random.Random(1)
    for number in range(count):
        for system in [stage.sluice, *stage.peers]:
            await asyncio.sleep(dice.uniform(0.3, gap) / (1 + len(stage.peers)))
            try:
                found.setdefault(system.name, []).append(await _once(stage, system))
            except TimeoutError as problem:
                if system is stage.sluice:
                    raise
                stage.drop(system, problem)
        if number % 10 == 9:
            say(f"  idle: {number + 1} of {count}")
    part.table("", "p50 ms, event to backend call", "p90 ms", "most")
    for name, waits in found.items():
        waits.sort()
        part.row(name, spread(waits), f"{waits[int(len(waits) * 0.9)]:,.0f}", f"{waits[-1]:,.0f}")
        part.facts[f"idle {name}"] = waits[len(waits) // 2]
    part.note(*await _polling(stage, polling))
    return part


async def _once(stage: Stage, system: System) -> float:
    """Milliseconds from sending an event to the backend's call."""
    seen = len(stage.stub.calls)
    [event] = commits(1, 1, "single", f"i{time.time_ns()}-")
    began = time.perf_counter()
    await deliver(system.address(), system.requests(Work.SINGLE, [event]), 1)
    while len(stage.stub.calls) == seen:
        if time.perf_counter() - began > _WITHIN:
            raise TimeoutError(f"{system.name} did not call within {_WITHIN:.0f} s")
        await asyncio.sleep(0.001)
    return (stage.stub.calls[seen].at - began) * 1000


async def _polling(stage: Stage, polling: str) -> list[str]:
    """What a host that has nothing to do asks of a new store, at public prices."""
    watched = 6.0 if stage.quick else WATCHED
    new = Ground("bench-idle", stage.stub)
    try:
        await asyncio.to_thread(new.start)
        relay = Relay(new.cloud)
        [host] = (await asyncio.to_thread(new.hosts, 1, relay)).all
        address = await asyncio.to_thread(ground.address, host)
        await deliver(address, [post(address, body, NOTIFICATION) for body in bodies(lake_mix(2), 1)], 1)
        await asyncio.sleep(5.0)
        before = relay.counts.copy()
        await asyncio.sleep(watched)
        counts = relay.counts - before
    finally:
        await asyncio.to_thread(new.end)
    a_month = {kind: count / watched * _A_MONTH for kind, count in counts.items()}
    looks = a_month.get("queue looks", 0.0) + a_month.get("queue", 0.0)
    cost = sum(number * PRICES[kind] / 1e6 for kind, number in a_month.items())
    others = [
        f"{number / 1e6:.2f} million of kind {kind}" for kind, number in sorted(a_month.items()) if "queue" not in kind
    ]
    return [
        f"An idle instance with the shipped polling ({polling}, four queues, a sweep twice a minute) makes",
        f"{looks / 1e6:.1f} million queue operations a month, and {', '.join(others) or 'nothing'} besides:",
        f"${cost:.2f} a month for storage, at public prices. *host* are the leases of the Functions host itself.",
    ]
