"""The app of this process, put together when it is first used.

Indexing the functions imports this module and nothing behind it, so a cold start pays for the product only when there
is work.  A fault in settings or routes is raised at first use and shown by `health`; the next use reads them again.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.control_plane import ControlPlane
    from shared.operations import Operations
    from shared.ports import Ring
    from shared.scoring_intake import ScoringIntake
    from shared.scoring_log import Entry
    from shared.upkeep import Upkeep
    from shared.wiring import App

_lock = threading.Lock()
_app: App | None = None


def app() -> App:
    """The app of this process.  Raises ConfigurationError with every fault, or Unavailable."""
    global _app
    with _lock:
        if _app is None:
            from shared import settings, wiring

            _app = wiring.build(settings.read(os.environ, wiring.ROOT))
        return _app


def control_plane() -> ControlPlane:
    """The control plane, for synchronous functions."""
    return app().control_plane


async def ready() -> ControlPlane:
    """The control plane of a process that takes events in, and so wakes their lanes itself; first use blocks no loop.

    Whoever only asks, as the console does, starts nothing.
    """
    found = _app if _app is not None else await asyncio.to_thread(app)
    found.bells.answer(found.control_plane.wake)
    return found.control_plane


def operations() -> Operations:
    """What operators can ask and do."""
    return app().operations


def upkeep() -> Upkeep:
    """The index and the retirement, for the timer."""
    return app().upkeep


def ring(body: bytes) -> Ring:
    """The wake-up in a queue message.  Raises ValueError for what is not one."""
    from shared import wiring

    return wiring.ring(body)


@functools.cache
def scoring_intake() -> ScoringIntake:
    """What takes in the scoring log.  Raises ConfigurationError, Unavailable."""
    from shared import settings, wiring

    return wiring.build_scoring_intake(settings.read(os.environ, wiring.ROOT))


def entry(event: Any) -> Entry:
    """The message in an event of a hub, with its place there."""
    from shared import wiring

    return wiring.entry(event)
