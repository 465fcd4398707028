"""The operators' endpoints under `/admin`, all but the ping behind the master key."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from localcloud.functions_host import keys, payloads
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.hubs import HubDispatcher
from localcloud.functions_host.invoker import Invoker
from localcloud.functions_host.settings import Settings

VERSION = "4.1037.0"


class Host(Protocol):
    """What the endpoints show of the host."""

    id: str
    state: str
    functions: dict[str, Function]

    @property
    def errors(self) -> Sequence[str]:
        """Why the app cannot be started; empty when it can."""

    @property
    def function_errors(self) -> Mapping[str, Sequence[str]]:
        """Why single functions cannot be started."""

    @property
    def uptime(self) -> float:
        """Seconds since the host started."""


class Admin:
    """Status, keys, the list of functions, and invoking one by hand."""

    def __init__(self, host: Host, known: keys.Keys, settings: Settings) -> None:
        self._host = host
        self._keys = known
        self._settings = settings
        self._invoke: Callable[[Function, str], Awaitable[object]] | None = None
        self._background: set[asyncio.Task[object]] = set()

    def invoke_with(self, invoke: Callable[[Function, str], Awaitable[object]]) -> None:
        """Say how functions are invoked, once the app is indexed."""
        self._invoke = invoke

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """One request below `/admin`."""
        parts = request.path.strip("/").split("/")[1:]
        if parts == ["host", "ping"] and request.method in {"GET", "POST"}:
            return web.Response()
        if not self._keys.is_master(keys.presented(request)):
            return web.Response(status=401)
        match (request.method, *parts):
            case ("GET", "host", "status"):
                return web.json_response(self._status())
            case ("GET", "host", kind, *name) if len(name) <= 1:
                return self._host_keys(kind, *name)
            case ("GET", "functions"):
                return web.json_response([self._describe(request, one) for one in self._host.functions.values()])
            case (method, "functions", name, *rest):
                return await self._function(request, method, name, rest)
        return web.Response(status=404)

    def _status(self) -> dict[str, Any]:
        status = {
            "id": self._host.id,
            "state": self._host.state,
            "version": VERSION,
            "versionDetails": f"{VERSION} (local)",
            "processUptime": round(self._host.uptime * 1000),
            "functionAppContentEditingState": "NotAllowed",
        }
        return status | ({"errors": list(self._host.errors)} if self._host.errors else {})

    def _host_keys(self, kind: str, name: str | None = None) -> web.Response:
        if kind == "systemkeys":
            found = self._keys.system(keys.EVENT_GRID)
        elif kind in {"keys", "functionkeys"}:
            found = self._keys.host() | ({"_master": self._keys.master} if kind == "keys" or name == "_master" else {})
        else:
            return web.Response(status=404)
        return _keys(found, name)

    async def _function(self, request: web.BaseRequest, method: str, name: str, rest: list[str]) -> web.Response:
        function = self._host.functions.get(name)
        if function is None:
            return web.Response(status=404)
        if method == "POST" and not rest:
            return await self._start(request, function)
        if method != "GET":
            return web.Response(status=405)
        if not rest:
            return web.json_response(self._describe(request, function))
        if rest == ["status"]:
            errors = self._host.function_errors.get(name)
            return web.json_response({"errors": list(errors)} if errors else {})
        if rest[0] == "keys":
            return _keys(self._keys.function(name), rest[1] if len(rest) > 1 else None)
        return web.Response(status=404)

    async def _start(self, request: web.BaseRequest, function: Function) -> web.Response:
        if self._host.state != "Running" or self._invoke is None:
            return web.Response(status=503)
        try:
            document = json.loads(await request.read())
            given = document["input"]
        except (ValueError, LookupError, TypeError):
            return web.Response(status=400, text='send {"input": "<text>"} as application/json')
        text = given if isinstance(given, str) else payloads.compact(given)
        task: asyncio.Task[object] = asyncio.ensure_future(self._invoke(function, text))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return web.Response(status=202)

    def _describe(self, request: web.BaseRequest, function: Function) -> dict[str, Any]:
        base = f"{request.scheme}://{request.host}/admin/functions/{function.name}"
        return {
            "name": function.name,
            "href": base,
            "config": {"bindings": [dict(binding) for binding in function.bindings]},
            "isDisabled": self._settings.disabled(function.name),
            "isDirect": True,
            "language": "python",
        }


def _keys(found: Mapping[str, str], name: str | None) -> web.Response:
    if name is None:
        return web.json_response({"keys": [{"name": key, "value": value} for key, value in found.items()]})
    if name not in found:
        return web.Response(status=404)
    return web.json_response({"name": name, "value": found[name]})


async def invoke(function: Function, text: str, invoker: Invoker, hubs: HubDispatcher) -> None:
    """Invoke `function` by hand with `text`, as its trigger would shape it."""
    if function.kind == "eventHubTrigger":
        await hubs.dispatch(function, "0", hubs.events(text))
    elif function.kind == "eventGridTrigger":
        try:
            event = json.loads(text)
        except ValueError as error:
            await invoker.reject(function, error)
        else:
            await invoker.run(function, payloads.event_grid(event))
    elif function.kind == "timerTrigger":
        await invoker.run_with_retries(function, payloads.timer(function.name, None, past_due=False))
    elif function.kind == "queueTrigger":
        await invoker.run(function, payloads.queue(_message(text), str(function.trigger["queueName"])))
    else:
        call = payloads.HttpCall("POST", f"http://localhost/admin/functions/{function.name}", {}, {}, {}, text.encode())
        await invoker.run(function, payloads.http(call))


def _message(text: str) -> payloads.QueueDelivery:
    now = dt.datetime.now(dt.UTC)
    week = now + dt.timedelta(days=7)
    return payloads.QueueDelivery(str(uuid.uuid4()), "", text, 1, now, week, now)
