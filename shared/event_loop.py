"""The process's one event loop: what is asynchronous lives on it, and any thread may wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Answer = TypeVar("Answer")

_THREADS = 32


class EventLoop:
    """Runs in a thread of its own until the process ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(ThreadPoolExecutor(_THREADS, "sluice-loop"))
        threading.Thread(target=self.loop.run_forever, name="sluice-loop", daemon=True).start()

    def wait(self, work: Coroutine[Any, Any, Answer], seconds: float | None = None) -> Answer:
        """The answer of some work, waited for in another thread.  Raises TimeoutError after so many seconds."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)
