"""The steps of a run, done through the ports: each answers the run as it is after the step, not saved yet."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from shared import leases, manifests, patience, requests, runs
from shared.errors import NotFound, Refused, Unavailable
from shared.events import Event, lookup, parse
from shared.history import kept_set
from shared.intake_loop import IntakeLoop
from shared.lanes import Lane, LaneKey
from shared.manifests import Manifest
from shared.observations import Observation, Remote, Status
from shared.phases import Step
from shared.places import Places
from shared.ports import Action, Asked, Ring
from shared.requests import Newest
from shared.routing import Route
from shared.runs import Run
from shared.templates import Missing, render
from shared.world import World


class RunSteps:
    """Does what `runs.step` says is next."""

    def __init__(self, intake: IntakeLoop, world: World) -> None:
        self._intake, self._world, self._places = intake, world, Places(world)

    def take(self, step: Step, run: Run, route: Route, now: dt.datetime, lane: Lane | None = None) -> Run:
        """Take one step for a run; `lane` as its end has left it, where that is known.

        Raises Unavailable when the store could not do its part.
        """
        facts = {"run": run.id, "attempt": run.attempt}
        with self._world.telemetry.span(f"{run.route} {step}", run.correlation, facts):
            if step is Step.PREPARE:
                return self._prepare(run, route, now)
            if step in (Step.START, Step.OBSERVE):
                ends = run.leased_until or now + leases.LEASE
                with patience.until((ends - self._world.clock.now()).total_seconds()):
                    return self._start(run, route, now) if step is Step.START else self._observe(run, route, now)
            if step is Step.CANCEL:
                return runs.cancelling(run, route.timeout, now)
            if step is Step.RETRY:
                request = requests.numbered(run.request or {}, self._world.lanes.store_id, run, run.attempt + 1)
                return runs.retried(run, request, now)
            if step is Step.EXPIRE:
                return runs.expired(run, now)
            return self._tell(run, route, lane)

    def _prepare(self, run: Run, route: Route, now: dt.datetime) -> Run:
        if not route.types:
            return runs.refused(run, f"routes.yaml has no route {run.route} any more", now)
        try:
            manifest, address = self._manifest(run, route)
        except NotFound as error:
            return runs.refused(run, f"the set cannot be read back: {error}", now)
        except (Missing, Refused) as error:
            return runs.refused(run, f"guard {route.guard}: {error}", now)
        held = {"url": address, "sha256": manifest.sha256, "count": len(manifest.events)}
        entries = manifest.proceeds()
        if not entries:
            reasons = sorted({str(one["guard"].get("reason")) for one in manifest.events})
            entry = manifest.events[-1]
            chain = requests.correlation(self._event(entry), entry["identity"])
            told = dataclasses.replace(run, result={"guard": entry["guard"]}, correlation=chain)
            return runs.skipped(told, held, f"guard {route.guard}: {'; '.join(reasons)}", now)
        last = entries[-1]
        seen = last.get("guard", {})
        newest = Newest(self._event(last), last["bindings"], lambda type_: self._newest_of(entries, type_), seen)
        chain = requests.correlation(newest.event, last["identity"])
        try:
            frozen = requests.freeze(run, route, held, newest, chain, self._world.settings)
        except Missing as missing:
            return runs.refused(run, f"the route's options need {missing.name}, which has no value", now)
        if seen:
            run = dataclasses.replace(run, result={"guard": seen})
        request = requests.numbered(frozen, self._world.lanes.store_id, run, run.attempt)
        return runs.prepared(run, held, request, chain, now, route.approval)

    def _manifest(self, run: Run, route: Route) -> tuple[Manifest, str]:
        """The run's manifest; what was written first stands, with what the guard saw then."""
        lane = LaneKey(run.route, run.key)
        earlier = [kept_set(self._world.lanes, self._world.sets, lane, generation) for generation in run.carries]
        whole = [*itertools.chain(*earlier), *self._world.lanes.events(lane, run.generation)]
        events = list({event.identity: event for event in whole}.values())
        guard = self._world.guards[route.guard] if route.guard else None
        known = {"key": run.key, "settings": self._world.settings}
        options = render(route.guard_options, lambda name: lookup(known, name))
        read = self._world.journal.read
        seen = {
            event.identity: guard.observe(Asked(run, options, event.bindings, read(event.reference)))
            for event in events
            if guard is not None
        }
        name = manifests.name(run, lane.partition)
        address, body = self._world.sets.write(name, manifests.build(run, events, seen).body)
        return Manifest(body), address

    def _start(self, run: Run, route: Route, now: dt.datetime) -> Run:
        request = run.request or {}
        try:
            remote = self._action(request).start(request)
        except Refused as error:
            return runs.refused(run, str(error), now)
        except Unavailable as error:
            return runs.unstarted(run, str(error), now, error.retry_after, route.start_timeout)
        except Exception as error:
            return runs.unstarted(run, self._unexpected(run, error), now, None, route.start_timeout)
        self._world.telemetry.event("run started", run.correlation, {"run": run.id, "remote": remote.id})
        return runs.started(run, remote, self._world.clock.now())

    def _observe(self, run: Run, route: Route, now: dt.datetime) -> Run:
        request = requests.asked(run)
        if run.remote is None:
            return runs.refused(run, "the run has no remote to observe: its record is damaged", now)
        try:
            action = self._action(request)
        except Refused as error:
            return runs.refused(run, f"{error} any more: {run.remote.id} is left alone, nobody watches it", now)
        try:
            seen = action.observe(request, run.remote, run.progress)
            if run.ending is not None and seen.status is Status.ACTIVE:
                seen = _cancel(action, request, run.remote, seen)
        except Unavailable as error:
            return runs.unobserved(run, str(error), now, error.retry_after)
        except Refused as error:  # the work may live on: only the backend's own word ends it
            return runs.unobserved(run, f"it may not be looked at: {error}", now)
        except Exception as error:
            return runs.unobserved(run, self._unexpected(run, error), now)
        return runs.observed(run, seen, now, route.retry)

    def exclusive(self, run: Run) -> bool:
        """Whether the run's calls must be made under its lease."""
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

    def _tell(self, run: Run, route: Route, lane: Lane | None) -> Run:
        """Tell the end of a run: to the lanes that may start now, and as an event."""
        if run.limited or route.limit:
            self._places.give_back(run, route.limit)
        if lane is None:
            found = self._world.lanes.lane(LaneKey(run.route, run.key))
            lane = found[0] if found else None
        if lane and self._wanted(lane):
            self._world.bells.ring_lane(Ring(lane.name, lane.generation, lane.ring_no))
        event = requests.own_event(run, route, self._world.lanes.store_id, self._world.settings)
        self._intake.submit("sluice", [json.dumps(event)]).result()
        if self._world.publisher is not None:
            self._world.publisher.publish(event)
        return runs.told(run)

    def _wanted(self, lane: Lane) -> bool:
        """Whether the lane has something to start; what comes from now on rings it by itself."""
        waits = lane.queued or lane.asked
        return bool(waits) or self._world.lanes.touched(lane.name, lane.generation) is not None

    def note_end(self, run: Run) -> None:
        """Tell telemetry that a run has ended."""
        facts = {"run": run.id, "phase": run.phase, "reason": run.reason, "attempt": run.attempt}
        self._world.telemetry.event("run ended", run.correlation, facts)
        lasted = (run.ended_at or run.created_at) - run.created_at
        self._world.telemetry.metric("run seconds", lasted.total_seconds(), {"route": run.route, "phase": run.phase})

    def _newest_of(self, entries: Sequence[Mapping[str, Any]], type_: str) -> Event | None:
        of_type = [entry for entry in entries if entry["type"].rpartition(".")[2].lower() == type_.lower()]
        return self._event(of_type[-1]) if of_type else None

    def _event(self, entry: Mapping[str, Any]) -> Event | None:
        read = parse(str(self._world.journal.read(entry["journal"])["raw"]))
        return next((event for event in read if isinstance(event, Event) and event.identity == entry["identity"]), None)


def _cancel(action: Action, request: Mapping[str, Any], remote: Remote, seen: Observation) -> Observation:
    """Ask the backend to stop; where it refuses, the slot is held until the work ends by itself."""
    try:
        action.cancel(request, remote)
    except Refused as error:
        return dataclasses.replace(seen, reason=f"{seen.reason}; it could not be cancelled: {error}")
    return seen
