"""Growth: accept and `explain` on a store that has lived, beside a new one."""

from __future__ import annotations

import asyncio
import collections
import statistics
import time
import urllib.error
import urllib.request
import uuid

import psutil

from benchmarks import ground
from benchmarks.ground import Ground
from benchmarks.load import Round, blob_event, bodies, commits, deliver, lake_mix, post
from benchmarks.report import Part, spread
from benchmarks.seed import Seed
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION
from chaos.hosts import Host

EVENTS, LANES = 1_000_000, 100_000
_WITHIN, _LONG = 60.0, 5000.0
_STILL, _TICKS = 3.0, 6


async def measure(stage: Stage) -> Part:
    """Two stores in memory, one of them grown; they take turns."""
    events, lanes = (5_000, 500) if stage.quick else (EVENTS, LANES)
    part = Part(f"Growth: {events:,} events in the journal, {lanes:,} lanes with a live dedupe row each")
    small = Ground("bench-new", stage.stub, in_memory=True)
    large = Ground("bench-grown", stage.stub, in_memory=True)
    await asyncio.to_thread(stage.sluice.pause)
    try:
        for one in (small, large):
            await asyncio.to_thread(one.start)
        hosts = {one: (await asyncio.to_thread(one.hosts)).all[0] for one in (small, large)}
        began = time.monotonic()
        ids = await _grow(large, hosts[large], events, lanes)
        say(f"  growth: seeded in {time.monotonic() - began:.0f} s")
        await _tend(hosts[large])
        found: dict[str, list[Round]] = collections.defaultdict(list)
        for _ in range(2):  # the first connects and warms
            await _round(stage, hosts[small], 200)
            await _round(stage, hosts[large], 200)
        for turn in range(stage.rounds):
            for name, one in (("a new store", small), ("the grown store", large)):
                found[name].append(await _round(stage, hosts[one], 100 if stage.quick else 1000))
            say(f"  growth: round {turn + 1} of {stage.rounds}")
        _tell(part, found)
        await _explain(part, hosts[large], ids)
    finally:
        for one in (small, large):
            await asyncio.to_thread(one.end)
        await stage.sluice.start()
    return part


def _tell(part: Part, found: dict[str, list[Round]]) -> None:
    part.note("Accepting nine events that match nothing for each that matches one of 20 lanes, 32 in flight, single.")
    part.note("Azurite keeps both stores in memory: saving the large one every five seconds would stop it for seconds.")
    part.table("", "events/s", "p50 ms", "p99 ms", "refused")
    for name, rounds in found.items():
        p50, p99 = spread([one.p50 for one in rounds], 1), spread([one.p99 for one in rounds], 1)
        part.row(name, spread([one.rate for one in rounds]), p50, p99, sum(len(one.refused) for one in rounds))
    new, grown = ([one.p50 for one in rounds] for rounds in found.values())
    ratio = statistics.median(after / before for before, after in zip(new, grown, strict=True))
    part.facts["growth"] = ratio - 1
    part.note(f"Round by round, the grown store's p50 is {ratio:.2f} of the new one's.")


async def _grow(large: Ground, host: Host, events: int, lanes: int) -> list[str]:
    address = await asyncio.to_thread(ground.address, host)
    matching, other = commits(1, 1, name="template-")[0], lake_mix(1)[0]
    for event in (matching, other):
        await deliver(address, [post(address, bodies([event], 1)[0], NOTIFICATION)], 1)
    return await asyncio.to_thread(Seed(large, matching, other).grow, events, lanes)


async def _tend(host: Host) -> None:
    """Let the app's upkeep, where it has one, do what such a journal gives it to do; a timer would in some minutes."""
    _, master = ground.keys(host)
    headers = {"x-functions-key": master, "Content-Type": "application/json"}
    address = f"{host.cloud.url('functions')}/admin/functions/upkeep"
    for _ in range(_TICKS):
        began = time.monotonic()
        request = urllib.request.Request(address, b'{"input": ""}', headers)
        status, _ = await asyncio.to_thread(_ask, request)
        if status != "202":
            return
        await _still(host)
        if time.monotonic() - began < 2 * _STILL:
            return


async def _still(host: Host) -> None:
    """Wait until a host has computed next to nothing for some seconds."""
    assert host.process is not None
    process, deadline = psutil.Process(host.process.pid), time.monotonic() + 300
    while time.monotonic() < deadline:
        before = process.cpu_times()
        await asyncio.sleep(_STILL)
        if process.cpu_times().user - before.user < 0.1 * _STILL:
            return


async def _round(stage: Stage, host: Host, count: int) -> Round:
    address = await asyncio.to_thread(ground.address, host)
    mixed = [
        blob_event("bronze", f"t/part-{uuid.uuid4()}.parquet")
        if number % 10
        else commits(1, 1, name=f"t{number // 10 % 20}-")[0]
        for number in range(count)
    ]
    one = await deliver(address, [post(address, body, NOTIFICATION) for body in bodies(mixed, 1)], 32, 1, 4.0)
    stage.keep("growth", one.refused)
    return one


async def _explain(part: Part, host: Host, ids: list[str]) -> None:
    """Each id once, the first one to warm; where an answer takes long, few of them."""
    key, _ = ground.keys(host)
    taken: list[float] = []
    for event_id in ids[:10]:
        began = time.perf_counter()
        address = f"{host.cloud.url('functions')}/api/explain/{event_id}"
        answer, _ = await asyncio.to_thread(_ask, urllib.request.Request(address, headers={"x-functions-key": key}))
        taken.append((time.perf_counter() - began) * 1000)
        if len(taken) > 2 and taken[-1] > _LONG:
            break
    taken = taken[1:] or taken
    part.table("`explain` over HTTP on the grown store", "ms", "answers")
    part.row("an event of one of its lanes", spread(taken), answer)
    part.facts["explain"] = statistics.median(taken)


def _ask(request: urllib.request.Request) -> tuple[str, bytes]:
    """The answer's status, or why there was none, and its body."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_WITHIN) as answer:
            return str(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return str(error.code), error.read()
    except OSError:
        return f"none within {_WITHIN:.0f} s", b""
