"""End to end: from a delivery to a call of the backend, for each event and for each lane of 50; systems in turn."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import random
import statistics
import time
import uuid

from benchmarks.load import Event, commits, deliver
from benchmarks.report import Part, spread
from benchmarks.stage import Stage, say
from benchmarks.systems.system import SETTLE, System, Work

IN_FLIGHT, A_LANE, DUPLICATES, SECONDS = 32, 50, 0.1, 3.0
_LEAST = {Work.SINGLE: 1, Work.LANES: 4}
"""Lanes of 50 events that a round has at least."""

_WITHIN = 180.0


@dataclasses.dataclass(frozen=True)
class Run:
    """One round of one system."""

    rate: float
    """Calls of the backend a second where each event has its own, events a second where a lane has one."""
    p50: float
    cpu: float
    memory: float
    calls: int
    wrong: int
    """Events that were worked on twice or not at all."""


async def measure(stage: Stage) -> Part:
    """Both tables."""
    part = Part("End to end: from the delivery to the backend's call")
    part.note(
        f"{IN_FLIGHT} deliveries in flight, every tenth event sent twice; the backend, a loopback server, answers at",
        "once. Sluice calls it as a Databricks job (run-now, and a look at the finished run), the others in a step.",
        "Sluice does more for a run: it writes a manifest, looks until the backend says that the work has ended, and",
        "raises an event; the others are done with the call. CPU is of all processes of a system and its store, memory",
        "without Azurite; *wrong* counts events that were worked on twice or not at all.",
    )
    for work in (Work.SINGLE, Work.LANES):
        await _compare(stage, part, work)
    return part


async def _compare(stage: Stage, part: Part, work: Work) -> None:
    found: dict[str, list[Run]] = collections.defaultdict(list)
    counts: dict[str, int] = {}
    for turn in range(-1, stage.rounds):  # the first turn warms; each tells how many events make some seconds
        await stage.renew()
        await _once(stage, stage.sluice, work, A_LANE * _LEAST[work])
        for system in [stage.sluice, *stage.peers]:
            if work not in system.events:
                continue
            try:
                one = await _once(stage, system, work, counts.get(system.name, A_LANE * _LEAST[work]))
                counts[system.name] = _sized(stage, system, work, one.rate)
                if turn >= 0:
                    found[system.name].append(one)
                await system.rest()
            except Exception as problem:
                if system is stage.sluice:
                    raise
                stage.drop(system, problem)
        say(f"  end to end, {work.value}: " + (f"round {turn + 1} of {stage.rounds}" if turn >= 0 else "warm"))
    what = "runs/s" if work is Work.SINGLE else "events/s"
    part.table(work.value, what, "Sluice is", "p50 ms, event to call", "CPU ms an event", "memory MB", "calls", "wrong")
    ours = statistics.median(run.rate for run in found[stage.sluice.name])
    for name, runs in found.items():
        rate, wrong = statistics.median(run.rate for run in runs), sum(run.wrong for run in runs)
        middle = [statistics.median(getattr(run, field) for run in runs) for field in ("p50", "cpu", "memory", "calls")]
        cells = [f"{middle[0]:,.0f}", f"{middle[1]:.2f}", f"{middle[2]:.0f}", f"{middle[3]:.0f}"]
        part.row(name, spread([run.rate for run in runs], 1), f"{ours / rate:.2f} ×", *cells, wrong)  # noqa: RUF001 times
        part.facts[f"{work.name} {name}"] = rate
        part.facts[f"memory {name}"] = max(middle[2], part.facts.get(f"memory {name}", 0.0))
    if work is Work.LANES:
        part.note("A lane is worked on after a second of quiet, in every system; that second is taken off the time.")
        part.note("Prefect is not in this table: its automations count events, but hand one of them on, not the set.")


def _sized(stage: Stage, system: System, work: Work, rate: float) -> int:
    """How many events make a round of some seconds, in whole lanes."""
    wanted = rate * (1.0 if stage.quick else SECONDS)
    return A_LANE * int(max(_LEAST[work], min(system.events[work], wanted) // A_LANE))


async def _once(stage: Stage, system: System, work: Work, count: int) -> Run:
    events, expected = _events(work, count)
    sent_ids = [str(event["id"]) for event in events]
    seen, cpu = len(stage.stub.calls), system.cpu()
    began = time.perf_counter()
    one = await deliver(system.address(), system.requests(work, events), IN_FLIGHT)
    stage.keep(f"end to end, {system.name}", one.refused if system is stage.sluice else ())
    worked = await _worked(stage, system, seen, expected)
    took = max((at for times in worked.values() for at in times), default=time.perf_counter()) - began
    if work is Work.LANES:
        took = max(took - SETTLE, 0.05)
    first = dict(zip(reversed(sent_ids), reversed(one.sent), strict=True))
    waits = [times[0] - first[found] for found, times in worked.items()]
    wrong = sum(1 for name in expected if len(worked[name]) != 1)
    return Run(
        rate=(len(expected) - sum(1 for name in expected if not worked[name])) / took,
        p50=statistics.median(waits or [0.0]) * 1000,
        cpu=(system.cpu() - cpu) / len(expected) * 1000,
        memory=system.memory(),
        calls=len(stage.stub.calls) - seen,
        wrong=wrong,
    )


async def _worked(stage: Stage, system: System, seen: int, expected: set[str]) -> dict[str, list[float]]:
    """When each event was worked on, by the stub's calls; waits until all were, and then for one too many."""
    worked: dict[str, list[float]] = collections.defaultdict(list)
    deadline = time.monotonic() + _WITHIN
    last = False
    while not last:
        last = len(worked) == len(expected) or time.monotonic() > deadline
        await asyncio.sleep(0.5 if last else 0.05)
        for call in stage.stub.calls[seen:]:
            seen += 1
            for found in await system.ids(call.told):
                if found in expected:
                    worked[found].append(call.at)
    return worked


def _events(work: Work, count: int) -> tuple[list[Event], set[str]]:
    lanes = count if work is Work.SINGLE else count // A_LANE
    events = commits(count, lanes, work.name.lower(), f"e{uuid.uuid4().hex[:6]}-")
    ids = {str(event["id"]) for event in events}
    dice = random.Random(count)
    for event in dice.sample(events, int(count * DUPLICATES)):
        events.insert(dice.randrange(events.index(event), len(events)) + 1, event)
    return events, ids
