"""Virtual time, and everything that happens in it, one thing at a time.

A handler is a greenlet; it gives way at each port call.  The intake's coroutines run on `SimLoop`, an asyncio loop
that lives on the same scheduler.  Nothing here reads the machine's clock or chance: the seed alone decides.
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import heapq
from collections.abc import Callable, Sequence
from typing import Any

import greenlet

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


class Crash(BaseException):
    """The instance is killed."""


class Scheduler:
    """The order of everything: by virtual time, then by who asked first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._number = 0
        self._hub = greenlet.getcurrent()

    def time(self) -> float:
        """Virtual time in seconds."""
        return self.now

    def at(self, delay: float, call: Callable[..., Any], *args: Any) -> None:
        """Make this call after a delay, from the hub."""
        self._number += 1
        heapq.heappush(self._heap, (self.now + max(0.0, delay), self._number, call, args))

    def run(self, ended: Callable[[], bool], until: float) -> None:
        """Let things happen until `ended` says so, time is up, or nothing is left."""
        self._hub = greenlet.getcurrent()
        while self._heap and not ended() and self._heap[0][0] <= until:
            self.now, _, call, args = heapq.heappop(self._heap)
            call(*args)

    def spawn(self, work: Callable[[], None]) -> greenlet.greenlet:
        """Begin some work soon; it must not raise."""
        made = greenlet.greenlet(work, parent=self._hub)
        self.at(0, self.resume, made)
        return made

    def sleep(self, delay: float) -> None:
        """Give way for some time."""
        self.at(delay, self.resume, greenlet.getcurrent())
        self._hub.switch()

    def park(self) -> None:
        """Give way until somebody resumes this greenlet."""
        self._hub.switch()

    def resume(self, sleeper: greenlet.greenlet) -> None:
        """Go on with a greenlet; from the hub only."""
        if not sleeper.dead:
            sleeper.switch()

    def kill(self, sleeper: greenlet.greenlet) -> None:
        """Raise Crash in a greenlet that has begun; from the hub only."""
        if sleeper:
            sleeper.throw(Crash)


class SimClock:
    """The time as one instance sees it: its clock is wrong by a little."""

    def __init__(self, scheduler: Scheduler, skew: float = 0.0) -> None:
        self.scheduler, self.skew = scheduler, skew

    def now(self) -> dt.datetime:
        """See `ports.Clock`."""
        return NOON + dt.timedelta(seconds=self.scheduler.now + self.skew)


class SimFuture:
    """What `IntakeLoop.submit` answers: waiting for it gives way to others."""

    def __init__(self, scheduler: Scheduler, task: asyncio.Task[Any]) -> None:
        self._scheduler, self._task = scheduler, task

    def result(self) -> Any:
        """The answer, or the error."""
        if not self._task.done():
            waiter = greenlet.getcurrent()
            self._task.add_done_callback(lambda _: self._scheduler.at(0, self._scheduler.resume, waiter))
            self._scheduler.park()
        return self._task.result()


class SimLoop(asyncio.AbstractEventLoop):
    """An event loop of one instance; it dies with it.  `IntakeLoop`'s stand-in is built on it."""

    def __init__(self, scheduler: Scheduler, spawn: Callable[[Callable[[], None]], None]) -> None:
        self._scheduler, self._spawn = scheduler, spawn
        self._ready: collections.deque[asyncio.Handle] = collections.deque()
        self._kicked = self.dead = False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._kicked and not self.dead:
            self._kicked = True
            self._scheduler.at(0, self._drain)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.time() + delay, callback, args, self, context)
        self._scheduler.at(delay, self._fire, handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A timer that was cancelled fires into nothing."""

    def time(self) -> float:
        return self._scheduler.now

    def _fire(self, handle: asyncio.TimerHandle) -> None:
        if not handle.cancelled():
            self.call_soon(handle._callback, *handle._args, context=handle._context)  # type: ignore[attr-defined]

    def _drain(self) -> None:
        self._kicked = False
        asyncio._set_running_loop(self)
        try:
            while self._ready and not self.dead:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:  # noqa: ARG002
        return asyncio.Task(coro, loop=self, name=name or "task")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # noqa: ARG002
        future = self.create_future()

        def work() -> None:
            try:
                answer = func(*args)
            except Exception as error:
                self.settle(future, error=error)
            else:
                self.settle(future, answer)

        self._spawn(work)
        return future

    def settle(self, future: asyncio.Future[Any], answer: Any = None, *, error: Exception | None = None) -> None:
        """Answer a future of this loop, unless either has gone."""
        if self.dead or future.done():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody waits for any more is of no interest."""


class SimIntakeLoop:
    """Has the surface of `IntakeLoop`; the work is done on the scheduler."""

    def __init__(self, intake: Any, loop: SimLoop, scheduler: Scheduler) -> None:
        self._intake, self.loop, self._scheduler = intake, loop, scheduler

    def submit(self, origin: str, payloads: Sequence[str | bytes]) -> SimFuture:
        """See `IntakeLoop`."""
        return SimFuture(self._scheduler, self.loop.create_task(self._intake.receive(origin, payloads)))

    def append(self, journal: Any, record: Any) -> str:
        """See `IntakeLoop`."""
        answer: list[str] = SimFuture(self._scheduler, self.loop.create_task(journal.append([record]))).result()
        return answer[0]
