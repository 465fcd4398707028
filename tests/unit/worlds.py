"""A world in memory that processes live and die in: store, queues, backends and time outlive them.

`Stage` is what lasts; `Process` is one life of the app on it.  Every port of a process is wired through a `Wire`, which
may kill the process at a call (`Fuse`), lose its answer (`Flaky`) or let another process overtake it (`Overtaken`).
`Stage.play` is the host: it delivers, hands out queue messages at least once, runs the timer, and moves the clock on.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import inspect
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from shared.adapters import queues
from shared.adapters.memory import (
    MemoryBells,
    MemoryDue,
    MemoryIndexBlobs,
    MemoryJournal,
    MemoryLanes,
    MemoryLimits,
    MemorySets,
)
from shared.adapters.memory_releases import MemoryEvidence
from shared.control_plane import ControlPlane
from shared.errors import Unavailable
from shared.event_index import EventIndex
from shared.history import History
from shared.indexing import Indexing
from shared.intake import Intake, Receipt
from shared.lanes import LaneKey
from shared.late_events import LateEvents
from shared.observations import Failure, Observation, Remote, Status
from shared.operations import Operations
from shared.ports import Action, Asked, Guard, Ring
from shared.retirement import Keeping, Retirement
from shared.routing import Route, Routes
from shared.runs import Run
from shared.telemetry import Recording
from shared.upkeep import Upkeep
from shared.world import World

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
SWEEP = dt.timedelta(seconds=30)
TRIES = 5
JSON = Mapping[str, Any]


class SetClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> dt.datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        self.time += dt.timedelta(seconds=seconds)


# -- what may happen at a port call --------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is killed."""


class Wire:
    """Every call of a process to the world goes through its wire; this one only counts."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def called(self, place: str, call: Callable[[], Any]) -> Any:
        self.places.append(place)
        return call()

    async def awaited(self, place: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.places.append(place)
        return await call()


class Fuse(Wire):
    """Kills the process at its n-th call, before the call or after it took effect; what is dead calls nothing."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self.at, self.after = at, after
        self.dead = False
        self.on_death: Callable[[], object] = lambda: None

    def called(self, place: str, call: Callable[[], Any]) -> Any:
        if self._burns(place):
            if self.after:
                with contextlib.suppress(Exception):
                    call()
            self._die(place)
        return call()

    async def awaited(self, place: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        if self._burns(place):
            if self.after:
                await call()
            self._die(place)
        return await call()

    def _burns(self, place: str) -> bool:
        if self.dead:
            raise Crash(place)
        self.places.append(place)
        return len(self.places) == self.at

    def _die(self, place: str) -> None:
        self.dead = True
        self.on_death()
        raise Crash(place)


class Flaky(Wire):
    """One call does not answer: it had no effect, or its effect exists and only the answer was lost."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self.at, self.after = at, after

    def called(self, place: str, call: Callable[[], Any]) -> Any:
        self.places.append(place)
        if len(self.places) != self.at:
            return call()
        if self.after:
            call()
        raise Unavailable(f"{place} did not answer")

    async def awaited(self, place: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.places.append(place)
        if len(self.places) != self.at:
            return await call()
        if self.after:
            await call()
        raise Unavailable(f"{place} did not answer")


class Overtaken(Wire):
    """Before the n-th call another process does all that there is to do now."""

    def __init__(self, at: int, other: Callable[[], object]) -> None:
        super().__init__()
        self.at, self.other = at, other

    def called(self, place: str, call: Callable[[], Any]) -> Any:
        self.places.append(place)
        if len(self.places) == self.at:
            self.other()
        return call()

    async def awaited(self, place: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.places.append(place)
        if len(self.places) == self.at:
            await asyncio.to_thread(self.other)
        return await call()


class Wired:
    """A port whose calls go through a wire."""

    def __init__(self, name: str, port: Any, wire: Wire) -> None:
        self._name, self._port, self._wire = name, port, wire

    def __getattr__(self, attribute: str) -> Any:
        value, place = getattr(self._port, attribute), f"{self._name}.{attribute}"
        if not callable(value):
            return value
        if inspect.iscoroutinefunction(value):

            async def awaited(*args: Any, **named: Any) -> Any:
                return await self._wire.awaited(place, lambda: value(*args, **named))

            return awaited

        def called(*args: Any, **named: Any) -> Any:
            answer = self._wire.called(place, lambda: value(*args, **named))
            return iter(list(answer)) if isinstance(answer, Iterator) else answer

        return called


# -- the backend ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long an attempt takes and how it ends; one that is cancelled ends a little later.

    For `quiet` seconds the backend cannot be asked and says when it can.
    """

    seconds: float = 3
    quiet: float = 0
    ends: Status = Status.SUCCEEDED
    failure: Failure | None = None
    result: JSON = dataclasses.field(default_factory=dict)
    correlation: str | None = None


@dataclasses.dataclass
class Effect:
    """What a backend really did, once for each token."""

    request: JSON
    plan: Plan
    started: dt.datetime
    cancelled: dt.datetime | None = None

    @property
    def attempt(self) -> tuple[str, int]:
        return self.request["run"], self.request["attempt"]

    def ended(self, now: dt.datetime) -> Status | None:
        if now >= self.started + dt.timedelta(seconds=self.plan.seconds):
            return self.plan.ends
        if self.cancelled and now >= self.cancelled + dt.timedelta(seconds=2):
            return Status.CANCELLED
        return None


class Backend:
    """An action whose backend knows its work by the token, as all of ours do."""

    def __init__(self, clock: SetClock, plans: Mapping[int, Plan] | None = None, *, exclusive: bool = False) -> None:
        self.exclusive, self._clock, self._plans = exclusive, clock, plans or {}
        self.effects: dict[str, Effect] = {}
        self.calls: list[str] = []
        self.trouble: dict[str, list[Exception | None]] = collections.defaultdict(list)
        self.lose_answers = 0

    def faults(self, options: JSON) -> list[str]:  # noqa: ARG002
        return []

    def start(self, request: JSON) -> Remote:
        self._call("start")
        made = Effect(request, self._plans.get(request["attempt"], Plan()), self._clock.now())
        effect = self.effects.setdefault(request["token"], made)
        assert effect.request == request, "a token stands for one request"
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unavailable("the answer was lost")
        return Remote(f"remote-{list(self.effects).index(request['token'])}")

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        self._call("observe")
        effect = self.effects[request["token"]]
        quiet = (effect.started - self._clock.now()).total_seconds() + effect.plan.quiet
        if quiet > 0:
            raise Unavailable("ask later", retry_after=quiet)
        ended = effect.ended(self._clock.now())
        if ended is None:
            return Observation(Status.ACTIVE, f"{remote.id} works")
        failure = effect.plan.failure if ended is Status.FAILED else None
        result = effect.plan.result if ended is Status.SUCCEEDED else {}
        return Observation(
            ended, f"{remote.id} has {ended}", failure, result=result, correlation=effect.plan.correlation
        )

    def cancel(self, request: JSON, remote: Remote) -> None:  # noqa: ARG002
        self._call("cancel")
        effect = self.effects[request["token"]]
        effect.cancelled = effect.cancelled or self._clock.now()

    def attempts(self) -> dict[tuple[str, int], int]:
        """How many effects each attempt of each run had."""
        return dict(collections.Counter(effect.attempt for effect in self.effects.values()))

    def _call(self, name: str) -> None:
        self.calls.append(name)
        trouble = self.trouble[name].pop(0) if self.trouble[name] else None
        if trouble is not None:
            raise trouble


class Compaction:
    """A guard that lets through what is not named a compaction, and counts its looks."""

    def __init__(self) -> None:
        self.looks = 0

    def observe(self, asked: Asked) -> JSON:
        self.looks += 1
        compacts = "compact" in asked.record["id"]
        return {"proceed": not compacts, "reason": "tidying" if compacts else "data"}


class Listeners:
    """Those who hear our own events from outside; they may hear one twice."""

    def __init__(self) -> None:
        self.heard: list[JSON] = []

    def publish(self, event: JSON) -> None:
        self.heard.append(event)


# -- one life of the app -------------------------------------------------------------------------------------------


class Loop:
    """The intake on a loop that runs while somebody waits for it and dies with its process."""

    def __init__(self, intake: Intake, wire: Wire) -> None:
        self._intake, self._wire = intake, wire
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)
        self._died = asyncio.Event()
        if isinstance(wire, Fuse):
            wire.on_death = lambda: self._loop.call_soon_threadsafe(self._died.set)

    def submit(self, origin: str, payloads: Sequence[str | bytes]) -> concurrent.futures.Future[list[Receipt]]:
        return self._run(self._intake.receive(origin, payloads))

    def append(self, journal: Any, record: JSON) -> str:
        reference: str = self._run(journal.append([record])).result()[0]
        return reference

    def close(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(self._loop.run_until_complete(self._while_alive(work)))
        except Exception as error:
            future.set_exception(error)
        return future

    async def _while_alive(self, work: Coroutine[Any, Any, Any]) -> Any:
        task, death = asyncio.ensure_future(work), asyncio.ensure_future(self._died.wait())
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if self._died.is_set() or getattr(self._wire, "dead", False):
            raise Crash("while taking in")
        death.cancel()
        return task.result()


@dataclasses.dataclass
class Process:
    """The app's parts, made afresh on the same store."""

    control_plane: ControlPlane
    operations: Operations
    upkeep: Upkeep
    loop: Loop


# -- what lasts ----------------------------------------------------------------------------------------------------


class Stage:
    """Store, queues, backends, listeners and time."""

    def __init__(self, *routes: Route, actions: Mapping[str, Action] | None = None) -> None:
        self.clock = SetClock()
        self.routes = Routes(routes, "digest")
        self.journal, self.lanes, self.sets = MemoryJournal(), MemoryLanes(self.clock), MemorySets()
        self.due, self.bells = MemoryDue(), MemoryBells(self.clock)
        self.limits, self.evidence = MemoryLimits(), MemoryEvidence()
        self.blobs, self.keeping = MemoryIndexBlobs(self.clock), Keeping()
        self.backend = Backend(self.clock)
        self.actions: dict[str, Action] = {"work": self.backend, **(actions or {})}
        self.guard, self.listeners, self.telemetry = Compaction(), Listeners(), Recording()
        self.guards: dict[str, Guard] = {"compaction": self.guard}
        self.inputs: list[tuple[dt.datetime, str]] = []
        self.receipts: list[Receipt] = []
        self.poison: list[str] = []
        self.said: list[str] = []
        self.sweeping, self._sweep_at = True, NOON + SWEEP
        self._tries: dict[int, list[Any]] = {}
        self._processes: list[Process] = []

    def process(self, wire: Wire | None = None) -> Process:
        """A new life of the app on this store."""
        wire = wire or Wire()

        def wired(name: str, port: Any) -> Any:
            return Wired(name, port, wire)

        blobs, sets = wired("index", self.blobs), wired("sets", self.sets)
        index = EventIndex(blobs)
        journal, lanes = wired("journal", self.journal), wired("lanes", self.lanes)
        due, bells = wired("due", self.due), wired("bells", self.bells)
        intake = Intake(
            routes=self.routes, journal=journal, lanes=LateEvents(lanes, index, self.keeping, self.clock), due=due,
            bells=bells, clock=self.clock,
        )  # fmt: skip
        loop: Any = Loop(intake, wire)
        world = World(
            clock=self.clock, journal=journal, lanes=lanes, due=due, bells=bells, sets=sets,
            limits=wired("limits", self.limits),
            actions={name: wired(name, action) for name, action in self.actions.items()},
            guards={name: wired(name, guard) for name, guard in self.guards.items()},
            telemetry=self.telemetry, publisher=wired("listeners", self.listeners), settings={"account": "lake"},
        )  # fmt: skip
        operations = Operations(
            routes=self.routes, journal=journal, lanes=lanes, intake=loop, telemetry=self.telemetry, clock=self.clock,
            history=lambda: History(
                journal=journal, lanes=lanes, due=due, sets=sets, index=index, keeping=self.keeping,
                now=self.clock.now(),
            ),
            evidence=self.evidence,
        )  # fmt: skip
        retirement = Retirement(lanes, sets, index, blobs, self.keeping)
        upkeep = Upkeep(Indexing(journal, lanes, index, retirement, self.keeping), index, retirement, self.clock)
        made = Process(ControlPlane(routes=self.routes, intake=loop, world=world), operations, upkeep, loop)
        self._processes.append(made)
        return made

    def close(self) -> None:
        """End every process."""
        while self._processes:
            self._processes.pop().loop.close()

    # -- the host ----------------------------------------------------------------------------------------------

    def send(self, *payloads: str, at: float = 0) -> None:
        """Payloads that arrive one by one, `at` seconds after noon, and again until they are acknowledged."""
        self.inputs += [(NOON + dt.timedelta(seconds=at), payload) for payload in payloads]
        self.inputs.sort(key=lambda item: item[0])

    def play(self, *wires: Wire, most: int = 3000, sweeping: bool = True) -> None:
        """Run the app until nothing moves any more; each wire is the life of one process, the last has none."""
        self.sweeping = sweeping
        lives = list(wires)
        process = self.process(lives.pop(0) if lives else None)
        for _ in range(most):
            if self.at_rest():
                return
            try:
                self.step(process)
            except Crash:
                process = self.process(lives.pop(0) if lives else None)
        raise AssertionError(f"nothing rests after {most} steps: {self.unrest()}")

    def step(self, process: Process) -> None:
        """Do what is next, when its time has come."""
        at = min([self._sweep_at, *(at for at, _ in self.inputs[:1]), *(item[0] for _, item in self.messages())])
        self.clock.time = max(self.clock.time, at)
        if not self.work(process):
            self._sweep_at = self.clock.now() + SWEEP
            try:
                if self.sweeping:
                    process.control_plane.sweep()
            except Exception as error:
                self.said.append(f"the sweep raised {error!r}")

    def work(self, process: Process) -> bool:
        """Deliver the input or hand out the message that is due first; whether there was one."""
        if self.inputs and self.inputs[0][0] <= self.clock.now():
            self._deliver(process, self.inputs[0])
            return True
        visible = [found for found in self.messages() if found[1][0] <= self.clock.now()]
        if not visible:
            return False
        self._hand_out(process, *min(visible, key=lambda found: found[1][0]))
        return True

    def _deliver(self, process: Process, item: tuple[dt.datetime, str]) -> None:
        """What is not acknowledged comes again ten seconds later, as from Event Grid."""
        try:
            self.receipts += process.loop.submit("event_grid", [item[1]]).result()
        except Exception as error:
            self.said.append(f"not acknowledged: {error!r}")
            self.inputs.append((self.clock.now() + dt.timedelta(seconds=10), item[1]))
        self.inputs = sorted((other for other in self.inputs if other is not item), key=lambda other: other[0])

    def drain(self, process: Process) -> None:
        """Do all that there is to do now, the message that another process has in hand included."""
        for queue, (at, ring) in [found for found in self.messages() if found[1][0] <= self.clock.now()]:
            self._hand_out(process, queue, (at, ring))

    def messages(self) -> list[tuple[str, tuple[dt.datetime, Ring]]]:
        """Every message with its queue."""
        return [("lane", item) for item in self.bells.lanes] + [("run", item) for item in self.bells.runs]

    def _hand_out(self, process: Process, queue: str, item: tuple[dt.datetime, Ring]) -> None:
        """A message is gone when its handler returned; until then it comes again, and the host counts how often."""
        handle = process.control_plane.wake if queue == "lane" else process.control_plane.advance
        held = self.bells.lanes if queue == "lane" else self.bells.runs
        tries = self._tries.setdefault(id(item), [item, 0])
        tries[1] += 1
        try:
            self.said.append(handle(item[1], redelivered=tries[1] > 1))
        except Exception as error:
            self.said.append(f"raised {error!r}")
            if tries[1] < TRIES:
                return
            self.poison.append(queue)
            process.operations.note_poison(f"sluice-{queue}", queues.written(item[1]).encode())
        held[:] = [other for other in held if other is not item]
        self._tries.pop(id(item), None)

    # -- what can be seen --------------------------------------------------------------------------------------

    def runs(self, route: str | None = None) -> list[Run]:
        """The runs of a route, in the order of their generations."""
        found = [run for run in self.lanes.all_runs() if route in (None, run.route)]
        return sorted(found, key=lambda run: (run.route, run.key, run.generation))

    def set_of(self, run: Run) -> list[JSON]:
        """The entries of a run's manifest."""
        assert run.manifest is not None
        document = json.loads(self.sets.read(run.manifest["url"].removeprefix("memory://sets/")))
        entries: list[JSON] = document["events"]
        return entries

    def absorbed(self, route: str, key: str) -> list[str]:
        """The ids of every event that a lane has taken in, over all generations."""
        lane = LaneKey(route, key)
        found = self.lanes.lane(lane)
        closed = range(1, (found[0].generation if found else 0) + 1)
        return [event.id for generation in closed for event in self.lanes.events(lane, generation)]

    def records(self, kind: str = "delivery") -> list[JSON]:
        """The journal's records of a kind, oldest first."""
        return [record for _, record in reversed(list(self.journal.scan())) if record["kind"] == kind]

    def at_rest(self) -> bool:
        """Whether nothing is owed to anybody; without a sweep nobody reads its index."""
        return not any(value for owed, value in self.unrest().items() if self.sweeping or owed != "due")

    def unrest(self) -> dict[str, Any]:
        """What still has to happen."""
        lanes = list(self.lanes.all_lanes())
        return {
            "inputs": len(self.inputs),
            "messages": len(self.messages()),
            "runs": [run.id for run in self.lanes.all_runs() if run.alive],
            "slots": [lane.name for lane in lanes if lane.slots],
            "collecting": [
                lane.name for lane in lanes if MemoryLanes.collected(self.lanes, lane.name, lane.generation)
            ],
            "due": len(list(self.due.overdue(dt.datetime.max.replace(tzinfo=dt.UTC)))),
        }


def event(id_: str, type_: str = "A.B", **data: Any) -> str:
    """A small event in Event Grid schema."""
    return json.dumps({"id": id_, "topic": "/t", "subject": "x/demand", "eventType": type_, "data": data})
