"""The Application Insights sink: takes what the exporters send and keeps each item as its record."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from localcloud.cloud import Cloud


class AppInsights:
    """`POST /v2.1/track` and `/v2/track`, bodies plain or compressed, as a JSON array or one item a line."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """The ingestion routes, and live metrics, which say that nobody watches."""
        return [
            web.post("/v2.1/track", self._track),
            web.post("//v2.1/track", self._track),  # opencensus keeps the slash that connection strings end with
            web.post("/v2/track", self._track),
            web.post("/QuickPulseService.svc/{call}", self._live),
        ]

    async def _track(self, request: web.Request) -> web.Response:
        try:
            items = _items((await request.read()).decode("utf-8"))
        except ValueError as error:
            return web.json_response({"itemsReceived": 0, "itemsAccepted": 0, "errors": [str(error)]}, status=400)
        for item in items:
            self._keep(item)
        return web.json_response({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []})

    def _keep(self, item: dict[str, Any]) -> None:
        data = item.get("data") or {}
        base = data.get("baseData") or {}
        kind = str(data.get("baseType", "")).removesuffix("Data")
        name = base.get("name") or base.get("message")
        if name is None and base.get("metrics"):
            name = base["metrics"][0].get("name")
        self._cloud.record("app_insights", "item", kind=kind, name=name, item=item)

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(headers={"x-ms-qps-subscribed": "false"})


def _items(text: str) -> list[dict[str, Any]]:
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.splitlines() if line.strip()]
    items = content if isinstance(content, list) else [content]
    if not all(isinstance(item, dict) for item in items):
        raise ValueError("every telemetry item must be a JSON object")
    return items
