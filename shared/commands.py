"""What a person may do to a run: cancel or abandon it, work on it or on its set again, approve it, reject it."""

from __future__ import annotations

import dataclasses
import datetime as dt

from shared import lanes, requests, runs
from shared.errors import Conflict, NotFound, Unavailable
from shared.intake import GRACE
from shared.lanes import LaneKey
from shared.phases import APPROVE, REJECT, Decision, Ending, EndingKind, Phase
from shared.ports import Due, Ring
from shared.routing import Routes
from shared.run_moves import move
from shared.runs import Run
from shared.world import World

_TRIES = 10
SOMEBODY = "an operator"


class Commands:
    """Each answers what was done.  Raises NotFound; ValueError when the run is not one to which this can be done;
    Conflict when it moves just now; Unavailable.
    """  # fmt: skip

    def __init__(self, *, routes: Routes, world: World) -> None:
        self._routes, self._world = routes, world

    def cancel(self, run_id: str, by: str = SOMEBODY) -> str:
        """Cancel a run, its remote work too."""
        run, _ = self._named(run_id)
        lane = LaneKey(run.route, run.key)
        return self.end_early(lane, run.generation, Ending(EndingKind.CANCELLED, f"{by} cancelled it"))

    def abandon(self, run_id: str, by: str = SOMEBODY) -> str:
        """End a run that was asked to end and whose backend does not answer; its slot is free."""
        run, version = self._named(run_id)
        abandoned = runs.abandoned(run, by, self._world.clock.now())
        self._save(abandoned, version)
        self._ring_run(abandoned)
        return f"run {run_id} is {abandoned.phase}: {abandoned.reason}"

    def retry(self, run_id: str, by: str = SOMEBODY) -> str:
        """Another attempt of a run that has failed or was cancelled, on the same set, when its lane has a slot."""
        run, version = self._named(run_id)
        fault = self._not_again(run)
        if fault:
            raise ValueError(f"run {run_id} {fault}")
        if run.event_due:
            raise Conflict(f"the end of run {run_id} is being told")
        route, now = self._routes.named(run.route), self._world.clock.now()
        request = requests.numbered(run.request or {}, self._world.lanes.store_id, run, runs.next_attempt(run))
        asked = runs.reopened(run, request, f"{by} asked for another attempt", now, route.approval if route else None)
        asked = dataclasses.replace(asked, asked_by=by)
        self._guard(run)
        move(self._world.lanes, asked, version, lambda lane: lanes.reopened(lane, asked))
        self._ring_lane(asked)
        return f"run {run_id} is {asked.phase}: attempt {asked.attempt}"

    def force_new(self, run_id: str, by: str = SOMEBODY) -> str:
        """Work on the set of a run that has ended in a new one, with whatever its lane has collected."""
        run, _ = self._named(run_id)
        if not run.phase.final:
            raise ValueError(f"run {run_id} is {run.phase}: wait for its end, or cancel it")
        found = self._world.lanes.lane(LaneKey(run.route, run.key))
        if found is None:
            raise NotFound(f"run {run_id} has no lane any more")
        lane = lanes.asked(found[0], by, *run.carries, run.generation)
        self._world.due.insert(Due(self._world.clock.now() + GRACE, lane.name, lane.generation))
        self._world.lanes.save_lane(lane, found[1])
        self._ring_lane(run)
        return f"the set of run {run_id} joins generation {lane.generation} of its lane"

    def approve(self, run_id: str, by: str, note: str = "") -> str:
        """Let a run start that waits to be approved, or tell its action that a person agrees."""
        return self._decide(run_id, APPROVE, by, note)

    def reject(self, run_id: str, by: str, note: str = "") -> str:
        """End a run that waits to be approved, or tell its action that a person does not agree."""
        return self._decide(run_id, REJECT, by, note)

    def end_early(self, lane: LaneKey, generation: int, ending: Ending) -> str:
        """Mark a run as ending and ring it; whoever drives it now loses its write and drops out."""
        for _ in range(_TRIES):
            found = self._world.lanes.run(lane, generation)
            if found is None:
                raise NotFound(f"lane {lane.route}/{lane.key} has no run of generation {generation}")
            ended = runs.ended_early(found[0], ending, self._world.clock.now())
            try:
                self._save(ended, found[1])
            except Conflict:
                continue
            self._ring_run(ended)
            return f"run {ended.id} is {ended.phase}: {ending.reason}"
        raise Unavailable(f"run {lane.route}/{lane.key}/{generation} moves too fast to be stopped; try again")

    def _decide(self, run_id: str, verdict: str, by: str, note: str) -> str:
        run, version = self._named(run_id)
        now = self._world.clock.now()
        decision = Decision(verdict, by, now, note)
        if not by:
            raise ValueError("who decides? a decision carries a name")
        if run.asked_by == by and verdict == APPROVE:
            raise ValueError(f"{by} has asked for run {run_id}: somebody else must approve it")
        if run.phase is Phase.RUNNING and run.progress.get("asks"):
            decided = runs.decided(run, decision, now)
            self._world.lanes.save_run(decided, version)
            self._ring_run(decided)
            return f"run {run_id} is told: {decision.sentence}"
        if run.phase is not Phase.APPROVAL:
            raise ValueError(f"run {run_id} is {run.phase}: it asks nothing of a person")
        return self._approved(run, version, decision, now)

    def _approved(self, run: Run, version: str, decision: Decision, now: dt.datetime) -> str:
        if decision.verdict == REJECT:
            rejected = runs.rejected(run, decision, now)
            self._save(rejected, version)
            self._ring_run(rejected)
            return f"run {run.id} is {rejected.phase}: {rejected.reason}"
        approved = runs.approved(run, decision, now)
        self._guard(run)
        move(self._world.lanes, approved, version, lambda lane: lanes.approved(lane, run.generation))
        self._ring_lane(approved)
        return f"run {run.id} is {approved.phase}: {approved.reason}"

    def _not_again(self, run: Run) -> str:
        """Why a run cannot have another attempt; empty when it can."""
        new = "force a new run of its set instead"
        if run.phase not in (Phase.FAILED, Phase.CANCELLED):
            return f"is {run.phase}: only what has failed or was cancelled is tried again; {new}"
        if run.ending and run.ending.kind is EndingKind.SUPERSEDED:
            return f"was superseded, and its set has joined the next one; {new}"
        return "" if run.request else f"ended before its request was frozen; {new}"

    def _save(self, run: Run, version: str) -> None:
        if not run.phase.final:
            self._world.lanes.save_run(run, version)
            return
        carries = self._routes.policy(run.route).carries
        move(self._world.lanes, run, version, lambda lane: lanes.freed(lane, run, carries=carries))

    def _guard(self, run: Run) -> None:
        """Have the sweep look after a run that leaves its rest, and after its lane."""
        at, lane = self._world.clock.now() + GRACE, LaneKey(run.route, run.key)
        self._world.due.insert(Due(at, lane))
        self._world.due.insert(Due(at, lane, run.generation))

    def _ring_lane(self, run: Run) -> None:
        found = self._world.lanes.lane(LaneKey(run.route, run.key))
        if found is not None:
            self._world.bells.ring_lane(Ring(found[0].name, found[0].generation, found[0].ring_no))

    def _ring_run(self, run: Run) -> None:
        self._world.bells.ring_run(Ring(LaneKey(run.route, run.key), run.generation, run.ring_no))

    def _named(self, run_id: str) -> tuple[Run, str]:
        listed = self._world.lanes.named(run_id)
        found = self._world.lanes.run(LaneKey(listed.route, listed.key), listed.generation) if listed else None
        if found is None:
            raise NotFound(f"there is no run {run_id!r}")
        return found
