"""The only orchestration: receive, wake, advance, sweep.

Handlers write the truth first, then send the next message, then return.  A message carries a key and its number; the
truth holds the current number, and an older message is dropped, so chains cannot multiply.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from shared import lanes, manifests, requests, runs
from shared.errors import Conflict, NotFound, Refused, Unavailable
from shared.events import Event, parse
from shared.intake import GRACE, IntakeLoop, Receipt
from shared.lanes import Lane, LaneKey
from shared.manifests import Manifest
from shared.ports import Action, Bells, Clock, Due, DueIndex, Guard, Journal, Lanes, Publisher, Ring, Sets, Telemetry
from shared.routing import Route, Routes
from shared.runs import Observation, Remote, Run, Status, Step
from shared.templates import Missing

_AGAIN = dt.timedelta(seconds=5)
_LONGEST_HOP = dt.timedelta(days=6)
_EXCLUSIVE = frozenset({Step.START, Step.OBSERVE})


@dataclasses.dataclass(frozen=True)
class World:
    """Everything outside that the control plane reaches, each behind its port."""

    clock: Clock
    journal: Journal
    lanes: Lanes
    due: DueIndex
    bells: Bells
    sets: Sets
    actions: Mapping[str, Action]
    guards: Mapping[str, Guard]
    telemetry: Telemetry
    publisher: Publisher | None
    settings: Mapping[str, str]


class ControlPlane:
    """Decides with the pure core, and does what was decided through the ports of its world."""

    def __init__(self, *, routes: Routes, intake: IntakeLoop, world: World) -> None:
        self._routes, self._intake, self._world = routes, intake, world

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
            self._hand_over(lane, version, decision.reason, now)
        return decision.reason

    def _send_on(self, ring: Ring, lane: Lane) -> None:
        """Send what follows a message whose handler has died after it wrote the truth; one too many is dropped."""
        if (ring.generation, ring.number + 1) == (lane.generation, lane.ring_no) and lane.wake_at:
            self._ring_lane(lane, lane.wake_at - self._world.clock.now())
        found = self._world.lanes.run(lane.name, ring.generation)
        if found and found[0].alive:
            self._ring_run(found[0], dt.timedelta(0))

    def _hand_over(self, lane: Lane, version: str, reason: str, now: dt.datetime) -> None:
        run = runs.opened(lane.route, lane.key, lane.generation, reason, now)
        self._world.due.insert(Due(now + GRACE, lane.name, lane.generation))
        self._world.lanes.hand_over(lanes.handed_over(lane), version, run)
        self.advance(_ring(run))

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
            if step in _EXCLUSIVE and self._exclusive(run):
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
            moved = self._take(step, run, route, now)
            if moved.phase.final and not run.phase.final:
                self._world.lanes.end_run(moved, version)
                self._note_end(moved)
                run, version = self._reread(moved)
            else:
                run, version = moved, self._world.lanes.save_run(moved, version)

    def _take(self, step: Step, run: Run, route: Route, now: dt.datetime) -> Run:
        """Take one step for a run; answers the run as it is after it, not saved yet."""
        facts = {"run": run.id, "attempt": run.attempt}
        with self._world.telemetry.span(f"{run.route} {step}", run.correlation, facts):
            if step is Step.PREPARE:
                return self._prepare(run, route, now)
            if step is Step.START:
                return self._start(run, route, now)
            if step is Step.OBSERVE:
                return self._observe(run, route, now)
            if step is Step.CANCEL:
                return runs.cancelling(run, route.timeout, now)
            if step is Step.RETRY:
                request = requests.numbered(run.request or {}, self._world.lanes.store_id, run, run.attempt + 1)
                return runs.retried(run, request, now)
            return self._tell(run, route)

    def _prepare(self, run: Run, route: Route, now: dt.datetime) -> Run:
        if not route.types:
            return runs.refused(run, f"routes.yaml has no route {run.route} any more", now)
        try:
            manifest, address = self._manifest(run, route)
        except NotFound as error:
            return runs.refused(run, f"the set cannot be read back: {error}", now)
        held = {"url": address, "sha256": manifest.sha256, "count": len(manifest.events)}
        entries = manifest.proceeds()
        if not entries:
            reasons = sorted({str(entry["guard"].get("reason")) for entry in manifest.events})
            return runs.skipped(run, held, f"guard {route.guard}: {'; '.join(reasons)}", now)
        newest = entries[-1]
        event = self._event(newest)
        chain = requests.correlation(event, newest["identity"])
        try:
            frozen = requests.freeze(run, route, held, event, newest["bindings"], chain, self._world.settings)
        except Missing as missing:
            return runs.refused(run, f"the route's options need {missing.name}, which has no value", now)
        request = requests.numbered(frozen, self._world.lanes.store_id, run, run.attempt)
        return runs.prepared(run, held, request, chain, now)

    def _manifest(self, run: Run, route: Route) -> tuple[Manifest, str]:
        """The run's manifest; what was written first stands, with what the guard saw then."""
        lane = LaneKey(run.route, run.key)
        events = self._world.lanes.events(lane, run.generation)
        guard = self._world.guards[route.guard] if route.guard else None
        seen = {
            event.identity: guard.observe(event.bindings, self._world.journal.read(event.reference))
            for event in events
            if guard is not None
        }
        name = manifests.name(run, lane.partition)
        address = self._world.sets.write(name, manifests.build(run, events, seen).body)
        return Manifest(self._world.sets.read(name)), address

    def _start(self, run: Run, route: Route, now: dt.datetime) -> Run:
        request = run.request or {}
        try:
            remote = self._action(request).start(request)
        except Refused as error:
            return runs.refused(run, str(error), now)
        except Unavailable as error:
            return runs.unstarted(run, str(error), now, error.retry_after, route.timeout)
        except Exception as error:
            return runs.unstarted(run, self._unexpected(run, error), now, None, route.timeout)
        self._world.telemetry.event("run started", run.correlation, {"run": run.id, "remote": remote.id})
        return runs.started(run, remote, self._world.clock.now())

    def _observe(self, run: Run, route: Route, now: dt.datetime) -> Run:
        request = run.request or {}
        if run.remote is None:
            return runs.refused(run, "the run has no remote to observe: its record is damaged", now)
        try:
            seen = self._action(request).observe(request, run.remote, run.progress)
            if run.ending and seen.status is Status.ACTIVE:
                seen = self._cancel(request, run.remote, seen)
        except Unavailable as error:
            return runs.unobserved(run, str(error), now, error.retry_after)
        except Refused as error:
            return runs.observed(run, Observation(Status.FAILED, str(error)), now, route.retry)
        except Exception as error:
            return runs.unobserved(run, self._unexpected(run, error), now)
        return runs.observed(run, seen, now, route.retry)

    def _cancel(self, request: Mapping[str, Any], remote: Remote, seen: Observation) -> Observation:
        """Ask the backend to stop; where it refuses, the slot is held until the work ends by itself."""
        try:
            self._action(request).cancel(request, remote)
        except Refused as error:
            return dataclasses.replace(seen, reason=f"{seen.reason}; it could not be cancelled: {error}")
        return seen

    def _exclusive(self, run: Run) -> bool:
        action = self._world.actions.get(str((run.request or {}).get("action")))
        return action is not None and action.exclusive

    def _unexpected(self, run: Run, error: Exception) -> str:
        """A fault in an action leaves the outcome unknown, like an answer that was lost; it is told, never hidden."""
        said = f"unexpected {type(error).__name__}: {error}"
        logging.exception("run %s: %s", run.id, said)
        self._world.telemetry.event("unexpected error", run.correlation, {"run": run.id, "error": said})
        return said

    def _action(self, request: Mapping[str, Any]) -> Action:
        action = self._world.actions.get(str(request.get("action")))
        if action is None:
            raise Refused(f"there is no action {request.get('action')!r}")
        return action

    def _tell(self, run: Run, route: Route) -> Run:
        """Tell the end of a run: to its lane, which may start again, and as an event."""
        if lane := self._world.lanes.lane(LaneKey(run.route, run.key)):
            self._ring_lane(lane[0], dt.timedelta(0))
        event = requests.own_event(run, route, self._world.lanes.store_id, self._world.settings)
        self._intake.submit("sluice", [json.dumps(event)]).result()
        if self._world.publisher is not None:
            self._world.publisher.publish(event)
        return runs.told(run)

    def _note_end(self, run: Run) -> None:
        facts = {"run": run.id, "phase": run.phase, "reason": run.reason, "attempt": run.attempt}
        self._world.telemetry.event("run ended", run.correlation, facts)
        lasted = (run.ended_at or run.created_at) - run.created_at
        self._world.telemetry.metric("run seconds", lasted.total_seconds(), {"route": run.route, "phase": run.phase})

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
        if row is None or self._world.lanes.collected(due.lane, row[0].generation) is None:
            return None, None
        lane = row[0]
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

    def _event(self, entry: Mapping[str, Any]) -> Event | None:
        read = parse(str(self._world.journal.read(entry["journal"])["raw"]))
        return next((event for event in read if isinstance(event, Event) and event.identity == entry["identity"]), None)


def _ring(run: Run) -> Ring:
    return Ring(LaneKey(run.route, run.key), run.generation, run.ring_no)


def _orphan(run: Run) -> Route:
    """Stands in for a route that the file no longer has: what was started is still seen through."""
    return Route(run.route, frozenset(), "", str((run.request or {}).get("action")), {})
