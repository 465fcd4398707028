"""Puts the app together.

This is the only module that names an adapter.  Adapters are imported when they are first used: taking in an event pays
for storage alone.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import datetime as dt
import functools
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared import training_guard
from shared.actions.azureml_pipeline import AzureMLPipeline
from shared.actions.databricks_job import DatabricksJob
from shared.actions.drift import Drift
from shared.actions.emit import Emit
from shared.actions.release import Release
from shared.control_plane import ControlPlane
from shared.errors import ConfigurationError
from shared.event_index import EventIndex
from shared.event_loop import EventLoop
from shared.history import History
from shared.indexing import Indexing
from shared.intake import Intake
from shared.intake_loop import IntakeLoop
from shared.late_events import LateEvents
from shared.operations import Operations
from shared.ports import Action, Bells, Clock, Guard, LaneIntake, Lanes, Publisher, Ring, Telemetry
from shared.prompt_bells import MOST_AT_ONCE, PromptBells
from shared.release_backends import Backends
from shared.retirement import Keeping, Retirement
from shared.route_file import OptionFaults
from shared.route_file import read as read_routes
from shared.routing import Routes
from shared.scoring_intake import ScoringIntake
from shared.scoring_log import Entry
from shared.settings import PUBLIC_MANAGER, Settings
from shared.telemetry import Silence
from shared.training_guard import TrainingGuard
from shared.upkeep import Upkeep
from shared.world import World

ROOT = Path(__file__).resolve().parent.parent
_LONGEST_PAUSE = 0.05
GUARDS: Mapping[str, OptionFaults] = {
    "delta_data_change": lambda options: [f"option {name} is not known" for name in sorted(options)],
    "training": training_guard.faults,
}
"""What is wrong with a route's options for each guard; asked without importing an adapter."""

TOKEN_PATIENCE: Mapping[str, Any] = {"connection_timeout": 5, "read_timeout": 10, "retry_total": 1}
"""How long a token may take; by default an identity endpoint that hangs is waited for in minutes."""


@dataclasses.dataclass(frozen=True)
class App:
    """The parts that the functions and the console use."""

    control_plane: ControlPlane
    operations: Operations
    upkeep: Upkeep
    bells: PromptBells


def entry(event: Any) -> Entry:
    """The message in an event of a hub, with its place there."""
    from shared.adapters.event_hub import entry_of

    return entry_of(event)


def ring(body: bytes) -> Ring:
    """The wake-up in a queue message.  Raises ValueError for what is not one."""
    from shared.adapters.queues import read

    return read(body)


class Deferred:
    """Stands for a backend until its first use, which makes it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = functools.cache(make)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)


def build(settings: Settings) -> App:
    """The app of these settings.  Raises ConfigurationError, Unavailable."""
    from shared.adapters import yaml_file
    from shared.adapters.azure_store import open_store
    from shared.adapters.memory import SystemClock

    logging.getLogger("azure").setLevel(logging.WARNING)  # the SDKs tell every request at level INFO
    clock = SystemClock()
    actions = _actions(settings, clock)
    checks = {kind: action.faults for kind, action in actions.items()}
    routes = read_routes(yaml_file.load(settings.routes), settings.routes.name, checks, GUARDS)
    loop = EventLoop()
    store = open_store(settings.store, clock, loop, _credential, _async_credential)
    index, keeping = EventIndex(store.index), Keeping(dt.timedelta(days=settings.keep_days))
    bells = PromptBells(store.bells, ThreadPoolExecutor(MOST_AT_ONCE, "sluice-wake").submit)
    intake = _intake(routes, store, LateEvents(store.lane_intake, index, keeping, clock), bells, clock, loop)
    atexit.register(_close, store, loop)
    world = World(
        clock=clock,
        journal=store.journal,
        lanes=store.lanes,
        limits=store.limits,
        due=store.due,
        bells=bells,
        sets=store.sets,
        actions=actions,
        guards=_guards(settings, store.lanes, clock),
        telemetry=_telemetry(settings),
        publisher=_publisher(settings),
        settings=settings.for_routes(),
    )
    operations = Operations(
        routes=routes,
        journal=store.journal,
        lanes=store.lanes,
        history=lambda: _history(store, index, keeping, clock.now()),
        intake=intake,
        telemetry=world.telemetry,
        clock=clock,
        evidence=Deferred(lambda: _evidence(settings)),
    )
    upkeep = _upkeep(store, index, keeping, clock)
    return App(ControlPlane(routes=routes, intake=intake, world=world), operations, upkeep, bells)


def _intake(routes: Routes, store: Any, lanes: LaneIntake, bells: Bells, clock: Clock, loop: EventLoop) -> IntakeLoop:
    intake = Intake(
        routes=routes,
        journal=store.journal,
        lanes=lanes,
        due=store.due,
        bells=bells,
        clock=clock,
        longest_pause=_LONGEST_PAUSE,
    )
    return IntakeLoop(intake, loop)


def _close(store: Any, loop: EventLoop) -> None:
    with contextlib.suppress(TimeoutError):
        loop.wait(store.close(), 2)


def _history(store: Any, index: EventIndex, keeping: Keeping, now: dt.datetime) -> History:
    return History(
        journal=store.journal,
        lanes=store.lanes,
        due=store.due,
        sets=store.sets,
        index=index,
        keeping=keeping,
        now=now,
    )


def _upkeep(store: Any, index: EventIndex, keeping: Keeping, clock: Clock) -> Upkeep:
    retirement = Retirement(store.lanes, store.sets, index, store.index, keeping)
    return Upkeep(Indexing(store.journal, store.lanes, index, retirement, keeping), index, retirement, clock)


def build_scoring_intake(settings: Settings) -> ScoringIntake:
    """What takes in the scoring log of these settings.  Raises ConfigurationError, Unavailable."""
    from shared.adapters.azure_store import open_scoring_log
    from shared.adapters.scoring_blobs import open_archive

    if settings.scoring_hub is None:
        raise ConfigurationError(["setting SLUICE_SCORING_HUB is missing: the event hub of the scoring log"])
    hub = settings.scoring_hub.name
    archive, log = open_archive(settings.lake, hub, _credential), open_scoring_log(settings.store, _credential)
    return ScoringIntake(hub, archive, log)


def _actions(settings: Settings, clock: Clock) -> Mapping[str, Action]:
    lake, models = Deferred(lambda: _lake(settings)), Deferred(lambda: _azure_ml(settings).models)
    return {
        "databricks_job": DatabricksJob(Deferred(lambda: _databricks(settings)), lake, clock),
        "azureml_pipeline": AzureMLPipeline(Deferred(lambda: _azure_ml(settings).jobs), models, lake, clock),
        "drift": Drift(lake),
        "release": Release(
            Backends(
                images=Deferred(lambda: _registry(settings)),
                models=models,
                containers=Deferred(lambda: _containers(settings)),
                endpoints=Deferred(lambda: _azure_ml(settings).endpoints),
                scoring=Deferred(_scoring),
                lake=lake,
                golden=_golden,
                served=Deferred(lambda: _served(settings)),
                evidence=Deferred(lambda: _evidence(settings)),
            ),
            clock,
        ),
        "emit": Emit(),
    }


def _guards(settings: Settings, lanes: Lanes, clock: Clock) -> Mapping[str, Guard]:
    tables = Deferred(lambda: _tables(settings))
    return {
        "delta_data_change": Deferred(lambda: _data_change_guard(settings)),
        "training": TrainingGuard(lanes, tables, clock),
    }


@functools.cache
def _credential() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(**TOKEN_PATIENCE)


@functools.cache
def _async_credential() -> Any:
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential(**TOKEN_PATIENCE)


def _databricks(settings: Settings) -> Any:
    from shared.adapters.databricks import Workspace

    return Workspace(settings.databricks, _credential())


@functools.cache
def _azure_ml(settings: Settings) -> Any:
    from shared.adapters.azureml import open_workspace

    return open_workspace(
        _credential(),
        settings.subscription,
        settings.resource_group,
        settings.workspace,
        resource_manager=settings.manager,
        variables=settings.for_deployments(),
    )


def _containers(settings: Settings) -> Any:
    from shared.adapters.container_instances import ContainerInstances

    return ContainerInstances(
        _credential(),
        settings.subscription,
        settings.resource_group,
        settings.location,
        resource_manager=settings.manager,
        pull_identity=settings.pull_identity,
    )


def _registry(settings: Settings) -> Any:
    from shared.adapters.registry import Registry

    return Registry(settings.registry, _credential(), audience=PUBLIC_MANAGER)


def _scoring() -> Any:
    from shared.adapters.scoring import Scoring

    return Scoring()


def _served(settings: Settings) -> Any:
    from shared.adapters.logged_calls import open_calls

    return open_calls(settings, _credential)


def _evidence(settings: Settings) -> Any:
    from shared.adapters.azure_store import open_evidence

    return open_evidence(settings.store, _credential)


def _golden(content: bytes) -> Any:
    from shared.adapters.golden_set import GoldenSet

    return GoldenSet(content)


@functools.cache
def _lake(settings: Settings) -> Any:
    from shared.adapters.lake import open_lake

    return open_lake(settings.lake, _credential)


def _tables(settings: Settings) -> Any:
    from shared.adapters.delta_log import DeltaTables

    return DeltaTables(_lake(settings))


def _data_change_guard(settings: Settings) -> Any:
    from shared.adapters.lake import DataChangeGuard

    return DataChangeGuard(_lake(settings))


def _telemetry(settings: Settings) -> Telemetry:
    if settings.insights is None:
        return Silence()
    connection = settings.insights

    def make() -> Any:
        from shared.adapters.app_insights import AppInsights

        return AppInsights(connection)

    return Deferred(make)


def _publisher(settings: Settings) -> Publisher | None:
    """Outside listeners hear our own events from a custom topic, or from an event hub where one is named."""
    topic, key, hub = settings.topic, settings.topic_key, settings.outbox

    def to_topic() -> Any:
        from shared.adapters.event_grid import EventGridTopic

        return EventGridTopic(str(topic), key or _credential())

    def to_hub() -> Any:
        from shared.adapters.event_hub import EventHub

        host, _, name = str(hub).partition("/")
        return EventHub.of_namespace(host, name, _credential())

    return Deferred(to_hub) if hub else Deferred(to_topic) if topic else None
