"""The intake's event loop, and the way into it and back for the functions of any thread."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from shared.event_loop import EventLoop
from shared.intake import Answer, Intake, Receipt
from shared.ports import JSON, Journal


class _Crossing:
    """The way into an event loop from other threads: however many calls come at once, the loop is woken once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: collections.deque[Callable[[], object]] = collections.deque()
        self._woken = False

    def call(self, function: Callable[[], object]) -> None:
        """Have the loop call `function`, which must not raise, in order; a loop that is closed calls nothing."""
        self._calls.append(function)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._woken = False  # before the first call: what is added from here on wakes the loop again, or is seen below
        while self._calls:
            self._calls.popleft()()


class _Elsewhere:
    """An answer whose future lives on another loop."""

    def __init__(self, future: asyncio.Future[list[Receipt]], crossing: _Crossing) -> None:
        self._future, self._crossing = future, crossing

    def done(self) -> bool:
        return self._future.done()

    def set_result(self, receipts: list[Receipt], /) -> None:
        self._crossing.call(lambda: self._settle(self._future.set_result, receipts))

    def set_exception(self, error: BaseException, /) -> None:
        self._crossing.call(lambda: self._settle(self._future.set_exception, error))

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        if not self._future.done():
            settle(outcome)


class IntakeLoop:
    """The intake on a loop of the process's own, so that asynchronous and synchronous functions share its groups."""

    def __init__(self, intake: Intake, loop: EventLoop) -> None:
        self._intake, self._loop = intake, loop
        self._inwards = _Crossing(loop.loop)
        self._outwards: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Crossing] = weakref.WeakKeyDictionary()

    async def receive(self, origin: str, payloads: Sequence[str | bytes]) -> list[Receipt]:
        """`Intake.receive` from any event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._outwards:
            self._outwards[loop] = _Crossing(loop)
        future: asyncio.Future[list[Receipt]] = loop.create_future()
        answer = _Elsewhere(future, self._outwards[loop])
        self._inwards.call(lambda: self._take(origin, payloads, answer))
        return await future

    def _take(self, origin: str, payloads: Sequence[str | bytes], answer: Answer) -> None:
        try:
            self._intake.take(origin, payloads, answer)
        except Exception as error:  # the sender must hear of it, whatever it was
            answer.set_exception(error)

    def submit(self, origin: str, payloads: Sequence[str | bytes]) -> concurrent.futures.Future[list[Receipt]]:
        """`Intake.receive` from any thread."""
        return asyncio.run_coroutine_threadsafe(self._intake.receive(origin, payloads), self._loop.loop)

    def append(self, journal: Journal, record: JSON) -> str:
        """Append one record to the journal from any thread; answers its reference."""
        return self._loop.wait(journal.append([record]))[0]
