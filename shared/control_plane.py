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
from typing import Any

from shared import early_rings, flow, lanes, leases, runs
from shared.commands import Commands
from shared.errors import Conflict, Unavailable
from shared.flow import Admit, Decision, Start
from shared.intake import GRACE, LONGEST_HOP, Receipt
from shared.intake_loop import IntakeLoop
from shared.lanes import Collected, Lane, LaneKey
from shared.phases import Ending, EndingKind, Phase, Step
from shared.places import Places
from shared.ports import ANY, Due, Ring
from shared.routing import Route, Routes
from shared.run_moves import Known, move
from shared.run_steps import RunSteps
from shared.runs import Run
from shared.world import World

_NOW, _AGAIN = dt.timedelta(0), dt.timedelta(seconds=5)
_LIMIT_AGAIN = dt.timedelta(minutes=1)
_EXCLUSIVE = frozenset({Step.START, Step.OBSERVE})
_UNDER_LEASE = _EXCLUSIVE | {Step.SLEEP}  # a clock that is late must not put to sleep what another works on


class ControlPlane:
    """Decides with the pure core, and does what was decided through the ports of its world."""

    def __init__(self, *, routes: Routes, intake: IntakeLoop, world: World) -> None:
        self._routes, self._intake, self._world = routes, intake, world
        self._steps, self._places = RunSteps(intake, world), Places(world)
        self._early = early_rings.EarlyRings(world)
        self.commands = Commands(routes=routes, world=world)

    # -- receive ---------------------------------------------------------------------------------------------------

    async def receive(self, origin: str, payloads: Sequence[str | bytes]) -> list[Receipt]:
        """Take in raw deliveries.  Raises Unavailable when the sender must send again."""
        receipts = await self._intake.receive(origin, payloads)
        if early_rings.worth_hearing(payloads):
            await asyncio.to_thread(self._early.hear, payloads)
        return receipts

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
        found = self._world.lanes.lane(ring.lane, (ring.generation, ring.number))
        if found is None:
            return "no such lane"
        lane, version = found
        if ring.generation != lane.generation or ring.number not in (ANY, lane.ring_no):
            if redelivered:
                self._send_on(ring, lane)
            at = f"{lane.generation}/{lane.ring_no}"
            return f"dropped: the lane is at {at}, the ring at {ring.generation}/{ring.number}"
        now = self._world.clock.now()
        route = self._routes.named(lane.route)
        policy = self._routes.policy(lane.route)
        held = self._held(lane, policy)
        decision = flow.decide(lane, held, policy, now)
        if ring.number == ANY and isinstance(decision, flow.Wait) and decision.until == lane.wake_at:
            return decision.reason  # the message for that time is on its way
        if isinstance(decision, flow.Start | flow.Admit) and route and route.limit:
            decision = self._within_limit(lane, route, decision, now)
        self._follow(decision, lane, version, held, route, now)
        return decision.reason

    def _held(self, lane: Lane, policy: flow.Flow) -> Collected | None:
        """What the open generation holds, as far as the policy asks."""
        if policy.looks_inside:
            return self._world.lanes.collected(lane.name, lane.generation)
        touched = self._world.lanes.touched(lane.name, lane.generation)
        return Collected(touched, touched) if touched else None

    def _within_limit(self, lane: Lane, route: Route, decision: Start | Admit, now: dt.datetime) -> Decision:
        """The same decision when the route has a place for it; what only waits for a person needs none."""
        generation = decision.generation if isinstance(decision, flow.Admit) else lane.generation
        waits = isinstance(decision, flow.Start) and route.approval is not None
        if waits or self._places.take(lane.name, generation, route.limit or 0):
            return decision
        return flow.Wait(now + _LIMIT_AGAIN, f"stands in line: {route.limit} runs of the route work, its limit")

    def _follow(
        self,
        decision: Decision,
        lane: Lane,
        version: str,
        held: Collected | None,
        route: Route | None,
        now: dt.datetime,
    ) -> None:
        """Do what was decided about a lane."""
        opened = runs.opened(lane.route, lane.key, lane.generation, decision.reason, now)
        taking: dict[str, Any] = {"carries": lane.carried, "failed": lane.failed, "asked_by": lane.asked}
        if isinstance(decision, flow.Wait):
            waiting = lanes.waiting(lane, decision.until)
            self._world.lanes.save_lane(waiting, version)
            self._ring_lane(waiting, decision.until - now)
        elif isinstance(decision, flow.Start) and route and route.approval:
            self._hand_over(lanes.set_aside(lane), version, dataclasses.replace(opened, **taking))
        elif isinstance(decision, flow.Start):
            run = dataclasses.replace(opened, **taking, limited=bool(route and route.limit))
            self._hand_over(lanes.handed_over(lane), version, run)
        elif isinstance(decision, flow.Admit):
            self._admit(lane, version, decision, route, now)
        elif isinstance(decision, flow.Skip):
            skipped = runs.passed_over(opened, decision.reason, now)
            self._hand_over(lanes.skipped_over(lane), version, skipped)
        elif isinstance(decision, flow.Miss) and held is not None:
            missed = runs.passed_over(opened, decision.reason, now, decision.missing)
            self._hand_over(lanes.missed_over(lane, held), version, missed)
        elif isinstance(decision, flow.Supersede):
            with contextlib.suppress(ValueError):  # the run has ended meanwhile, and its end rings the lane
                self.commands.end_early(lane.name, decision.generation, Ending(EndingKind.SUPERSEDED, decision.reason))

    def _admit(self, lane: Lane, version: str, decision: Admit, route: Route | None, now: dt.datetime) -> None:
        """Give a queued run its slot and start it; what else the lane may do now is looked at after it."""
        found = self._world.lanes.run(lane.name, decision.generation)
        if found is None or found[0].phase is not Phase.QUEUED:
            raise Conflict(f"the run of generation {decision.generation} has moved")
        limited = dataclasses.replace(found[0], limited=bool(route and route.limit))
        run = runs.admitted(limited, decision.reason, now)
        admitted = lanes.admitted(lane, decision.generation)
        moved = self._world.lanes.move(admitted, version, run, found[1])
        self._ring_lane(admitted, _NOW)
        self._drive(run, moved)

    def _send_on(self, ring: Ring, lane: Lane) -> None:
        """Send what follows a message whose handler has died after it wrote the truth; one too many is dropped."""
        now = self._world.clock.now()
        if (ring.generation, ring.number + 1) == (lane.generation, lane.ring_no) and lane.wake_at:
            self._ring_lane(lane, lane.wake_at - now)
        found = self._world.lanes.run(lane.name, ring.generation)
        if found and found[0].alive:  # whoever holds its lease may be the one who has died
            held_until = leases.of_another(found[0], "", now) or now
            self._ring_run(found[0], max(found[0].next_at, held_until) - now)

    def _hand_over(self, lane: Lane, version: str, run: Run) -> None:
        """The row that the sweep looks at was there before the generation held anything: it goes over to the run."""
        lane_version, run_version = self._world.lanes.hand_over(lane, version, run)
        self._drive(run, run_version, (lane, lane_version))

    # -- advance ---------------------------------------------------------------------------------------------------

    def advance(self, ring: Ring, *, redelivered: bool = False) -> str:
        """Move a run on as far as it goes now; answers where it stands.  `redelivered`: see `wake`."""
        try:
            found = self._world.lanes.run(ring.lane, ring.generation)
        except Unavailable as error:
            self._world.bells.ring_run(ring, _AGAIN)
            return f"again in {_AGAIN}: {error}"
        if found is None:
            return "no such run"
        run, version = found
        if ring.number != run.ring_no:
            if redelivered and ring.number + 1 == run.ring_no and run.alive:
                self._ring_run(run, run.next_at - self._world.clock.now())
            return f"dropped: the run is at {run.ring_no}, the ring at {ring.number}"
        return self._drive(run, version, redelivered=redelivered)

    def _drive(self, run: Run, version: str, known: Known | None = None, *, redelivered: bool = False) -> str:
        """Move a run on until it sleeps, rests, or somebody else moves it; rung again when the store is away.

        Who holds its lease goes on from what a person, or a newer event, has written meanwhile: nobody else may.
        """
        holder = uuid.uuid4().hex[:12]
        try:
            while True:
                try:
                    return self._steps_of(run, version, known, redelivered, holder)
                except Conflict as lost:
                    found = self._world.lanes.run(LaneKey(run.route, run.key), run.generation)
                    if found is None or found[0].leased_by != holder:
                        return f"somebody else was faster: {lost}"
                    (run, version), known = found, None
        except Unavailable as error:
            self._world.bells.ring_run(_ring(run), _AGAIN)
            return f"again in {_AGAIN}: {error}"

    def _steps_of(self, run: Run, version: str, known: Known | None, redelivered: bool, holder: str) -> str:
        route = self._routes.named(run.route) or _orphan(run)
        left: Lane | None = None
        while True:
            now = self._world.clock.now()
            step = runs.step(run, now, route.timeout)
            held_until = leases.of_another(run, holder, now)
            if step in _UNDER_LEASE and held_until is not None:
                if redelivered:  # who had this message may have died; else who holds the lease has one as well
                    self._world.bells.ring_run(_ring(run), held_until - now)
                return f"held by another until {held_until.isoformat(timespec='seconds')}"
            if step in _EXCLUSIVE and self._steps.exclusive(run):
                run = leases.leased(run, holder, now)
                version = self._world.lanes.save_run(run, version)
            if step is Step.REST:
                return f"{run.phase}: {run.reason}"
            moved = run if step is Step.SLEEP else self._steps.take(step, run, route, now, left)
            if moved.phase.final and not run.phase.final:
                run, (version, left) = moved, self._end(moved, version, route, known)
                continue
            now = self._world.clock.now()
            following = runs.step(moved, now, route.timeout)
            if (step, following) == (Step.START, Step.OBSERVE) and not self._steps.exclusive(run):
                run = moved  # saved with what is seen of it: until then its token finds it again
                continue
            asleep = following is Step.SLEEP
            run = runs.rung(moved) if asleep else moved
            version = self._world.lanes.save_run(run, version)
            if asleep:
                self._ring_run(run, run.next_at - now)
                return f"{run.phase}: {run.reason}"

    def _end(self, run: Run, version: str, route: Route, known: Known | None) -> tuple[str, Lane]:
        """Store the end of a run; its slot is free with it."""
        carries = route.flow.carries
        stored = move(self._world.lanes, run, version, lambda lane: lanes.freed(lane, run, carries=carries), known)
        self._steps.note_end(run)
        return stored

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
        if isinstance(stalled, Run):
            self._ring_run(stalled, _NOW)
        elif stalled is not None:
            self._ring_lane(stalled, _NOW)
        self._world.due.delete(due)
        return stalled is not None

    def _look(self, due: Due, now: dt.datetime) -> tuple[dt.datetime | None, Run | Lane | None]:
        """When to look again (None: never), and what has stalled."""
        found = due.generation and self._world.lanes.run(due.lane, due.generation)
        if found:
            run = found[0]
            if not run.alive:
                return None, None
            late = run.next_at <= now and run.phase is not Phase.QUEUED  # its lane is looked after by a row of its own
            return max(now, run.next_at), run if late else None
        row = self._world.lanes.lane(due.lane)
        if row is None:
            return None, None
        lane = row[0]
        if due.generation not in (None, lane.generation):  # handed over just now: its run is looked at next time
            return now, None
        idle = not lane.asked and not lane.queued
        if idle and self._world.lanes.touched(due.lane, lane.generation) is None:
            begun = due.generation is not None and self._world.lanes.run(due.lane, due.generation)
            return (now if begun else None), None  # handed over while the lane was looked at
        if flow.full(lane, self._routes.policy(lane.route)) or (lane.wake_at and lane.wake_at > now):
            return max(now, lane.wake_at or now), None
        return now, lane

    # -- small things ----------------------------------------------------------------------------------------------

    def _ring_run(self, run: Run, delay: dt.timedelta) -> None:
        self._world.bells.ring_run(_ring(run), min(delay, LONGEST_HOP))

    def _ring_lane(self, lane: Lane, delay: dt.timedelta) -> None:
        self._world.bells.ring_lane(Ring(lane.name, lane.generation, lane.ring_no), min(delay, LONGEST_HOP))


def _ring(run: Run) -> Ring:
    return Ring(LaneKey(run.route, run.key), run.generation, run.ring_no)


def _orphan(run: Run) -> Route:
    """Stands in for a route that the file no longer has: what was started is still seen through."""
    return Route(run.route, frozenset(), "", str((run.request or {}).get("action")), {})
