"""The app's event subscriptions, made with the real management SDK against the cloud's Resource Manager."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.core.exceptions import ResourceNotFoundError

from localcloud import certificates, subscriptions
from localcloud.cloud import EVENTS_HUB, REGISTRY_ID, STORAGE_ID, WORKSPACE_ID, Cloud
from localcloud.event_delivery import Deliveries, Target
from localcloud.event_grid import EventGrid
from localcloud.event_hubs import EventHubs
from localcloud.faults import Faults
from localcloud.identity import Identity
from localcloud.subscriptions import FUNCTION, SubscriptionsFailed


class Host:
    """As much of a Functions host as Event Grid sees."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.key = "system/key+="
        self.status: dict[str, Any] = {"state": "Running"}

    def routes(self) -> list[web.RouteDef]:
        webhook = "/runtime/webhooks/EventGrid"
        return [
            web.get("/admin/host/systemkeys/eventgrid_extension", self._show),
            web.get("/admin/host/status", self._state),
            web.post(webhook, self._receive),
            web.options(webhook, self._allow),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        assert request.query["code"] == "master"
        return web.json_response({"name": "eventgrid_extension", "value": self.key})

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self.status)

    async def _allow(self, request: web.Request) -> web.Response:
        allowed = request.query["code"] == self.key
        return web.Response(status=200 if allowed else 401, headers={"WebHook-Allowed-Origin": "eventgrid.azure.net"})

    async def _receive(self, request: web.Request) -> web.Response:
        if request.query["code"] != self.key or request.query["functionName"] != FUNCTION:
            return web.Response(status=401)
        body = await request.json()
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            return web.json_response({"validationResponse": body[0]["data"]["validationCode"]})
        self.got.append(body)
        return web.Response(status=202)


@pytest.fixture
async def host(cloud: Cloud, serve: Any) -> Host:
    host = Host()
    await serve(host.routes(), cloud.ports["functions"])
    (cloud.home / "host").mkdir(parents=True)
    (cloud.home / "host" / "keys.json").write_text(json.dumps({"master": "master"}))
    return host


@pytest.fixture
async def grid(cloud: Cloud, serve: Any) -> Any:
    certificates.prepare(cloud)
    grid = EventGrid(cloud, hubs=EventHubs(cloud), time_scale=0.001)
    await serve(Identity(cloud).routes(), cloud.ports["identity"])
    await serve(grid.arm_routes(), cloud.ports["arm"], tls=certificates.server_context(cloud))
    yield grid
    await grid.close()


async def test_creating_them_twice_leaves_one_of_each_and_events_arrive(
    cloud: Cloud, host: Host, grid: EventGrid, http: aiohttp.ClientSession
) -> None:
    for _ in range(2):
        assert await asyncio.to_thread(subscriptions.create, cloud) == ["lake", "registry", "workspace"]
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "dataVersion": ""}
    for source in (STORAGE_ID, REGISTRY_ID, WORKSPACE_ID):
        await grid.publish(source, [{**event, "data": {}}])
    async with asyncio.timeout(5):
        while len(host.got) < 3:
            await asyncio.sleep(0.01)
    sources = {body["source"] if isinstance(body, dict) else body[0]["topic"] for body in host.got}
    assert sources == {STORAGE_ID, REGISTRY_ID, WORKSPACE_ID}
    assert len(host.got) == 3


async def test_the_road_for_storms_puts_the_lakes_events_into_the_hub_and_no_others(
    cloud: Cloud, host: Host, grid: EventGrid
) -> None:
    await asyncio.to_thread(subscriptions.create, cloud, storms=True)
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "dataVersion": ""}
    for source in (STORAGE_ID, REGISTRY_ID):
        await grid.publish(source, [{**event, "data": {}}])
    async with asyncio.timeout(5):
        while not host.got or not cloud.records("event_hubs", "received"):
            await asyncio.sleep(0.01)
    assert [row["hub"] for row in cloud.records("event_hubs", "received")] == [EVENTS_HUB]
    assert [body[0]["topic"] for body in host.got] == [REGISTRY_ID]


async def test_the_management_sdk_reads_lists_and_deletes(cloud: Cloud, host: Host, grid: EventGrid) -> None:
    await asyncio.to_thread(subscriptions.create, cloud)

    def use() -> None:
        with subscriptions.client(cloud) as client:
            found = client.event_subscriptions.get(STORAGE_ID, "lake")
            assert found.provisioning_state == "Succeeded"
            assert "code=" not in (found.destination.endpoint_base_url or "")
            client.event_subscriptions.begin_delete(STORAGE_ID, "lake").result()
            with pytest.raises(ResourceNotFoundError):
                client.event_subscriptions.get(STORAGE_ID, "lake")

    await asyncio.to_thread(use)


async def test_an_endpoint_that_refuses_the_key_is_reported(cloud: Cloud, host: Host) -> None:
    found = await asyncio.to_thread(subscriptions.webhook, cloud)
    host.key = "rotated"
    assert "system%2Fkey%2B%3D" in found
    deliveries = Deliveries(cloud, Faults(), None, 0.001)
    target = Target.of("lake", {"destination": {"properties": {"endpointUrl": found}}})
    assert "401" in (await deliveries.validate(target) or "")
    await deliveries.close()


async def test_an_app_that_does_not_load_is_reported_with_the_hosts_reasons(cloud: Cloud, host: Host) -> None:
    host.status = {"state": "Error", "errors": ["ModuleNotFoundError: no module named 'x'"]}
    with pytest.raises(SubscriptionsFailed, match="no module named 'x'"):
        await asyncio.to_thread(subscriptions.create, cloud)


def test_a_host_that_never_ran_is_named(cloud: Cloud) -> None:
    with pytest.raises(SubscriptionsFailed, match="is the host running"):
        subscriptions.create(cloud)
