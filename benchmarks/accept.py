"""Accept: deliveries to the webhook of the running host, beside Azurite's own inserts and the other systems."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Awaitable, Callable

from benchmarks import inserts
from benchmarks.load import Event, Round, bodies, commits, deliver, lake_mix, post
from benchmarks.report import Part, spread
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION
from benchmarks.systems.system import System, Work

RAW = "Azurite has the row; no fsync, no journal, no rules, no dedupe"
WITHIN, LOAD = 1.5, 6000
"""A round begins no delivery after so many seconds, and has so many events at most."""

LAKE = "99 of 100 match nothing"


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table: what is sent, and how."""

    name: str
    means: str
    once: Callable[[], Awaitable[Round]]
    fact: str = ""
    system: System | None = None


async def measure(stage: Stage) -> Part:
    """The table of accept: the cases take turns."""
    part, found = Part("Accept: acknowledged events a second"), dict[str, list[Round]]()
    cases = _cases(stage)
    for turn in range(-1, stage.rounds):  # the first turn warms connections and lanes
        for case in cases:
            if case.system not in (None, stage.sluice, *stage.peers):
                continue
            try:
                one = await case.once()
            except Exception as problem:
                if case.system is None or case.system is stage.sluice:
                    raise
                stage.drop(case.system, problem)
                continue
            if turn >= 0:
                found.setdefault(case.name, []).append(one)
            stage.keep(f"accept, {case.name}", one.refused if case.system is stage.sluice else ())
            if case.system is not None:
                await case.system.rest()
        say(f"  accept: round {turn + 1} of {stage.rounds}" if turn >= 0 else "  accept: warm")
    _tell(part, [case for case in cases if case.name in found], found)
    return part


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


def _cases(stage: Stage) -> list[Case]:
    connection, within = stage.ground.connection, 0.5 if stage.quick else WITHIN
    found = [
        Case("azure-data-tables (aio), an insert an event, 32 in flight", RAW,
             lambda: inserts.singles(connection, within), "inserts"),
        Case("azure-data-tables (aio), transactions of 100, 8 in flight", RAW,
             lambda: inserts.transactions(connection, within), "transactions"),
        *(_peer(peer) for peer in stage.peers),
    ]  # fmt: skip
    means = f"{stage.sluice.means}; {stage.sluice.stored}"
    for in_flight, batch, lanes in itertools.product(stage.in_flight, (1, 64), (0, 1, 20, 200)):
        kind = f"all match, {lanes} lane{'s' * (lanes > 1)}" if lanes else LAKE
        make = _all(lanes, f"t{in_flight}-{batch}-") if lanes else lake_mix
        count = 320 if stage.quick else max(LOAD, batch * in_flight)
        form = "single" if batch == 1 else "batches of 64"
        name, fact = f"Sluice, {form}, {kind}, {in_flight} in flight", f"accept {form}, {kind}, {in_flight}"
        found.append(Case(name, means, _ours(stage, make, count, batch, in_flight, within), fact, stage.sluice))
    return found


def _all(lanes: int, name: str) -> Callable[[int], list[Event]]:
    """Each row of the table has lanes of its own: Azurite looks for a row among all that its partition holds."""
    return lambda count: commits(count, lanes, name=name)


def _ours(
    stage: Stage, make: Callable[[int], list[Event]], count: int, batch: int, in_flight: int, within: float
) -> Callable[[], Awaitable[Round]]:
    address = stage.sluice.address()

    async def once() -> Round:
        sent = [post(address, body, NOTIFICATION) for body in bodies(make(count), batch)]
        return await deliver(address, sent, in_flight, batch, within)

    return once


def _peer(peer: System) -> Case:
    async def once() -> Round:
        count = peer.events[Work.LAKE]
        return await deliver(peer.address(), peer.requests(Work.LAKE, lake_mix(count)), 32, 1, WITHIN)

    name = f"{peer.name}, single, {LAKE}, 32 in flight"
    return Case(name, f"{peer.means}; {peer.stored}", once, f"accept {peer.name}", peer)
