"""Accept: deliveries to the webhook of the running host, beside Azurite's own inserts and the other systems."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
from collections.abc import Awaitable, Callable

from benchmarks import inserts
from benchmarks.load import Round, bodies, commits, deliver, lake_mix, post
from benchmarks.report import Part, spread
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION
from benchmarks.systems.system import System, Work

RAW = "Azurite has the row; no fsync, no journal, no rules, no dedupe"
WITHIN, LOAD, _WARM = 1.5, 6000, 128
"""A round begins no delivery after so many seconds, and has so many events at most; so many warm it."""

LAKE = "99 of 100 match nothing"


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table: what is sent, and how."""

    name: str
    means: str
    once: Callable[[], Awaitable[Round]]
    fact: str = ""
    system: System | None = None
    warm: Callable[[], Awaitable[Round]] | None = None
    """Opens its lanes and connections, before each round."""


async def measure(stage: Stage) -> Part:
    """The table of accept: the cases take turns, each handful on an empty store."""
    part, found = Part("Accept: acknowledged events a second"), dict[str, list[Round]]()
    handfuls = [[*_raw(stage), *map(_peer, stage.peers), *_ours(stage, stage.in_flight[0])]]
    handfuls += [_ours(stage, in_flight) for in_flight in stage.in_flight[1:]]
    for turn in range(stage.rounds):
        for cases in handfuls:
            await stage.renew()
            for case in cases:
                if case.system in (None, stage.sluice, *stage.peers):
                    await _take(stage, case, found)
        say(f"  accept: round {turn + 1} of {stage.rounds}")
    _tell(part, [case for cases in handfuls for case in cases if case.name in found], found)
    return part


async def _take(stage: Stage, case: Case, found: dict[str, list[Round]]) -> None:
    """One round of one case; a peer that fails is not asked any more."""
    try:
        if case.warm is not None:
            await case.warm()
        one = await case.once()
    except Exception as problem:
        if case.system is None or case.system is stage.sluice:
            raise
        stage.drop(case.system, problem)
        return
    found.setdefault(case.name, []).append(one)
    stage.keep(f"accept, {case.name}", one.refused if case.system is stage.sluice else ())
    if case.system is not None:
        await case.system.rest()


def _tell(part: Part, cases: list[Case], found: dict[str, list[Round]]) -> None:
    base = statistics.median(one.rate for one in found[cases[0].name])
    part.table("", "events/s", "to inserts", "p50 ms", "p99 ms", "refused", "acknowledged means")
    for case in cases:
        rounds = found[case.name]
        rates = [one.rate for one in rounds]
        p50, p99 = (statistics.median(getattr(one, name) for one in rounds) for name in ("p50", "p99"))
        refused = sum(len(one.refused) for one in rounds)
        ratio = statistics.median(rates) / base
        part.row(case.name, spread(rates), f"{ratio:.2f}", f"{p50:.1f}", f"{p99:.1f}", refused, case.means)
        if case.fact:
            part.facts |= {case.fact: statistics.median(rates), f"{case.fact} p50": p50, f"{case.fact} p99": p99}


def _raw(stage: Stage) -> list[Case]:
    connection, within = stage.ground.connection, _within(stage)
    return [
        Case("azure-data-tables (aio), an insert an event, 32 in flight", RAW,
             lambda: inserts.singles(connection, within), "inserts"),
        Case("azure-data-tables (aio), transactions of 100, 8 in flight", RAW,
             lambda: inserts.transactions(connection, within), "transactions"),
    ]  # fmt: skip


def _peer(peer: System) -> Case:
    async def sent(count: int) -> Round:
        return await deliver(peer.address(), peer.requests(Work.LAKE, lake_mix(count)), 32, 1, WITHIN)

    name, count = f"{peer.name}, single, {LAKE}, 32 in flight", peer.events[Work.LAKE]
    means = f"{peer.means}; {peer.stored}"
    return Case(name, means, lambda: sent(count), f"accept {peer.name}", peer, lambda: sent(min(count, _WARM)))


def _ours(stage: Stage, in_flight: int) -> list[Case]:
    means, found = f"{stage.sluice.means}; {stage.sluice.stored}", []
    for batch, lanes in itertools.product((1, 64), (0, 1, 20, 200)):
        kind = f"all match, {lanes} lane{'s' * (lanes > 1)}" if lanes else LAKE
        form = "single" if batch == 1 else "batches of 64"
        name, fact = f"Sluice, {form}, {kind}, {in_flight} in flight", f"accept {form}, {kind}, {in_flight}"
        count = 320 if stage.quick else max(LOAD, batch * in_flight)
        sent = _sender(stage, lanes, batch, in_flight)
        warm = functools.partial(sent, max(_WARM, 2 * lanes))
        found.append(Case(name, means, functools.partial(sent, count), fact, stage.sluice, warm))
    return found


def _sender(stage: Stage, lanes: int, batch: int, in_flight: int) -> Callable[[int], Awaitable[Round]]:
    """Sends so many events; each row of the table has lanes of its own."""

    async def sent(count: int) -> Round:
        events = commits(count, lanes, name=f"t{batch}-") if lanes else lake_mix(count)
        address = stage.sluice.address()
        requests = [post(address, body, NOTIFICATION) for body in bodies(events, batch)]
        return await deliver(address, requests, in_flight, batch, _within(stage))

    return sent


def _within(stage: Stage) -> float:
    return 0.5 if stage.quick else WITHIN
