"""The Event Grid webhook: `/runtime/webhooks/eventgrid?functionName=…`, with the real host's status codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from localcloud.functions_host import keys, payloads
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.invoker import Invoker

_ORIGINS = frozenset(f"eventgrid.azure.{domain}" for domain in ("net", "us", "eaglex.ic.gov", "microsoft.scloud", "cn"))
_DEFAULT_ORIGIN = "eventgrid.azure.net"


class EventGridWebhook:
    """Answers Event Grid for the functions that listen; a disabled function does not."""

    def __init__(self, functions: Mapping[str, Function], invoker: Invoker, known: keys.Keys) -> None:
        self._functions = functions
        self._invoker = invoker
        self._keys = known

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """One request: a handshake or a delivery."""
        if not self._keys.opens_system(keys.presented(request), keys.EVENT_GRID):
            return web.Response(status=401)
        name = request.query.get("functionName", "")
        function = self._functions.get(name)
        if function is None:
            return web.Response(status=404, text=f"cannot find function: '{name}'")
        if request.method == "OPTIONS":
            return web.Response(headers={"Webhook-Allowed-Origin": _allowed(request)})
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return web.Response(status=202)
        if kind not in {"subscriptionvalidation", "notification"}:
            return web.Response(status=400)
        try:
            document = json.loads(await request.read())
        except ValueError as error:
            # The real host fails to read the body, too: an exception there is a 500.
            return web.Response(status=500, text=f"the body is not JSON: {error}")
        if kind == "subscriptionvalidation":
            return _validate(document)
        return await self._dispatch(function, document)

    async def _dispatch(self, function: Function, document: Any) -> web.Response:
        events = document if isinstance(document, list) else [document]
        together = str(function.trigger.get("cardinality", "")).lower() == "many"
        inputs = [events] if together else events
        invocations = [self._invoker.start(function, payloads.event_grid(element)) for element in inputs]
        if invocations:
            await asyncio.wait(invocations)
        failed = next((one.result().error for one in invocations if one.result().error is not None), None)
        if failed is not None:
            return web.Response(status=500, text=f"{type(failed).__name__}: {failed}")
        return web.Response(status=202)


def _allowed(request: web.BaseRequest) -> str:
    origin = request.headers.get("WebHook-Request-Origin", "")
    return origin if origin.lower() in _ORIGINS else _DEFAULT_ORIGIN


def _validate(document: Any) -> web.Response:
    try:
        if isinstance(document, list):
            code = document[0]["data"]["validationCode"]
        else:
            code = json.loads(document["data"])["validationCode"]
    except (LookupError, TypeError, ValueError) as error:
        return web.Response(status=500, text=f"the validation event has no validation code: {error!r}")
    return web.json_response({"validationResponse": code})
