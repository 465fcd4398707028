"""HTTP functions: the key check, the call, the answer passed through."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web
from azure.functions.meta import Datum

from localcloud.functions_host import keys, payloads
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.http_routes import Routes
from localcloud.functions_host.invoker import Invoker
from localcloud.functions_host.settings import Settings


class HttpFunctions:
    """Answers requests for the app's own routes."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        routes: Routes,
        invoker: Invoker,
        known: keys.Keys,
        settings: Settings,
    ) -> None:
        self._functions = functions
        self._routes = routes
        self._invoker = invoker
        self._keys = known
        self._settings = settings

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """In the host's order: no route 404, no key 401, disabled 404, failed 500 without a body."""
        found = self._routes.find(request.method, request.rel_url.raw_path)
        if found is None:
            return web.Response(status=404)
        name, route = found
        function = self._functions[name]
        key = keys.presented(request)
        if not self._allowed(function, key):
            return web.Response(status=401)
        if self._settings.disabled(name) and not self._keys.is_master(key):
            return web.Response(status=404)
        outcome = await self._invoker.run(function, payloads.http(await _call(request, route)))
        if not outcome.ok or outcome.returned is None:
            return web.Response(status=500)
        return _response(outcome.returned)

    def _allowed(self, function: Function, key: str) -> bool:
        level = str(function.trigger.get("authLevel", "function")).lower()
        if level == "anonymous":
            return True
        return self._keys.is_master(key) or (level == "function" and self._keys.opens_function(key, function.name))


async def _call(request: web.BaseRequest, route: Mapping[str, str]) -> payloads.HttpCall:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known},{value}"
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    url = f"{request.scheme}://{request.host}{request.raw_path}"
    return payloads.HttpCall(request.method, url, headers, query, route, await request.read())


def _response(returned: Datum) -> web.Response:
    if returned.type != "http":
        body = returned.value if isinstance(returned.value, bytes) else str(returned.value).encode()
        return web.Response(body=body, headers={"content-type": "text/plain; charset=utf-8"})
    value = returned.value
    headers = {name: text.value for name, text in value["headers"].items() if name.lower() != "content-length"}
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value, headers=headers)
    for cookies in value.get("cookies") or ():
        for morsel in cookies.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response
