"""The only orchestration: receive, wake, advance, sweep.

Handlers write the truth first, then send the next message, then return.  A message carries a key and its number; the
truth holds the current number, and an older message is dropped, so chains cannot multiply.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import logging
import uuid
from collections.abc import Sequence

from shared import lanes, runs
from shared.errors import Conflict, NotFound, Unavailable
from shared.intake import GRACE, IntakeLoop, Receipt
from shared.lanes import Lane, LaneKey
from shared.ports import Due, Ring
from shared.routing import Route, Routes
from shared.run_steps import RunSteps
from shared.runs import Ending, EndingKind, Phase, Run, Step
from shared.world import World

_AGAIN = dt.timedelta(seconds=5)
_LONGEST_HOP = dt.timedelta(days=6)
_TRIES = 10
_EXCLUSIVE = frozenset({Step.START, Step.OBSERVE})


class ControlPlane:
    """Decides with the pure core, and does what was decided through the ports of its world."""

    def __init__(self, *, routes: Routes, intake: IntakeLoop, world: World) -> None:
        self._routes, self._intake, self._world = routes, intake, world
        self._steps = RunSteps(intake, world)

    # -- receive ---------------------------------------------------------------------------------------------------

    async def receive(self, origin: str, payloads: Sequence[str | bytes]) -> list[Receipt]:
        """Take in raw deliveries.  Raises Unavailable when the sender must send again."""
        return await asyncio.wrap_future(self._intake.submit(origin, payloads))

    # -- wake ------------------------------------------------------------------------------------------------------

    def wake(self, ring: Ring, *, redelivered: bool = False) -> str:
        """Decide what becomes of a lane's open generation; answers what was done.

        `redelivered` says that a handler which had this message before has died: what it may not have sent is sent.
        """
        try:
            return self._wake(ring, redelivered)
        except Conflict as lost:
            return f"somebody else was faster: {lost}"
        except Unavailable as error:
            self._world.bells.ring_lane(ring, _AGAIN)
            return f"again in {_AGAIN}: {error}"

    def _wake(self, ring: Ring, redelivered: bool) -> str:
        found = self._world.lanes.lane(ring.lane)
        if found is None:
            return "no such lane"
        lane, version = found
        if (ring.generation, ring.number) != (lane.generation, lane.ring_no):
            if redelivered:
                self._send_on(ring, lane)
            at = f"{lane.generation}/{lane.ring_no}"
            return f"dropped: the lane is at {at}, the ring at {ring.generation}/{ring.number}"
        now = self._world.clock.now()
        route = self._routes.named(lane.route)
        flow = route.flow if route else lanes.Flow()
        decision = lanes.decide(lane, self._world.lanes.collected(ring.lane, lane.generation), flow, now)
        if isinstance(decision, lanes.Wait):
            waiting = lanes.waiting(lane, decision.until)
            self._world.lanes.save_lane(waiting, version)
            self._ring_lane(waiting, decision.until - now)
        elif isinstance(decision, lanes.Start):
            run = runs.opened(lane.route, lane.key, lane.generation, decision.reason, now, lane.carried)
            self._hand_over(lanes.handed_over(lane), version, run, now)
        elif isinstance(decision, lanes.Skip):
            run = runs.opened(lane.route, lane.key, lane.generation, decision.reason, now)
            self._hand_over(lanes.skipped_over(lane), version, runs.passed_over(run, decision.reason, now), now)
        elif isinstance(decision, lanes.Supersede):
            with contextlib.suppress(ValueError):  # the run has ended meanwhile, and its end rings the lane
                self._end_early(LaneKey(lane.route, lane.key), lane.slot or 0, EndingKind.SUPERSEDED, decision.reason)
        return decision.reason

    def _send_on(self, ring: Ring, lane: Lane) -> None:
        """Send what follows a message whose handler has died after it wrote the truth; one too many is dropped."""
        if (ring.generation, ring.number + 1) == (lane.generation, lane.ring_no) and lane.wake_at:
            self._ring_lane(lane, lane.wake_at - self._world.clock.now())
        found = self._world.lanes.run(lane.name, ring.generation)
        if found and found[0].alive:
            self._ring_run(found[0], dt.timedelta(0))

    def _hand_over(self, lane: Lane, version: str, run: Run, now: dt.datetime) -> None:
        self._world.due.insert(Due(now + GRACE, lane.name, run.generation))
        self._world.lanes.hand_over(lane, version, run)
        self.advance(_ring(run))

    # -- ending early, and again -------------------------------------------------------------------------------------

    def cancel(self, run_id: str) -> str:
        """Cancel a run, its remote work too; answers what was done.  Raises NotFound, ValueError when it has ended."""
        run = self._named(run_id)
        return self._end_early(
            LaneKey(run.route, run.key), run.generation, EndingKind.CANCELLED, "an operator cancelled it"
        )

    def retry(self, run_id: str) -> str:
        """Work on the set of a run that has ended badly again, together with whatever its lane has collected.

        Raises NotFound; ValueError when the run has succeeded or has not ended; Conflict when the lane is busy moving.
        """
        run = self._named(run_id)
        if not run.phase.final or run.phase is Phase.SUCCEEDED:
            raise ValueError(
                f"run {run_id} is {run.phase}: only a run that has failed or was stopped is worked on again"
            )
        found = self._world.lanes.lane(LaneKey(run.route, run.key))
        if found is None:
            raise NotFound(f"run {run_id} has no lane any more")
        lane = lanes.asked(found[0], *run.carries, run.generation)
        self._world.due.insert(Due(self._world.clock.now() + GRACE, lane.name))
        self._world.lanes.save_lane(lane, found[1])
        self._ring_lane(lane, dt.timedelta(0))
        return f"the set of run {run_id} joins generation {lane.generation} of its lane"

    def _named(self, run_id: str) -> Run:
        found = next((run for run in self._world.lanes.all_runs() if run.id == run_id), None)
        if found is None:
            raise NotFound(f"there is no run {run_id!r}")
        return found

    def _end_early(self, lane: LaneKey, generation: int, kind: EndingKind, reason: str) -> str:
        """Mark a run as ending and ring it; whoever drives it now loses its write and drops out."""
        for _ in range(_TRIES):
            found = self._world.lanes.run(lane, generation)
            if found is None:
                raise NotFound(f"lane {lane.route}/{lane.key} has no run of generation {generation}")
            ended = runs.ended_early(found[0], Ending(kind, reason), self._world.clock.now())
            try:
                if ended.phase.final:
                    self._world.lanes.end_run(ended, found[1])
                else:
                    self._world.lanes.save_run(ended, found[1])
            except Conflict:
                continue
            self._ring_run(ended, dt.timedelta(0))
            return f"run {ended.id} is {ended.phase}: {reason}"
        raise Unavailable(f"run {lane.route}/{lane.key}/{generation} moves too fast to be stopped; try again")

    # -- advance ---------------------------------------------------------------------------------------------------

    def advance(self, ring: Ring, *, redelivered: bool = False) -> str:
        """Move a run on as far as it goes now; answers where it stands.  `redelivered`: see `wake`."""
        try:
            found = self._world.lanes.run(ring.lane, ring.generation)
            if found is None:
                return "no such run"
            run, version = found
            if ring.number != run.ring_no:
                if redelivered and ring.number + 1 == run.ring_no and run.alive:
                    self._ring_run(run, run.next_at - self._world.clock.now())
                return f"dropped: the run is at {run.ring_no}, the ring at {ring.number}"
            return self._drive(run, version)
        except Conflict as lost:
            return f"somebody else was faster: {lost}"
        except Unavailable as error:
            self._world.bells.ring_run(ring, _AGAIN)
            return f"again in {_AGAIN}: {error}"

    def _drive(self, run: Run, version: str) -> str:
        route, holder = self._routes.named(run.route) or _orphan(run), uuid.uuid4().hex[:12]
        while True:
            now = self._world.clock.now()
            step = runs.step(run, now, route.timeout)
            if step in _EXCLUSIVE and self._steps.exclusive(run):
                held_until = runs.lease_of_another(run, holder, now)
                if held_until is not None:
                    self._world.bells.ring_run(_ring(run), held_until - now)
                    return f"held by another until {held_until.isoformat(timespec='seconds')}"
                run = runs.leased(run, holder, now)
                version = self._world.lanes.save_run(run, version)
            if step is Step.REST:
                return f"{run.phase}: {run.reason}"
            if step is Step.SLEEP:
                run = runs.rung(run)
                self._world.lanes.save_run(run, version)
                self._ring_run(run, run.next_at - now)
                return f"{run.phase}: {run.reason}"
            moved = self._steps.take(step, run, route, now)
            if moved.phase.final and not run.phase.final:
                self._world.lanes.end_run(moved, version)
                self._steps.note_end(moved)
                run, version = self._reread(moved)
            else:
                run, version = moved, self._world.lanes.save_run(moved, version)

    # -- sweep -----------------------------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Ring whatever should have moved and has not; answers how many were rung."""
        now = self._world.clock.now()
        rung = 0
        for due in list(self._world.due.overdue(now)):
            try:
                rung += self._sweep(due, now)
            except Unavailable:
                raise
            except Exception:  # one damaged row must not keep the sweep from the others; it is looked at again
                logging.exception("the sweep cannot look at %s/%s, %s", due.lane.route, due.lane.key, due.generation)
        return rung

    def _sweep(self, due: Due, now: dt.datetime) -> bool:
        next_at, stalled = self._look(due, now)
        if next_at is not None:
            self._world.due.insert(dataclasses.replace(due, at=next_at + GRACE, row=""))
        if stalled is not None:
            (self._world.bells.ring_lane if due.generation is None else self._world.bells.ring_run)(stalled)
        self._world.due.delete(due)
        return stalled is not None

    def _look(self, due: Due, now: dt.datetime) -> tuple[dt.datetime | None, Ring | None]:
        """When to look again (None: never), and the ring that is owed (None: nothing has stalled)."""
        if due.generation is not None:
            found = self._world.lanes.run(due.lane, due.generation)
            if found is None or not found[0].alive:
                return None, None
            run = found[0]
            late = run.next_at <= now
            return max(now, run.next_at), Ring(due.lane, due.generation, run.ring_no) if late else None
        row = self._world.lanes.lane(due.lane)
        if row is None:
            return None, None
        lane = row[0]
        if not lane.asked and self._world.lanes.collected(due.lane, lane.generation) is None:
            return None, None
        if lane.slot is not None or (lane.wake_at and lane.wake_at > now):
            return max(now, lane.wake_at or now), None
        return now, Ring(due.lane, lane.generation, lane.ring_no)

    # -- small things ----------------------------------------------------------------------------------------------

    def _ring_run(self, run: Run, delay: dt.timedelta) -> None:
        self._world.bells.ring_run(_ring(run), min(delay, _LONGEST_HOP))

    def _ring_lane(self, lane: Lane, delay: dt.timedelta) -> None:
        self._world.bells.ring_lane(Ring(lane.name, lane.generation, lane.ring_no), min(delay, _LONGEST_HOP))

    def _reread(self, run: Run) -> tuple[Run, str]:
        found = self._world.lanes.run(LaneKey(run.route, run.key), run.generation)
        if found is None:
            raise NotFound(f"run {run.id} has no row any more")
        return found


def _ring(run: Run) -> Ring:
    return Ring(LaneKey(run.route, run.key), run.generation, run.ring_no)


def _orphan(run: Run) -> Route:
    """Stands in for a route that the file no longer has: what was started is still seen through."""
    return Route(run.route, frozenset(), "", str((run.request or {}).get("action")), {})
