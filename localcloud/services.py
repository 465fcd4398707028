"""The services process of a local cloud: every service but Azurite and the Functions host, one port each.

`python -m localcloud.services --name NAME` serves until it is asked to end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from localcloud import certificates, processes
from localcloud.app_insights import AppInsights
from localcloud.azure_ml import AzureML
from localcloud.cloud import ROOT, SERVICES, Cloud
from localcloud.container_instances import ContainerInstances
from localcloud.containers import Containers
from localcloud.databricks import Databricks
from localcloud.environments import Environments
from localcloud.event_grid import DEFAULT_TIME_SCALE, EventGrid
from localcloud.event_hubs import EventHubs
from localcloud.event_hubs_port import SharedPort
from localcloud.faults import Faults, Handler
from localcloud.identity import Identity
from localcloud.lake_front import LakeFront
from localcloud.online_endpoints import OnlineEndpoints
from localcloud.processes import Processes
from localcloud.registry import Registry
from localcloud.registry_build import RegistryBuild

ELSEWHERE = frozenset({"azurite_blob", "azurite_queue", "azurite_table", "functions"})
"""Services with a process of their own."""

_TLS = frozenset({"arm", "registry", "event_hubs"})
_OPEN = frozenset({"/metadata/endpoints", "/discovery", "/_faults"})


class Service(Protocol):
    """What every service offers."""

    def routes(self) -> list[web.RouteDef]:
        """Its routes on its port."""


class Services:
    """All services of one cloud, wired to each other and bound to their ports."""

    def __init__(self, cloud: Cloud, *, time_scale: float = DEFAULT_TIME_SCALE) -> None:
        self._cloud = cloud
        self._faults = {name: Faults() for name in SERVICES if name not in ELSEWHERE}
        self._processes = Processes(cloud.home)
        self._runners: list[web.AppRunner] = []
        self._hubs = EventHubs(cloud, self._faults["event_hubs"])
        self._grid = EventGrid(cloud, self._faults["event_grid"], self._hubs, time_scale=time_scale)
        self._closing: list[Any] = [self._grid, self._hubs, self._processes]
        self._routes = self._wire()

    def _wire(self) -> dict[str, list[web.RouteDef]]:
        cloud, grid = self._cloud, self._grid
        environments = Environments(cloud.root / ".envs")
        registry = Registry(cloud, grid)
        containers = Containers(cloud, registry, environments, self._processes)
        endpoints = OnlineEndpoints(cloud, containers, grid, self._faults["arm"], self._faults["scoring"])
        machine_learning = AzureML(cloud, environments, self._processes, grid, endpoints)
        instances = ContainerInstances(cloud, containers)
        build = RegistryBuild(cloud, registry, environments)
        databricks = Databricks(cloud, environments, self._processes)
        lake = LakeFront(cloud, grid)
        self._starting: list[Any] = [lake, databricks, machine_learning, build, instances, endpoints]
        self._closing[:0] = [databricks, machine_learning, build, instances, endpoints, containers, registry, lake]
        metadata = [web.get("/metadata/endpoints", self._metadata)]
        return {
            "lake": lake.routes(),
            "identity": Identity(cloud).routes(),
            "event_grid": grid.routes(),
            "event_hubs": [],
            "databricks": databricks.routes(),
            "arm": [*metadata, *_all(machine_learning, instances, build), *grid.arm_routes()],
            "registry": registry.routes(),
            "scoring": endpoints.ingress_routes(),
            "app_insights": AppInsights(cloud).routes(),
        }

    async def start(self) -> None:
        """Bind every port; `OSError` names the port that is busy."""
        processes.end(self._cloud.home, self._left_over())
        processes.forget(self._cloud.home, "children")
        for name, routes in self._routes.items():
            middlewares = [self._faults[name].middleware, *([_authenticated] if name == "arm" else [])]
            # Bodies are as large as blobs and image layers are, and signed as they arrive.
            app = web.Application(middlewares=middlewares, client_max_size=0)
            app.add_routes(self._faults[name].routes())
            app.add_routes(routes)
            runner = web.AppRunner(app, access_log=None, auto_decompress=name != "lake", shutdown_timeout=1.0)
            await runner.setup()
            self._runners.append(runner)
            await self._bind(name, runner)
        for service in self._starting:
            await service.start()
        self._grid.resume()

    async def _bind(self, name: str, runner: web.AppRunner) -> None:
        tls = certificates.server_context(self._cloud) if name in _TLS else None
        port = self._cloud.ports[name]
        if name == "event_hubs":
            shared = SharedPort(self._hubs.serve, runner.server, tls)
            await shared.start(port)
            self._closing.insert(0, shared)
        else:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()

    async def close(self) -> None:
        """Stop serving, then everything that the services started."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        for service in self._closing:
            if close := getattr(service, "close", None):
                await close()

    def _left_over(self) -> list[processes.Known]:
        own = processes.written_down(self._cloud.home, "children")
        return [known for known in own if known.process() is not None]

    async def _metadata(self, _: web.Request) -> web.Response:
        """The clouds that Azure Resource Manager knows: this one."""
        arm = self._cloud.url("arm")
        return web.json_response(
            [
                {
                    "name": "SluiceLocal",
                    "portal": arm,
                    "resourceManager": f"{arm}/",
                    "authentication": {"loginEndpoint": arm, "audiences": [f"{arm}/"], "tenant": "common"},
                    "suffixes": {"storage": "core.local"},
                }
            ]
        )


def _all(*services: Service) -> Iterable[web.RouteDef]:
    return [route for service in services for route in service.routes()]


@web.middleware
async def _authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse callers of Azure Resource Manager that bring no token; which one is not looked at."""
    if request.headers.get("Authorization", "").startswith("Bearer ") or request.path in _OPEN:
        return await handler(request)
    error = {"code": "AuthenticationFailed", "message": "Authentication failed. The 'Authorization' header is missing."}
    return web.json_response({"error": error}, status=401, headers={"WWW-Authenticate": "Bearer"})


async def serve(cloud: Cloud, *, time_scale: float = DEFAULT_TIME_SCALE) -> None:
    """Serve `cloud` until this process is asked to end."""
    services = Services(cloud, time_scale=time_scale)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await services.start()
        await ended.wait()
    finally:
        await services.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.services")
    parser.add_argument("--name", required=True)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--time-scale", type=float, default=DEFAULT_TIME_SCALE)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(Cloud.load(given.name, given.root), time_scale=given.time_scale))
    except OSError as error:
        sys.stderr.write(f"cannot serve the local cloud {given.name!r}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
