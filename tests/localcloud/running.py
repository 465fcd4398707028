"""Services that run in a thread of their own, so that tests can use the blocking SDKs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from localcloud.cloud import Cloud

T = TypeVar("T")
Stop = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def running(start: Callable[[], Coroutine[Any, Any, Stop]]) -> Iterator[None]:
    """Run what `start` starts in a thread with an event loop, until the block ends; `start` answers how to stop it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def end(stop: Stop) -> None:
        await stop()

    try:
        stop = run(start())
        try:
            yield
        finally:
            run(end(stop))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def trusted(cloud: Cloud) -> Iterator[None]:
    """Let the SDKs of this process find identity and certificates of `cloud`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.trust().items():
            patch.setenv(name, value)
        yield


def eventually(condition: Callable[[], T], seconds: float = 20) -> T:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
    return found
