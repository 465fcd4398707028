"""What must be true, whatever happens: each assertion with its sentence beside it."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared import release_evidence
from shared.events import Event, parse
from shared.lanes import Lane, LaneKey
from shared.phases import APPROVE, EndingKind, Phase
from shared.requests import own_event_ids
from shared.routing import match
from shared.runs import Run, token
from tests.simulation.backends import Effect

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

MOST_MESSAGES, MOST_SETTLED = 40, 16
"""Untouched messages about one lane or run: while faults multiply them, and once what was late has come."""
_BACK = {
    Phase.PREPARING: 0, Phase.APPROVAL: 1, Phase.QUEUED: 2, Phase.STARTING: 3, Phase.RUNNING: 4, Phase.WAITING: 5,
}  # fmt: skip


class Checks:
    """Watches every write, call and acknowledgement; `broken` holds the first sentence that is not true."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.broken: str | None = None
        self.journalled_ids: set[str] = set()
        self._busy: collections.Counter[str] = collections.Counter()
        self.renewed: list[str] = []
        self.abandoned: list[str] = []
        """Runs whose remote work a person no longer waits for; what becomes of it is theirs to look for."""

    def hold(self, true: bool, sentence: str) -> None:
        """This must be true."""
        if not true and self.broken is None:
            self.broken = sentence

    # -- while it runs ---------------------------------------------------------------------------------------------

    def journalled(self, records: Sequence[Mapping[str, Any]]) -> None:
        """The journal has taken these."""
        for record in records:
            self.journalled_ids.add(str(record.get("id")))
            if record.get("origin") == "sluice":
                self.told(json.loads(record["raw"]))

    def told(self, event: Mapping[str, Any]) -> None:
        """Somebody has heard of the end of a run."""
        ended = any(event["id"] in self._ids(run) for run in self._simulation.lanes.all_runs())
        self.hold(ended, f"an event is told only after its run's end is stored: {event['id']}")

    def acknowledged(self, payload: str) -> None:
        """A sender has heard that its delivery was taken in."""
        for event in parse(payload):
            if not isinstance(event, Event):
                continue
            self.hold(event.id in self.journalled_ids, f"acknowledged means journalled: {event.id}")
            for found in match(event, self._simulation.routes).matches:
                where = self._simulation.lanes.ever_absorbed_as(found.lane, event.identity)
                self.hold(where is not None, f"acknowledged means absorbed by every match: {event.id} {found.lane}")
                if where is None:
                    continue
                held = [kept.identity for kept in self._simulation.lanes.ever(found.lane, where[0])]
                self.hold(event.identity in held, f"what is absorbed is on a page: {event.id} {found.lane}")
                row = self._simulation.lanes.lane(found.lane)
                self.hold(
                    row is None
                    or row[0].generation != where[0]
                    or (found.lane, where[0]) in self._simulation.queues.rung,
                    f"acknowledged means that the lane was rung for the generation: {event.id} {found.lane}",
                )

    def began(self, effect: Effect) -> None:
        """A backend has begun some work."""
        now, everything = self._simulation.scheduler.now, self._simulation.effects()
        same = [other for other in everything if (other.run, other.attempt) == (effect.run, effect.attempt)]
        self.hold(len(same) == 1, f"one attempt has one effect: {effect.run} attempt {effect.attempt} has {len(same)}")
        self._few(effect, [other.run for other in everything if self._live(other)])
        earlier = [other for other in everything if other.run == effect.run and other.attempt < effect.attempt]
        self.hold(
            not any(other.live(now) for other in earlier),
            f"an attempt starts only after the one before is final: {effect.run} attempt {effect.attempt}",
        )
        later = [other for other in everything if other.run == effect.run and other.attempt > effect.attempt]
        self.hold(not later, f"an attempt does not start after its successor: {effect.run} attempt {effect.attempt}")
        self._named(effect)

    def _few(self, effect: Effect, live: list[str]) -> None:
        """Counted at the backends: no more lives in a lane, and over a route, than the policy allows."""
        lane, name = effect.run.rpartition("-")[0], effect.run.split("-")[0]
        route = self._simulation.routes.named(name)
        if route is None:
            return
        mine = [run for run in live if run.rpartition("-")[0] == lane]
        most = route.flow.concurrency
        self.hold(len(mine) <= most, f"live remote work in a lane is at most its concurrency, {most}: {mine}")
        over = [run for run in live if run.split("-")[0] == name]
        self.hold(len(over) <= (route.limit or len(over)), f"live remote work of a route is within its limit: {over}")

    def _named(self, effect: Effect) -> None:
        run = next((run for run in self._simulation.lanes.all_runs() if run.id == effect.run), None)
        names = run is not None and not run.phase.final and run.request and run.request["token"] == effect.token
        names = names or effect.run in self.abandoned
        self.hold(bool(names), f"remote work is named by a run that is not over: {effect.run}/{effect.attempt}")
        if run is not None:
            right = token(self._simulation.lanes.store_id, run.route, run.key, run.generation, effect.attempt)
            self.hold(effect.token == right, f"the token names route, key, generation and attempt: {effect.run}")
            route = self._simulation.routes.named(run.route)
            agreed = any(made.verdict == APPROVE for made in run.decisions)
            free = route is None or route.approval is None or agreed
            self.hold(free, f"what needs approval starts only when it is approved: {effect.run}")

    def run_written(self, before: Run | None, after: Run) -> None:
        """A run's row was written."""
        if before is not None:
            self.hold(before.ring_no <= after.ring_no, f"a late worker overwrites nothing: ring of {after.id}")
            self.hold(before.attempt <= after.attempt, f"a late worker overwrites nothing: attempt of {after.id}")
            reopened = before.phase.final and after.phase in (Phase.APPROVAL, Phase.QUEUED)
            later = _BACK.get(before.phase, 9) <= _BACK.get(after.phase, 9)
            forward = after.attempt > before.attempt or later or reopened
            self.hold(forward, f"a run does not go back: {after.id} from {before.phase} to {after.phase}")
            stays = before.phase in (after.phase, *_BACK) or (reopened and not before.event_due)
            self.hold(stays, f"what is final stays, until a person asks for more: {after.id}")
            self.hold(before.ends <= after.ends, f"ends are counted: {after.id}")
            self.hold(
                after.ends > before.ends or before.event_due or not before.phase.final or not after.event_due,
                f"told is told: {after.id}",
            )
        live = [effect for effect in self._simulation.effects() if effect.run == after.id]
        over = [effect for effect in live if self._live(effect)]
        if after.phase.final or after.phase is Phase.WAITING:
            self.hold(not over, f"no remote work outlives its attempt: {after.id} is {after.phase}: {after.reason}")
        if after.route == "release":  # its effects are seen in its town
            return
        if after.phase is Phase.SUCCEEDED and (before is None or not before.phase.final):
            mine = [effect for effect in live if effect.attempt == after.attempt]
            self.hold(len(mine) == 1, f"each attempt is its own effect: {after.id} attempt {after.attempt}")
        if after.phase is Phase.FAILED and "that was the last of" in after.reason:
            self.hold(len(live) == after.attempt, f"each attempt is its own effect: {after.id} has {len(live)}")

    def lane_written(self, before: Lane | None, after: Lane) -> None:
        """A lane's row was written."""
        if before is None:
            return
        self.hold(before.generation <= after.generation, f"generations only grow: {after.name}")
        stands = [*after.slots, *after.queued, *after.pending]
        self.hold(len(stands) == len(set(stands)), f"a run works, stands in line or waits for a person: {after}")
        grown = after.generation > before.generation
        self.hold(grown or before.ring_no <= after.ring_no, f"the ring number of a generation only grows: {after.name}")
        for slot in set(before.slots) - set(after.slots):
            run = self._simulation.lanes.run(after.name, slot)
            live = [e.run for e in self._simulation.effects() if run and e.run == run[0].id and self._live(e)]
            self.hold(not live, f"a slot is held while the remote work lives: {live}")
            self.hold(run is not None and run[0].phase.final, f"a slot is freed by the end of its run: {after.name}")

    def exclusively(self, place: str, args: tuple[Any, ...]) -> Callable[[], None]:
        """Calls that no token makes safe do not overlap."""
        name, _, method = place.partition(".")
        if name not in ("careful", "release") or method == "start":
            return lambda: None
        run = str(args[0]["run"])
        self._busy[run] += 1
        self.hold(self._busy[run] == 1, f"calls under a run's lease do not overlap: {run} {method}")

        def done() -> None:
            self._busy[run] -= 1

        return done

    def _live(self, effect: Effect) -> bool:
        return effect.live(self._simulation.scheduler.now) and effect.run not in self.abandoned

    def _ids(self, run: Run) -> list[str]:
        return own_event_ids(run, self._simulation.lanes.store_id) if run.ends else []

    def _once(self, runs: Sequence[Run]) -> None:
        fires = [route.name for route in self._simulation.routes.routes if route.flow.once]
        fired = collections.Counter(run.id.rpartition("-")[0] for run in runs
                                    if run.route in fires and run.phase is not Phase.SKIPPED and not run.asked_by
                                    and not run.carries)  # fmt: skip
        twice = {lane: times for lane, times in fired.items() if times > 1}
        self.hold(not twice, f"a key that fires once has one run: {twice}")

    # -- at rest ---------------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Everything has ended."""
        simulation = self._simulation
        self.hold(not simulation.poison, f"no message is given up: {simulation.poison[:3]}")
        self.hold(not simulation.unexpected, f"handlers fail only as they may: {simulation.unexpected[:3]}")
        most = simulation.queues.most
        self.hold(most <= MOST_MESSAGES, f"messages about one key are bounded: there were {most}")
        most = simulation.queues.most_settled
        self.hold(most <= MOST_SETTLED, f"messages about one key become few again: there were {most}")
        for effect in simulation.effects():
            self.hold(not self._live(effect), f"no remote work lives when all is over: {effect.run}")
        told = {event["id"] for event in simulation.publisher.heard}
        runs = list(simulation.lanes.all_runs())
        for run in runs:
            self.hold(run.phase.final and not run.event_due, f"every run ends: {run.id} is {run.phase}: {run.reason}")
            heard = self.journalled_ids & told
            self.hold(set(self._ids(run)) <= heard, f"every run tells each of its ends: {run.id}")
            self._set(run)
        self._own_events_are_absorbed_once(runs)
        for lane in simulation.lanes.all_lanes():
            self.hold(not lane.slots, f"at rest no slot is held: {lane.name}")
            left = simulation.lanes.events(lane.name, lane.generation)
            self.hold(not left, f"at rest every lane is empty: {lane.name} holds {len(left)}")
            self.hold(not lane.queued and not lane.pending, f"nobody stands in line for nothing: {lane}")
            worked = not lane.asked and (not lane.carried or bool(lane.have))
            self.hold(worked, f"what was carried or asked for is worked on: {lane}")
        for route in simulation.routes.routes:
            for key, generation in simulation.limits.limit(route.name)[0].holders:
                held = simulation.lanes.run(LaneKey(route.name, key), generation)
                self.hold(held is not None, f"at rest no place is held for what never started: {route.name} {key}")
        self._once(runs)
        self._sets_go_on(runs)
        self._releases(runs)
        for payload in simulation.inputs:
            self.acknowledged(payload)

    def _pages(self, run: Run) -> list[str]:
        lane, sets = LaneKey(run.route, run.key), (*run.carries, run.generation)
        return [e.identity for generation in sets for e in self._simulation.lanes.ever(lane, generation)]

    def _sets_go_on(self, runs: Sequence[Run]) -> None:
        for run in runs:
            superseded = run.ending is not None and run.ending.kind is EndingKind.SUPERSEDED
            if not (superseded and run.phase is not Phase.SUCCEEDED) and run.id not in self.renewed:
                continue
            later = [other for other in runs if (other.route, other.key) == (run.route, run.key)]
            sets = [set(self._pages(other)) for other in later if other.generation > run.generation]
            whole = any(set(self._pages(run)) <= other for other in sets)
            said = "a set that was superseded, or is to be worked on again, joins a later one"
            self.hold(whole, f"{said}: {run.id} {run.phase} carries {run.carries}")

    def _releases(self, runs: Sequence[Run]) -> None:
        town, released = self._simulation.town, [run for run in runs if run.route == "release"]
        town.at_rest(tidy=not any(run.id in self.abandoned for run in released))
        records = town.evidence.all("endpoint")
        heads = {one["number"]: one["sha256"] for run in released if (one := run.result.get("record"))}
        self.hold(not release_evidence.faults(records, heads), "the chain of evidence is unbroken")
        told = {(one["run"], one["outcome"]) for one in map(release_evidence.read, records)}
        for run in released:
            if run.phase is Phase.SUCCEEDED and "already gets all traffic" not in run.reason:
                self.hold((run.id, "promoted") in told, f"what was promoted has a record: {run.id}")

    def _set(self, run: Run) -> None:
        if run.manifest is None:
            return
        name = str(run.manifest["url"]).removeprefix("memory://sets/")
        entries = json.loads(self._simulation.sets.read(name))["events"]
        listed = [entry["identity"] for entry in entries]
        self.hold(len(listed) == len(set(listed)), f"the ids of a manifest are unique: {run.id}")
        self.hold(set(listed) == set(self._pages(run)), f"a manifest is the union of its generation's pages: {run.id}")
        route, types = self._simulation.routes.named(run.route), {entry["type"] for entry in entries}
        whole = route is None or bool(run.asked_by) or route.flow.wait_for <= types
        self.hold(whole, f"the set of a join holds every type that it waits for: {run.id}")
        self.hold(run.manifest["count"] == len(listed), f"a manifest is as long as it says: {run.id}")

    def _own_events_are_absorbed_once(self, runs: Sequence[Run]) -> None:
        absorbed: collections.Counter[tuple[LaneKey, str]] = collections.Counter()
        lanes = self._simulation.lanes
        for lane in lanes.all_lanes():
            for generation in range(1, lane.generation + 1):
                absorbed.update((lane.name, event.id) for event in lanes.ever(lane.name, generation))
        for (lane_name, id_), times in absorbed.items():
            self.hold(times == 1, f"an event is absorbed once for ever: {id_} in {lane_name} {times} times")
        heard = {id_ for lane_name, id_ in absorbed if lane_name.route == "train"}
        for run in runs:
            if run.route == "curate" and run.phase is Phase.SUCCEEDED:
                self.hold(self._ids(run)[-1] in heard, f"every end reaches the routes that listen: {run.id}")


__all__ = ["MOST_MESSAGES", "MOST_SETTLED", "Checks"]
