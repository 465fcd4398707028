"""One simulation: events arrive, instances come and go, faults happen for a while, and then everything must end."""

from __future__ import annotations

import dataclasses
import json
import logging
from unittest import mock

import greenlet

from shared.errors import SluiceError
from shared.phases import Phase
from shared.ports import ANY
from shared.routing import Routes
from shared.runs import Run
from tests.simulation.backends import Effect, SimBackend, SimGuard, SimPublisher
from tests.simulation.checks import Checks
from tests.simulation.dice import Dice
from tests.simulation.instances import Instance
from tests.simulation.release_town import ReleaseTown
from tests.simulation.scenario import events as drawn_events
from tests.simulation.scenario import pushed, pushes, routes
from tests.simulation.scheduler import Crash, Scheduler, SimClock
from tests.simulation.stores import (
    MemoryDue,
    MemoryIndexBlobs,
    MemoryLimits,
    MemorySets,
    Message,
    SimJournal,
    SimLanes,
    SimQueues,
)

TROUBLE = 240.0
"""For how many seconds faults happen."""
SILENCE = 90.0
"""For how long no backend's answer gets through, in some seeds."""
SETTLED = 180.0
"""How long after the last fault what was late has come."""
PATIENCE = 4 * 3600.0
"""Within how many seconds after the last fault everything has ended: attempts, their timeouts and pauses."""
AGAIN_LATE = 0.2
"""So many events are sent again when their dedupe rows may have been retired."""
TRIES, SWEEP, UPKEEP = 5, 30.0, 12.0
_DOES = {
    "stops": ("cancel",), "abandons": ("cancel", "abandon", "retry"), "repeats": ("retry",), "renews": ("force_new",),
}  # fmt: skip
_WHO = {"retry": "bob", "force_new": "bob"}


@dataclasses.dataclass
class Delivery:
    """What a sender has in hand: events in one request, sent again until that is acknowledged."""

    payloads: list[str]
    origin: str
    tries: int = 0


class Simulation:
    """Everything of one seed."""

    def __init__(self, seed: int, keep: frozenset[str] | None = None, events: frozenset[int] | None = None) -> None:
        self.scheduler, self.dice = Scheduler(), Dice(seed, keep)
        self.trace: list[str] = []
        self.dice.observer = lambda fault: self.note(f"fault {fault}")
        self.routes: Routes = routes(self.dice)
        self.store_clock = SimClock(self.scheduler)
        self.journal, self.sets, self.due = SimJournal(), MemorySets(), MemoryDue()
        self.limits = MemoryLimits()
        self.blobs = MemoryIndexBlobs(self.store_clock)
        self.lanes = SimLanes(self.store_clock, f"{seed:032d}")
        self.queues, self.guard = SimQueues(self.scheduler, self.dice, TROUBLE + SETTLED), SimGuard()
        self.checks = Checks(self)
        self.journal.checks = self.lanes.checks = self.checks
        self.publisher = SimPublisher(self.checks.told)
        self.backends = [
            SimBackend(name, self.scheduler, self.dice, self._began, exclusive=name == "careful")
            for name in ("work", "copy", "careful")
        ]
        self.town = ReleaseTown(self.scheduler, self.dice, self.checks.hold)
        self.queues.deliver = self._hand_out
        self.skew, self.visibility = self.dice.pick("skew", (0, 0.5, 4)), self.dice.pick("visibility", (45, 600))
        self._silence = self.dice.pick(
            "silence", (-SILENCE, -SILENCE, self.dice.number("silence", 0, TROUBLE - SILENCE))
        )
        self.poison: list[str] = []
        self.unexpected: list[str] = []
        self.inputs: list[str] = []
        self.stale: set[greenlet.greenlet] = set()
        self._open, self._born = 0, 0
        self.instances = [self._instance() for _ in range(self.dice.pick("instances", (1, 2, 2, 3, 4)))]
        self._send_all(events)

    # -- the whole -------------------------------------------------------------------------------------------------

    def run(self) -> str | None:
        """Let it all happen; answers the sentence that is not true, None when every promise held."""
        logging.disable(logging.CRITICAL)
        patches = (
            mock.patch("uuid.uuid4", self.dice.uuid),
            mock.patch("time.monotonic", self.scheduler.time),
        )
        for patch in patches:
            patch.start()
        try:
            self.scheduler.at(SWEEP, self._sweep)
            if self.dice.pick("upkeep", (True, False, False)):
                self.scheduler.at(UPKEEP, self._keep)
            self.scheduler.at(TROUBLE, self._calm)
            self.scheduler.at(15, self._operate)
            self.scheduler.run(lambda: self.checks.broken is not None, TROUBLE)
            limit = TROUBLE + PATIENCE
            self.scheduler.run(lambda: self.checks.broken is not None or self._over(), limit)
            if self.checks.broken is None:
                self.checks.hold(self._over(), f"once faults stop everything ends: {self._unrest()}")
                self.checks.at_rest()
            return self.checks.broken
        finally:
            for patch in patches:
                patch.stop()
            logging.disable(logging.NOTSET)

    @property
    def silent(self) -> bool:
        """Whether no backend's answer gets through just now."""
        return self._silence <= self.scheduler.now < self._silence + SILENCE

    def effects(self) -> list[Effect]:
        """All that backends have ever done."""
        return [effect for backend in self.backends for effect in backend.effects.values()]

    def note(self, what: str) -> None:
        """One line of the schedule."""
        self.trace.append(f"{self.scheduler.now:9.3f}  {what}")

    def _calm(self) -> None:
        self.dice.calm = True
        self.note("faults stop")

    def _over(self) -> bool:
        return self.dice.calm and not (
            self._open or self.queues.messages or self.due._rows or any(lane.slots for lane in self.lanes.all_lanes())
            or any(run.alive for run in self.lanes.all_runs())
        )  # fmt: skip

    def _unrest(self) -> str:
        alive = [f"{run.id} {run.phase} {run.reason}" for run in self.lanes.all_runs() if run.alive]
        slots = [str(lane) for lane in self.lanes.all_lanes() if lane.slots]
        left = len(self.queues.messages), len(self.due._rows), self._open
        return f"runs {alive[:3]}, slots {slots[:2]}, (messages, due rows, deliveries) {left}"

    def _began(self, effect: Effect) -> None:
        self.note(f"effect {effect.run} attempt {effect.attempt}")
        self.checks.began(effect)

    # -- instances -------------------------------------------------------------------------------------------------

    def _instance(self) -> Instance:
        self._born += 1
        return Instance(self, f"i{self._born}")

    def crashed(self, instance: Instance) -> None:
        """An instance has died; the platform starts another."""
        self.note(f"{instance.name} dies")
        self.instances.remove(instance)
        self.scheduler.at(self.dice.number("restart", 0.1, 20), lambda: self.instances.append(self._instance()))

    def _someone(self, name: str) -> Instance | None:
        return self.dice.pick(name, self.instances) if self.instances else None

    def _sweep(self) -> None:
        self.scheduler.at(SWEEP, self._sweep)
        instance = self._someone("sweeper")
        if instance is not None:
            instance.spawn(instance.control_plane.sweep, lambda error: self._expect(error, "sweep"))

    def _keep(self) -> None:
        self.scheduler.at(UPKEEP, self._keep)
        instance = self._someone("keeper")
        if instance is not None:
            instance.spawn(instance.upkeep.tick, lambda error: self._expect(error, "upkeep"))

    def _expect(self, error: BaseException | None, what: str) -> None:
        if error is not None and not isinstance(error, Crash | SluiceError):
            self.unexpected.append(f"{what} raised {error!r}")

    # -- the operator ----------------------------------------------------------------------------------------------

    def _operate(self) -> None:
        if self.dice.calm:
            return
        self.scheduler.at(15, self._operate)
        roll, instance = self.dice.roll("operator"), self._someone("console")
        runs = list(self.lanes.all_runs())
        if instance is None or not runs:
            return
        asking = [run for run in runs if run.phase is Phase.APPROVAL]
        if asking and roll.d < 0.7:
            self._command(instance, "approve" if roll.d < 0.5 else "reject", asking[int(roll.c * len(asking))])
        does = self.dice.fault(roll, tuple(_DOES))
        if does is not None:
            working = [run for run in runs if run.phase in (Phase.STARTING, Phase.RUNNING)]
            among = working if working and does == "abandons" else runs
            for number, what in enumerate(_DOES[does]):
                self.scheduler.at(9 * number, self._command, instance, what, among[int(roll.c * len(among))])

    def _command(self, instance: Instance, what: str, run: Run) -> None:
        def work() -> None:
            if what == "abandon":
                self.checks.abandoned.append(run.id)
            try:
                said = getattr(instance.control_plane.commands, what)(run.id, _WHO.get(what, "ada"))
            except ValueError:
                if what == "abandon":
                    self.checks.abandoned.remove(run.id)
                raise
            self.note(f"operator: {said}")
            if what == "force_new":
                self.checks.renewed.append(run.id)

        instance.spawn(work, lambda error: isinstance(error, ValueError) or self._expect(error, "operator"))

    # -- the queues' host ------------------------------------------------------------------------------------------

    def _hand_out(self, message: Message) -> None:
        if message.number not in self.queues.messages or message.visible_at > self.scheduler.now + 1e-9:
            return
        instance = self._someone("worker")
        if instance is None:
            self.scheduler.at(1, self._hand_out, message)
            return
        message.tries += 1
        message.visible_at = self.scheduler.now + self.visibility
        self.scheduler.at(self.visibility, self._hand_out, message)
        plane, again = instance.control_plane, message.tries > 1
        handle = plane.wake if message.queue == "lane" else plane.advance
        self.note(f"{instance.name} {message.queue} {message.ring.lane.route}/{message.ring.generation}"
                  f"#{message.ring.number}{' again' * again}")  # fmt: skip

        def work() -> None:
            if self._old(message):
                self.stale.add(greenlet.getcurrent())
            self.note(f"{instance.name}   -> {handle(message.ring, redelivered=again)}")

        instance.spawn(work, lambda error: self._handled(message, error))

    def _old(self, message: Message) -> bool:
        """Whether the truth holds a newer number already; numbers only grow."""
        ring, lane = message.ring, self.lanes.lane(message.ring.lane)
        if message.queue == "lane":
            number = lane[0].ring_no if lane and ring.number == ANY else ring.number
            return lane is not None and (ring.generation, number) < (lane[0].generation, lane[0].ring_no)
        run = self.lanes.run(ring.lane, ring.generation)
        return run is not None and ring.number < run[0].ring_no

    def _handled(self, message: Message, error: BaseException | None) -> None:
        self._expect(error, message.queue)
        if isinstance(error, Crash):
            return
        if error is None:
            if self.dice.fault(self.dice.roll("acknowledge"), ("unacknowledged",)) is None:
                self.queues.messages.pop(message.number, None)
        elif message.tries >= TRIES:
            self.queues.messages.pop(message.number, None)
            if self.dice.calm:
                self.poison.append(f"{message.queue} {message.ring}")
        else:
            message.visible_at = self.scheduler.now
            self.scheduler.at(0, self._hand_out, message)

    # -- the senders -----------------------------------------------------------------------------------------------

    def _send_all(self, wanted: frozenset[int] | None) -> None:
        for batch, at in drawn_events(self.dice, wanted):
            self.inputs += [payload for payload in batch if payload.endswith("}")]
            self._send(batch, at)
        if self.routes.named("release"):
            self._push_all(wanted)
        for payload in self.inputs:
            if self.dice.roll("late").a < AGAIN_LATE:
                self._send([payload], self.dice.number("late", 150, TROUBLE + SETTLED - 20))

    def _push_all(self, wanted: frozenset[int] | None) -> None:
        for version, at in pushes(self.dice, wanted):
            self.scheduler.at(at, self.town.pushed, version)
            self.inputs.append(pushed(version))
            self._send([pushed(version)], at)
        if self.dice.roll("by hand").a < 0.15:
            self.scheduler.at(self.dice.number("hand", 20, TROUBLE), self.town.write_by_hand)

    def _send(self, payloads: list[str], delay: float) -> None:
        self._open += 1
        origin = self.dice.pick("origin", ("event_grid", "event_hubs"))
        self.scheduler.at(delay, self._deliver, Delivery(payloads, origin))

    def _deliver(self, delivery: Delivery) -> None:
        instance = self._someone("receiver")
        if instance is None:
            self.scheduler.at(1, self._deliver, delivery)
            return
        delivery.tries += 1
        self.note(f"{instance.name} receives {[json.loads(p)['id'] for p in delivery.payloads if p[-1] == '}']}")
        payloads = list(delivery.payloads)
        if delivery.origin == "event_grid" and len(payloads) > 1 and all(text[-1] == "}" for text in payloads):
            payloads = ["[" + ", ".join(payloads) + "]"]
        instance.spawn(
            lambda: instance.intake.submit(delivery.origin, payloads).result(),
            lambda error: self._delivered(delivery, error),
        )

    def _delivered(self, delivery: Delivery, error: BaseException | None) -> None:
        self._expect(error, "receive")
        roll = self.dice.roll("sender")
        if error is None:
            for payload in delivery.payloads:
                self.checks.acknowledged(payload)
            fault = self.dice.fault(roll, ("resent", "twice"))
            if fault is None:
                self._open -= 1
                self.note("acknowledged")
                return
            if fault == "twice" and len(delivery.payloads) < len(self.inputs):
                other = self.dice.pick("companion", self.inputs)
                delivery.payloads = [*delivery.payloads[::-1], other]  # again, in another batch and order
        self.scheduler.at(roll.between(0.5, 20), self._deliver, delivery)


def simulate(
    seed: int, keep: frozenset[str] | None = None, events: frozenset[int] | None = None
) -> tuple[str | None, Simulation]:
    """Run one seed; answers what was not true, and all that can be seen afterwards."""
    made = Simulation(seed, keep, events)
    return made.run(), made
