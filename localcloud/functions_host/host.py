"""The host: indexes the app, gives each function its listener, serves HTTP, and ends cleanly."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import time
import traceback
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud.functions_host import admin, app_index, host_json, http_routes, hubs, logs, schedules, worker
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.host_json import HostJson
from localcloud.functions_host.http_functions import HttpFunctions
from localcloud.functions_host.hub_listener import HubListener
from localcloud.functions_host.hubs import HubDispatcher
from localcloud.functions_host.invoker import Invoker
from localcloud.functions_host.keys import Keys
from localcloud.functions_host.leases import Lease
from localcloud.functions_host.outputs import SENT, Outputs
from localcloud.functions_host.queues import QueueListener
from localcloud.functions_host.settings import Settings, SettingsError
from localcloud.functions_host.storage import Storages
from localcloud.functions_host.timers import TimerListener
from localcloud.functions_host.webhook import EventGridWebhook

DRAIN_SECONDS = 10.0
QUEUE_VISIBILITY = 5.0
HUB_LEASE = 10.0
_LARGEST_BODY = 100 * 1024 * 1024


class Host:
    """One running host of one app."""

    def __init__(self, app: Path, state: Path, environ: Mapping[str, str]) -> None:
        self._app = app
        self._state_folder = state
        self._settings = Settings(environ)
        self._keys = Keys(state)
        self._admin = admin.Admin(self, self._keys, self._settings)
        self._storages = Storages(self._settings)
        self._worker = worker.Worker(worker.thread_count(dict(environ)))
        self._started = time.monotonic()
        self._queues: list[QueueListener] = []
        self._timers: list[TimerListener] = []
        self._hubs: list[HubListener] = []
        self._webhook: EventGridWebhook | None = None
        self._http: HttpFunctions | None = None
        self._invoker: Invoker | None = None
        self.id = _host_id(app, environ)
        self.state = "Default"
        self.errors: list[str] = []
        self.function_errors: dict[str, list[str]] = {}
        self.functions: dict[str, Function] = {}
        self.timed_out = asyncio.Event()

    @property
    def uptime(self) -> float:
        """Seconds since the host started."""
        return time.monotonic() - self._started

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer any request."""
        path = request.path
        if path == "/admin" or path.startswith("/admin/"):
            return await self._admin.handle(request)
        if self.state != "Running" or self._webhook is None or self._http is None:
            return web.Response(status=503, text="Function host is not running.")
        if path.lower().startswith("/runtime/webhooks/"):
            extension = path.split("/")[3].lower()
            return await self._webhook.handle(request) if extension == "eventgrid" else web.Response(status=404)
        if path == "/" and request.method == "GET":
            return web.Response(text="The local Functions host is up and running.")
        return await self._http.handle(request)

    async def start(self) -> None:
        """Index the app and start its listeners; an app that cannot be indexed leaves the host up in state Error."""
        self._worker.start()
        try:
            options = host_json.load(self._app)
            logs.set_up(options.log_levels)
            found = await asyncio.get_running_loop().run_in_executor(None, app_index.load, self._app)
        except Exception as error:
            self._fail(error)
            return
        self.functions = {function.name: function for function in found}
        self._wire(options)
        self.state = "Running"
        for listener in (*self._queues, *self._timers, *self._hubs):
            listener.start()
        names = ", ".join(f"{name} ({function.kind})" for name, function in self.functions.items())
        logs.HOST.info(f"running, {len(self.functions)} functions: {names or 'none'}")

    def _fail(self, error: Exception) -> None:
        self.state = "Error"
        self.errors = [f"{type(error).__name__}: {error}"]
        trace = "".join(traceback.format_exception(error)).rstrip()
        logs.HOST.error(f"the app in {self._app} cannot be started: {error}\n{trace}")

    def _wire(self, options: HostJson) -> None:
        folder = self._state_folder / "outputs"
        encoding = options.queues.message_encoding
        outputs = Outputs(self._settings, self._storages, encoding, folder, self._notify)
        self._invoker = Invoker(self._worker, outputs, options.function_timeout, self._time_out)
        self._dispatcher = HubDispatcher(self._invoker, self._settings, options.hubs.max_event_batch_size)
        self._admin.invoke_with(functools.partial(admin.invoke, invoker=self._invoker, hubs=self._dispatcher))
        grid: dict[str, Function] = {}
        routes: list[http_routes.Route] = []
        for function in self.functions.values():
            try:
                self._listen(function, options, grid, routes)
            except (SettingsError, schedules.ScheduleError, http_routes.RouteError) as error:
                self.function_errors[function.name] = [str(error)]
                logs.HOST.error(f"the function {function.name} cannot be started: {error}")
        self._webhook = EventGridWebhook(grid, self._invoker, self._keys)
        self._http = HttpFunctions(
            self.functions, http_routes.Routes(routes), self._invoker, self._keys, self._settings
        )

    def _listen(
        self, function: Function, options: HostJson, grid: dict[str, Function], routes: list[http_routes.Route]
    ) -> None:
        unknown = {str(one["type"]) for one in function.bindings if one is not function.trigger} - SENT
        if unknown:
            raise SettingsError(f"binding type {', '.join(sorted(unknown))} is not known to the local host")
        if function.kind == "httpTrigger":
            template = str(function.trigger.get("route") or function.name)
            methods = function.trigger.get("methods") or ()
            routes.append(http_routes.compile_route(function.name, options.route_prefix, template, methods))
        elif self._settings.disabled(function.name):
            logs.HOST.info(f"the function {function.name} is disabled")
        elif function.kind == "eventGridTrigger":
            grid[function.name] = function
        elif function.kind == "queueTrigger":
            self._queues.append(self._queue(function, options))
        elif function.kind == "timerTrigger":
            self._timers.append(self._timer(function))
        elif function.kind == "eventHubTrigger":
            self._hubs.append(self._hub(function, options))
        else:
            raise SettingsError(f"trigger type {function.kind} is not known to the local host")

    def _queue(self, function: Function, options: HostJson) -> QueueListener:
        assert self._invoker is not None
        storage = self._storages.of(function.trigger.get("connection"))
        name = self._settings.resolve(str(function.trigger["queueName"])).lower()
        visibility = self._settings.seconds("SLUICE_HOST_QUEUE_VISIBILITY", QUEUE_VISIBILITY)
        return QueueListener(function, name, storage, self._invoker, options.queues, visibility)

    def _hub(self, function: Function, options: HostJson) -> HubListener:
        connection = self._settings.hub(str(function.trigger["connection"]))
        storage = self._storages.of("AzureWebJobsStorage")
        lease = self._settings.seconds("SLUICE_HOST_HUB_LEASE", HUB_LEASE)
        place = hubs.place(function, self._settings)
        return HubListener(function, connection, place, storage, self._dispatcher, options.hubs, lease)

    def _timer(self, function: Function) -> TimerListener:
        assert self._invoker is not None
        schedule = schedules.parse(self._settings.resolve(str(function.trigger["schedule"])))
        storage = self._storages.of("AzureWebJobsStorage")
        lease = Lease(storage, self.id, f"Host.Functions.{function.name}", self._holder())
        return TimerListener(function, schedule, self._invoker, lease, storage, self.id)

    def _holder(self) -> str:
        path = self._state_folder / "instance"
        if not path.exists():
            path.write_text(str(uuid.uuid4()), encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()

    def _notify(self, queue: str) -> None:
        for listener in self._queues:
            if listener.queue == queue:
                listener.notify()

    def _time_out(self, function: str) -> None:
        logs.HOST.error(f"the function {function} ran out of time: the host ends, as the real one restarts its worker")
        self.timed_out.set()

    async def stop(self) -> bool:
        """Stop the listeners and wait for what runs; False when invocations had to be left behind."""
        self.state = "Stopping"
        deadline = time.monotonic() + DRAIN_SECONDS
        await asyncio.gather(
            *(timer.stop() for timer in self._timers),
            *(queue.stop(DRAIN_SECONDS) for queue in self._queues),
            *(hub.stop(DRAIN_SECONDS) for hub in self._hubs),
        )
        left = max(0.0, deadline - time.monotonic())
        late = await self._invoker.drain(left) if self._invoker else 0
        if late:
            logs.HOST.warning(f"{late} invocations did not end within {DRAIN_SECONDS:g} s and are left behind")
        await self._storages.close()
        if not late:
            self._worker.stop()
        return not late


def _host_id(app: Path, environ: Mapping[str, str]) -> str:
    chosen = environ.get("AzureFunctionsWebHost__hostid") or environ.get("WEBSITE_SITE_NAME") or app.name
    return re.sub(r"[^a-z0-9-]+", "-", chosen.lower()).strip("-")[:32] or f"host-{os.getuid()}"


async def serve(host: Host, port: int) -> web.ServerRunner:
    """Listen on the loopback interface; every request goes to the host.  Raises OSError when the port is taken."""

    loop = asyncio.get_running_loop()

    def request(*parts: Any) -> web.BaseRequest:
        return web.BaseRequest(*parts, loop, client_max_size=_LARGEST_BODY)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await host.handle(request)

    server = web.Server(handle, request_factory=request, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=DRAIN_SECONDS, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner
