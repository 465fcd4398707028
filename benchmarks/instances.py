"""Many instances: eight host processes on one store, with one hot lane between them, and with two hundred."""

from __future__ import annotations

import asyncio
import collections

from benchmarks import ground
from benchmarks.load import Round, bodies, commits, deliver, post
from benchmarks.report import Part, spread
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION

HOSTS, AT_EACH = 8, 16


async def measure(stage: Stage) -> Part:
    """The table, one host beside eight."""
    count, many = (200, 2) if stage.quick else (1600, HOSTS)
    part = Part(f"Many instances: {many} host processes on one store")
    part.note(f"Single deliveries that all match, {AT_EACH} in flight at each host; they share the machine's cores.")
    found: dict[str, list[Round]] = collections.defaultdict(list)
    async with stage.hosts(many) as hosts:
        addresses = [await asyncio.to_thread(ground.address, host) for host in hosts]
        for address in addresses:
            await _once(stage, [address], 1, 32)
        for turn in range(stage.rounds):
            for lanes in (1, 200):
                for used in (addresses[:1], addresses):
                    what = "one hot lane" if lanes == 1 else f"{lanes} lanes"
                    name = f"{what}, 1 host" if len(used) == 1 else f"{what}, {len(used)} hosts"
                    found[name].append(await _once(stage, used, lanes, count))
            say(f"  many instances: round {turn + 1} of {stage.rounds}")
    part.table("", "events/s", "p50 ms", "p99 ms", "refused")
    for name, rounds in found.items():
        p50, p99 = spread([one.p50 for one in rounds], 1), spread([one.p99 for one in rounds], 1)
        part.row(name, spread([one.rate for one in rounds]), p50, p99, sum(len(one.refused) for one in rounds))
    return part


async def _once(stage: Stage, addresses: list[str], lanes: int, count: int) -> Round:
    """One round over several hosts as if they were one."""
    share = count // len(addresses)
    sent = [[post(address, body, NOTIFICATION) for body in bodies(commits(share, lanes), 1)] for address in addresses]
    rounds = await asyncio.gather(
        *(deliver(address, requests, AT_EACH, 1, 4.0) for address, requests in zip(addresses, sent, strict=True))
    )
    refused = tuple(one for each in rounds for one in each.refused)
    stage.keep("many instances", refused)
    slowest = min(each.rate for each in rounds) * len(addresses)
    return Round(slowest, max(each.p50 for each in rounds), max(each.p99 for each in rounds), refused)
