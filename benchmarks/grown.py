"""Growth: accept and `explain` on a store that has lived, beside a new one."""

from __future__ import annotations

import asyncio
import collections
import statistics
import time
import urllib.error
import urllib.request
import uuid

from benchmarks import ground
from benchmarks.ground import Ground
from benchmarks.load import Round, blob_event, bodies, commits, deliver, lake_mix, post
from benchmarks.report import Part, spread
from benchmarks.seed import Seed
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION
from chaos.hosts import Host

EVENTS, LANES = 1_000_000, 100_000
_EXPLAIN_WITHIN, _INDEXED_WITHIN = 60.0, 180.0


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
        found: dict[str, list[Round]] = collections.defaultdict(list)
        for _ in range(2):  # the first connects and warms
            await _round(stage, hosts[small], 200)
            await _round(stage, hosts[large], 200)
        for turn in range(stage.rounds):
            for name, one in (("a new store", small), ("the grown store", large)):
                found[name].append(await _round(stage, hosts[one], 100 if stage.quick else 1000))
            say(f"  growth: round {turn + 1} of {stage.rounds}")
        _tell(part, found)
        await _explain(stage, part, hosts[large], ids)
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
    return await Seed(large, matching, other).grow(events, lanes)


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


async def _explain(stage: Stage, part: Part, host: Host, ids: list[str]) -> None:
    """Each id once; the first ones are asked again until the index, which a timer builds, has them."""
    key, _ = ground.keys(host)
    waited, taken, answer = time.monotonic(), [], ""
    while True:
        took, answer = await asyncio.to_thread(_ask, host, ids[0], key)
        if (answer == "200" and took < 1000) or stage.quick or time.monotonic() - waited > _INDEXED_WITHIN:
            break
        await asyncio.sleep(5.0)
    for event_id in ids[1 : 1 + (3 if took > 5000 else 9)]:
        took, answer = await asyncio.to_thread(_ask, host, event_id, key)
        taken.append(took)
    part.table("`explain` over HTTP on the grown store", "ms", "answers")
    part.row("an event of one of its lanes", spread(taken), answer)
    part.facts["explain"] = statistics.median(taken)


def _ask(host: Host, event_id: str, key: str) -> tuple[float, str]:
    request = urllib.request.Request(
        f"{host.cloud.url('functions')}/api/explain/{event_id}", headers={"x-functions-key": key}
    )
    began = time.perf_counter()
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_EXPLAIN_WITHIN) as one:
            one.read()
            answer = str(one.status)
    except urllib.error.HTTPError as error:
        answer = str(error.code)
    except OSError:
        answer = f"none within {_EXPLAIN_WITHIN:.0f} s"
    return (time.perf_counter() - began) * 1000, answer
