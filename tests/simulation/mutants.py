"""Planted faults: each breaks one rule of the product, and the simulation must notice.

A fault is a piece of a function's source and what stands there instead; it is compiled into the module's own names
and put in the function's place for as long as it is needed.  The files are not touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import multiprocessing
import textwrap
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from shared import (
    flow,
    intake,
    lanes,
    leases,
    limits,
    observations,
    release_analysis,
    release_traffic,
    requests,
    runs,
)
from shared.actions import quality
from shared.adapters import memory
from shared.commands import Commands
from shared.control_plane import ControlPlane
from shared.intake import Intake
from shared.late_events import LateEvents
from shared.retirement import Retirement
from shared.run_steps import RunSteps
from tests.simulation.simulation import simulate


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A planted fault; `known` is a seed that has noticed it, which is tried first where few do."""

    name: str
    owner: Any
    function: str
    old: str
    new: str
    known: int = 0


MUTANTS = (
    Mutant("acknowledge before the lanes have it", intake, "_answer",
           "if isinstance(answer, BaseException):", "if False:"),
    Mutant("acknowledge before the journal has it", Intake, "_commit",
           "references = await self._journal.append([item.record(self._routes.digest) for item in items])",
           "asyncio.ensure_future(self._journal.append([item.record(self._routes.digest) for item in items]))\n"
           "    references = ['memory@0' for _ in items]"),
    Mutant("no fence: absorb into a closed generation", memory.MemoryLanes, "absorb",
           "if rows is None or rows.lane.generation != generation:", "if rows is None:"),
    Mutant("no dedupe rows", memory.MemoryLanes, "absorb",
           "for event in events if event.identity in rows.seen", "for event in events if False"),
    Mutant("no ETag when a run is saved", memory.MemoryLanes, "save_run",
           "if str(runs[run.generation][1]) != version:", "if False:"),
    Mutant("no ETag at hand-over", memory.MemoryLanes, "_current",
           "if str(rows.version) != version:", "if False:"),
    Mutant("hand-over does not close the generation", memory.MemoryLanes, "hand_over",
           "rows.lane, rows.version, rows.open = lane, rows.version + 1, None",
           "rows.version, rows.open = rows.version + 1, None"),
    Mutant("the end does not free the slot", ControlPlane, "_end", "lanes.freed(lane, run, carries=carries)", "lane"),
    Mutant("a token without its attempt", runs, "token", "|{attempt}", "|1"),
    Mutant("a token drawn anew at each call", RunSteps, "_start",
           "request = run.request or {}",
           "request = {**(run.request or {}), 'token': str(self._world.clock.now())}"),
    Mutant("the slot is freed at submit", RunSteps, "_start",
           "return runs.started(run, remote, self._world.clock.now())",
           "return runs._end(run, runs.Phase.SUCCEEDED, 'submitted', now)"),
    Mutant("an unknown start is treated as failed", RunSteps, "_start",
           "return runs.unstarted(run, str(error), now, error.retry_after, route.start_timeout)",
           "return runs.refused(run, str(error), now)"),
    Mutant("a start that nobody has answered frees its slot in the end", runs, "unstarted",
           "run = dataclasses.replace(run, ending=Ending(EndingKind.TIMEOUT,",
           "return _end(run, Phase.FAILED, 'given up', now, ending=Ending(EndingKind.TIMEOUT,", known=176),
    Mutant("an unknown state is treated as failed", RunSteps, "_observe",
           "return runs.unobserved(run, str(error), now, error.retry_after)",
           "return runs.observed(run, Observation(Status.FAILED, 'lost'), now, route.retry)"),
    Mutant("another attempt before the last is final", RunSteps, "_observe",
           "return runs.unobserved(run, str(error), now, error.retry_after)",
           "return runs.observed(run, Observation(Status.FAILED, 'lost', runs.Failure.TRANSIENT), now, route.retry)"),
    Mutant("a timeout ends a run without cancelling", RunSteps, "take",
           "return runs.cancelling(run, route.timeout, now)",
           "return runs._failed(run, 'too long', runs.Failure.TIMEOUT, now, route.retry)"),
    Mutant("the record is deleted on an exception", ControlPlane, "_steps_of",
           "moved = run if step is Step.SLEEP else self._steps.take(step, run, route, now, left)",
           "try:\n            moved = run if step is Step.SLEEP else self._steps.take(step, run, route, now, left)\n"
           "        except Unavailable:\n"
           "            rows = self._world.lanes._rows\n"
           "            rows[LaneKey(run.route, run.key)].runs.pop(run.generation, None)\n            raise"),
    Mutant("a duplicate does not ring", Intake, "_absorb", "if first or joins:",
           "if (first or joins) and absorbed.fresh:"),
    Mutant("the event is told before the end is stored", ControlPlane, "_steps_of",
           "run, (version, left) = moved, self._end(moved, version, route, known)",
           "self._steps.take(Step.EMIT, moved, route, now)\n"
           "            run, (version, left) = moved, self._end(moved, version, route, known)"),
    Mutant("the end is stored, its event never due", runs, "_end", "event_due=True", "event_due=False"),
    Mutant("the ring's number is not checked", ControlPlane, "advance", "if ring.number != run.ring_no:", "if False:"),
    Mutant("a message that is too old is sent again", ControlPlane, "advance",
           'return f"dropped', 'self._world.bells.ring_run(ring, _AGAIN)\n        return f"dropped'),
    Mutant("the lane's ring number is not checked", ControlPlane, "_wake",
           "if ring.generation != lane.generation or ring.number not in (ANY, lane.ring_no):", "if False:"),
    Mutant("the sweep looks at lanes and not at their runs", ControlPlane, "_look",
           "found = due.generation and self._world.lanes.run(due.lane, due.generation)", "found = None"),
    Mutant("no due row for a generation", Intake, "_absorb",
           "await asyncio.to_thread(self._due.insert, Due(self._clock.now() + look + GRACE, lane, generation))",
           "pass"),
    Mutant("the sweep forgets what it has looked at", ControlPlane, "_sweep", "if next_at is not None:", "if False:"),
    Mutant("equal ids of a group are not folded", Intake, "_commit",
           "list(by_lane[lane].values())", "list(by_lane[lane].values()) * 2"),
    Mutant("no lease for calls that no token makes safe", RunSteps, "exclusive", "action.exclusive", "False"),
    Mutant("an own event gets a new id each time it is told", RunSteps, "_tell",
           "self._intake.submit(", "event['id'] += str(self._world.clock.now())\n    self._intake.submit("),
    Mutant("a run ends without a word", runs, "told", "event_due=False", "event_due=False, phase=Phase.RUNNING"),
    Mutant("a superseded set is forgotten", lanes, "freed",
           "if carries else lane.carried", "if False else lane.carried"),
    Mutant("a set that is asked for again forgets what it carried", Commands, "force_new", "*run.carries, ", ""),
    Mutant("superseding a run that has just ended fails the handler", ControlPlane, "_follow",
           "contextlib.suppress(ValueError)", "contextlib.nullcontext()", known=623),
    Mutant("the limit of a route is not kept", limits, "taken",
           "if len(limit.holders) + len(others) >= most:", "if False:"),
    Mutant("a lane takes one slot too many", flow, "full", ">= flow.concurrency", "> flow.concurrency"),
    Mutant("what needs approval starts without", RunSteps, "_prepare", "chain, now, route.approval)", "chain, now)"),
    Mutant("the set of a missed join is forgotten", lanes, "missed_over",
           "(*lane.carried, lane.generation)", "lane.carried"),
    Mutant("a key fires again and again", flow, "_ready", "flow.once and lane.fired is not None", "False"),
    Mutant("the second end of a run has the id of the first", requests, "own_event_ids", "{first}-{end}", "{first}"),
    Mutant("an admitted run stays in the line", lanes, "admitted", "_without(lane, generation)", "lane"),
    Mutant("another attempt of what may have started", runs, "next_attempt",
           "if run.remote and not _given_up(run) else run.attempt", "if True else 0", known=281),
    Mutant("an early end frees what may still live", runs, "ended_early",
           "if run.phase not in (Phase.STARTING, Phase.RUNNING):", "if True:"),
    Mutant("what comes late is not looked up in the index", LateEvents, "absorb",
           "if late else {}", "if False else {}"),
    Mutant("dedupe rows are retired without their copies", Retirement, "_let_go", "if entries:", "if False:"),
    Mutant("what QA has seen is not compared with what evaluate predicted", quality, "_compared",
           "if difference <= limits.tolerance:", "if True:"),
    Mutant("the way back does not give the traffic back", release_traffic, "wanted",
           'if "failure" not in progress:', "if True:"),
    Mutant("what was not measured is a success", release_analysis, "judge", "if not open_:", "if True:"),
    Mutant("a lease is not looked at by who makes calls", leases, "of_another",
           'if run.leased_by in ("", holder)', 'if True or run.leased_by in ("", holder)'),
    Mutant("pages go before their set is written down", Retirement, "_copy",
           "if events and run.manifest is None:", "if False:", known=556),
)  # fmt: skip


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Plant a fault for a while.  Raises LookupError where the product has changed and the fault no longer fits."""
    right = getattr(mutant.owner, mutant.function)
    source = textwrap.dedent(inspect.getsource(right))
    if source.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: {mutant.function} holds {mutant.old!r} {source.count(mutant.old)} times")
    made: dict[str, Any] = {}
    names = (inspect.getmodule(right) or mutant.owner).__dict__
    code = compile("from __future__ import annotations\n" + source.replace(mutant.old, mutant.new), mutant.name, "exec")
    exec(code, names | {"Observation": observations.Observation, "Status": observations.Status}, made)
    with mock.patch.object(mutant.owner, mutant.function, made[mutant.function]):
        yield


def hunt(mutant: Mutant, seeds: range) -> tuple[int | None, str]:
    """The first seed that notices, and the sentence that is not true; None when the fault survives."""
    with planted(mutant):
        for seed in (mutant.known, *seeds):
            try:
                said, _ = simulate(seed)
            except Exception as error:  # what cannot even be simulated has been noticed, but not by a check
                return None, f"the simulator itself failed on seed {seed}: {error!r}"
            if said:
                return seed, said
    return None, "survives"


def _row(job: tuple[int, int]) -> tuple[int, int | None, str]:
    number, seeds = job
    try:
        return (number, *hunt(MUTANTS[number], range(seeds)))
    except LookupError as error:
        return number, None, f"no longer fits the product, mend it: {error}"


def table(seeds: int, tell: Callable[[str], None]) -> int:
    """Hunt every planted fault, print the table; answers how many survived."""
    survivors = 0
    with multiprocessing.Pool() as pool:
        for number, seed, said in pool.imap(_row, [(number, seeds) for number in range(len(MUTANTS))]):
            survivors += seed is None
            caught = f"seed {seed}" if seed is not None else "SURVIVES"
            tell(f"{number + 1:3}  {MUTANTS[number].name:50}  {caught:10}  {said[:110]}")
    tell(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} planted faults caught within {seeds} seeds each")
    return survivors
