"""Puts the app together, once a process, when it is first needed.

This is the only module that names an adapter, and it imports them inside functions: indexing the app must not pay for
SDKs.  A fault in settings or routes is raised at first use and shown by `health`; the next use reads them again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from shared.control_plane import ControlPlane, World
from shared.intake import Intake, IntakeLoop
from shared.operations import Operations
from shared.ports import Ring
from shared.route_file import read as read_routes
from shared.settings import Settings
from shared.settings import read as read_settings

if TYPE_CHECKING:
    pass

ROOT = Path(__file__).resolve().parent.parent
CONTAINER, LANES, DUE = "sluice", "sluicelanes", "sluicedue"
LANE_QUEUE, RUN_QUEUE = "sluice-lane", "sluice-run"


@dataclasses.dataclass(frozen=True)
class App:
    """The parts that the functions and the console use."""

    control_plane: ControlPlane
    operations: Operations


_lock = threading.Lock()
_app: App | None = None


def app() -> App:
    """The app of this process.  Raises ConfigurationError with every fault, or Unavailable."""
    global _app
    with _lock:
        if _app is None:
            _app = _build(read_settings(os.environ, ROOT))
        return _app


def control_plane() -> ControlPlane:
    """The control plane, for synchronous functions."""
    return app().control_plane


async def ready() -> ControlPlane:
    """The control plane, for asynchronous functions; its first use does not block the loop."""
    return _app.control_plane if _app is not None else (await asyncio.to_thread(app)).control_plane


def operations() -> Operations:
    """What operators can ask and do."""
    return app().operations


def ring(body: bytes) -> Ring:
    """The wake-up in a queue message.  Raises ValueError for what is not one."""
    from shared.adapters.queues import read

    return read(body)


def _build(settings: Settings) -> App:
    from shared.adapters import yaml_file
    from shared.adapters.memory import SystemClock

    credential = _credential()
    clock = SystemClock()
    actions, guards = _actions(settings, credential), _guards(settings, credential)
    document = yaml_file.load(settings.routes)
    checks = {kind: action.faults for kind, action in actions.items()}
    routes = read_routes(document, settings.routes.name, checks, frozenset(guards))
    store = _store(settings, credential, clock)
    intake = IntakeLoop(
        Intake(
            routes=routes,
            journal=store["journal"],
            lanes=store["lane_intake"],
            due=store["due"],
            bells=store["bells"],
            clock=clock,
        )
    )
    telemetry = _telemetry(settings)
    world = World(
        clock=clock,
        journal=store["journal"],
        lanes=store["lanes"],
        due=store["due"],
        bells=store["bells"],
        sets=store["sets"],
        actions=actions,
        guards=guards,
        telemetry=telemetry,
        publisher=_publisher(settings, credential),
        settings=settings.for_routes(),
    )
    return App(
        ControlPlane(routes=routes, intake=intake, world=world),
        Operations(
            routes=routes,
            journal=store["journal"],
            lanes=store["lanes"],
            intake=intake,
            telemetry=telemetry,
            clock=clock,
        ),
    )
