"""Every call of an instance to the world: it takes time, and it may go wrong in each way that a call can.

`lost`: no effect, no answer.  `after`: the effect exists, the answer is lost.  `late`: the caller gives up, and the
effect comes when nobody waits for it.  `landed_conflict`: the SDK repeated a write that had landed, and lost to itself.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from shared import patience
from shared.errors import Conflict, SluiceError, Unavailable
from tests.simulation.dice import Roll
from tests.simulation.scheduler import Crash

if TYPE_CHECKING:
    from tests.simulation.instances import Instance

_DYING = ("crash_before", "crash_after", "slow")
_READ = ("lost", *_DYING)
_WRITE = ("lost", "after", "late", *_DYING)
_GUARDED = (*_WRITE, "conflict", "landed_conflict")
_BACKEND = ("lost", "after", "late", "throttled", "odd", *_DYING)

FAULTS = {
    "journal.append": _WRITE,
    "lanes.absorb": (*_WRITE, "partial"),
    "lanes.open_generation": ("lost", "after", *_DYING),
    "lanes.save_lane": _GUARDED,
    "lanes.hand_over": _GUARDED,
    "lanes.save_run": _GUARDED,
    "lanes.move": _GUARDED,
    "limits.save_limit": _GUARDED,
    "due.insert": _WRITE,
    "due.delete": _WRITE,
    "bells.ring_lane": _WRITE,
    "bells.ring_run": _WRITE,
    "sets.write": _WRITE,
    "lanes.retire": _WRITE,
    "index.write": _WRITE,
    "index.delete": _WRITE,
    "index.replace": _GUARDED,
    "publisher.publish": _WRITE,
    "release.start": (),
    "release.observe": (),
    "release.cancel": (),
}
"""What may go wrong with which call; a release makes calls of its own, each of which may."""
LATEST = 12.0
"""How long after its caller gave up a write may still land in the store; well below the sweep's grace."""
LATEST_AT_A_BACKEND = 45.0
SLOWEST, SLOWEST_BACKEND = 10.0, 25.0
"""How long a call may take; two of a backend's fit into a lease, as `patience` has the real clients keep it."""


class Wired:
    """A port as one instance has it."""

    def __init__(self, name: str, port: Any, instance: Instance, *, backend: bool = False) -> None:
        self._name, self._port, self._instance, self._backend = name, port, instance, backend

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._port, attribute)
        if not callable(value) or attribute == "faults":
            return value
        place = f"{self._name}.{attribute}"
        kinds = FAULTS.get(place, _BACKEND if self._backend else _READ)
        calling = _Calling(self._instance, place, value, kinds, backend=self._backend)
        made = calling.awaited if inspect.iscoroutinefunction(value) else calling.called
        self.__dict__[attribute] = made
        return made


class _Calling:
    """One method of one port of one instance."""

    def __init__(
        self, instance: Instance, place: str, effect: Callable[..., Any], kinds: tuple[str, ...], *, backend: bool
    ) -> None:
        self._instance, self._place, self._effect, self._kinds = instance, place, effect, kinds
        self._backend, self._latest = backend, LATEST_AT_A_BACKEND if backend else LATEST
        self._scheduler, self._dice = instance.scheduler, instance.dice
        self._name = f"{instance.name} {place}"
        self._slowest = SLOWEST_BACKEND if backend else SLOWEST

    def called(self, *args: Any, **named: Any) -> Any:
        """A call of a handler."""
        self._alive()
        roll = self._dice.roll(self._name)
        fault = self._dice.fault(roll, self._kinds)
        if self._backend and self._instance.simulation.silent:
            fault = "after" if roll.c < 0.5 else "lost"
        effect = lambda: self._done(args, named)  # noqa: E731
        self._patiently(roll.c, fault)
        self._before(fault)
        if fault == "late":
            self._scheduler.at(roll.between(0.01, self._latest), self._later, effect)
            raise Unavailable(f"{self._place} took too long")
        with self._instance.calling(self._place, args):
            if fault in ("after", "landed_conflict", "crash_after"):
                with contextlib.suppress(SluiceError):
                    effect()
            else:
                answer = effect()
            self._wait(roll.d, None)
        self._after(fault)
        return answer

    async def awaited(self, *args: Any, **named: Any) -> Any:
        """A call of the intake."""
        self._alive()
        roll = self._dice.roll(self._name)
        fault = self._dice.fault(roll, self._kinds)
        await self._pause(roll.c, fault)
        self._before(fault)
        self._instance.simulation.store_clock.skew = self._instance.clock.skew
        effect = lambda: _now(self._effect(*args, **named))  # noqa: E731
        if fault == "late":
            self._scheduler.at(roll.between(0.01, self._latest), self._later, effect)
            raise Unavailable(f"{self._place} took too long")
        if fault == "partial":
            lane, generation, events = args
            _now(self._effect(lane, generation, events[: max(1, len(events) // 2)]))
            raise Unavailable(f"{self._place} answered 503 in the middle")
        if fault in ("after", "crash_after"):
            with contextlib.suppress(SluiceError):
                effect()
        else:
            answer = effect()
        await self._pause(roll.d, None)
        self._after(fault)
        return answer

    def _alive(self) -> None:
        if not self._instance.alive:
            raise Crash

    def _before(self, fault: str | None) -> None:
        self._alive()
        if fault == "crash_before":
            self._instance.crash()
            raise Crash
        if fault == "lost":
            raise Unavailable(f"{self._place} answered 503")
        if fault == "throttled":
            raise Unavailable(f"{self._place} answered 429", retry_after=7)
        if fault == "odd":
            raise RuntimeError(f"{self._place} broke its own promise")
        if fault == "conflict":
            raise Conflict(f"{self._place} answered 412")

    def _after(self, fault: str | None) -> None:
        self._alive()
        if fault == "crash_after":
            self._instance.crash()
            raise Crash
        if fault == "after":
            raise Unavailable(f"{self._place} did it and answered 503")
        if fault == "landed_conflict":
            raise Conflict(f"{self._place} did it and answered 412")

    def _wait(self, chance: float, fault: str | None) -> None:
        self._scheduler.sleep(self._lasts(chance, fault))
        self._alive()

    def _patiently(self, chance: float, fault: str | None) -> None:
        """Wait for the answer; a call that a run makes is given up before its lease ends, as the real clients do."""
        lasts, most = self._lasts(chance, fault), patience.left(3600.0)
        self._scheduler.sleep(min(lasts, most))
        self._alive()
        if lasts > most:
            raise Unavailable(f"{self._place} took too long")

    async def _pause(self, chance: float, fault: str | None) -> None:
        future = self._instance.loop.create_future()
        self._scheduler.at(self._lasts(chance, fault), self._instance.loop.settle, future)
        await future

    def _lasts(self, chance: float, fault: str | None) -> float:
        """Most calls take milliseconds, a few a tenth of a second, a slow one seconds."""
        return 0.002 + 0.2 * chance**4 + (1 + (self._slowest - 1) * chance if fault == "slow" else 0)

    def _done(self, args: Any, named: Any) -> Any:
        answer = self._effect(*args, **named)
        return iter(list(answer)) if isinstance(answer, Iterator) else answer

    @staticmethod
    def _later(effect: Callable[[], Any]) -> None:
        with contextlib.suppress(SluiceError):
            effect()


def _now(work: Any) -> Any:
    """The answer of a coroutine that waits for nothing: the memory twins' asynchronous halves."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a simulated store does not wait")


__all__ = ["FAULTS", "Roll", "Wired"]
