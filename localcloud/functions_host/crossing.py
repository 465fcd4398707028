"""Calls into another thread's event loop: however many come at once, the loop is woken once."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable


class Crossing:
    """The way into one event loop, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: collections.deque[Callable[[], object]] = collections.deque()
        self._woken = False

    def call(self, function: Callable[[], object]) -> None:
        """Have the loop call `function`, in order; a loop that is closed calls nothing."""
        self._calls.append(function)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._woken = False  # before the first call: what is added from here on wakes the loop again, or is seen below
        while self._calls:
            self._calls.popleft()()
