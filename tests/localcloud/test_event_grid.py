"""Event Grid: publishing, subscriptions by the management SDK's protocol, delivery and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from localcloud.cloud import NAMESPACE_ID, STORAGE_ID, TOPIC_ID, Cloud
from localcloud.event_grid import EventGrid
from localcloud.event_hubs import EventHubs
from localcloud.faults import Faults, Rule

BEARER = {"Authorization": "Bearer x"}


class Webhook:
    """An endpoint that keeps what it is sent and answers as the test wants."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.answers: list[int] = []
        self.validates = True
        self.url = ""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/hook", self._post), web.options("/hook", self._options)]

    async def _options(self, request: web.Request) -> web.Response:
        return web.Response(headers={"WebHook-Allowed-Origin": request.headers["WebHook-Request-Origin"]})

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            code = body[0]["data"]["validationCode"] if self.validates else "wrong"
            return web.json_response({"validationResponse": code})
        self.got.append((dict(request.headers), body))
        return web.Response(status=self.answers.pop(0) if self.answers else 202)

    def ids(self) -> list[str]:
        return [body["id"] if isinstance(body, dict) else body[0]["id"] for _, body in self.got]


@pytest.fixture
async def webhook(serve: Any) -> Webhook:
    hook = Webhook()
    hook.url = await serve(hook.routes()) + "/hook?code=secret"
    return hook


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def grid(cloud: Cloud, faults: Faults, serve: Any) -> AsyncIterator[EventGrid]:
    grid = EventGrid(cloud, faults, EventHubs(cloud, hubs={"events": 2}), time_scale=0.001)
    await serve(grid.arm_routes(), cloud.ports["arm"])
    await serve(grid.routes(), cloud.ports["event_grid"])
    yield grid
    await grid.close()


@pytest.fixture
async def subscribe(cloud: Cloud, grid: EventGrid, webhook: Webhook, http: aiohttp.ClientSession) -> Callable[..., Any]:
    base = f"http://127.0.0.1:{cloud.ports['arm']}"

    async def put(name: str = "lake", scope: str = STORAGE_ID, **properties: Any) -> dict[str, Any]:
        destination = {"endpointType": "WebHook", "properties": {"endpointUrl": webhook.url}}
        body = {"properties": {"destination": destination, **properties}}
        url = f"{base}{scope}/providers/Microsoft.EventGrid/eventSubscriptions/{name}"
        async with http.put(url, json=body, headers=BEARER) as response:
            assert response.status == 201, await response.text()
            operation = base + response.headers["Azure-AsyncOperation"].split(str(cloud.ports["arm"]), 1)[1]
        while True:
            async with http.get(operation, headers=BEARER) as response:
                answer: dict[str, Any] = await response.json()
            if answer["status"] != "InProgress":
                return answer
            await asyncio.sleep(0.01)

    return put


def event(identity: str = "1", **more: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "subject": f"/blobServices/default/containers/c/blobs/{identity}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "",
        "data": {"api": "PutBlob"},
    } | more


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_subscriber_gets_an_array_of_one_with_the_services_headers(
    grid: EventGrid, subscribe: Any, webhook: Webhook
) -> None:
    assert (await subscribe())["status"] == "Succeeded"
    await grid.publish(STORAGE_ID, [event("a"), event("b")])
    await until(lambda: len(webhook.got) == 2)
    assert sorted(webhook.ids()) == ["a", "b"]
    headers, body = webhook.got[0]
    assert len(body) == 1
    assert body[0]["topic"] == STORAGE_ID
    assert body[0]["metadataVersion"] == "1"
    assert headers["aeg-event-type"] == "Notification"
    assert headers["aeg-subscription-name"] == "LAKE"
    assert headers["aeg-delivery-count"] == "0"


async def test_another_source_or_a_filtered_type_is_not_delivered(
    grid: EventGrid, subscribe: Any, webhook: Webhook
) -> None:
    await subscribe(filter={"includedEventTypes": ["Microsoft.Storage.BlobCreated"]})
    await grid.publish(TOPIC_ID, [event("other")])
    await grid.publish(STORAGE_ID, [event("deleted", eventType="Microsoft.Storage.BlobDeleted"), event("wanted")])
    await until(lambda: len(webhook.got) == 1)
    await asyncio.sleep(0.05)
    assert webhook.ids() == ["wanted"]


async def test_a_subscription_can_ask_for_cloud_events(grid: EventGrid, subscribe: Any, webhook: Webhook) -> None:
    await subscribe(eventDeliverySchema="CloudEventSchemaV1_0")
    await grid.publish(STORAGE_ID, [event("a")])
    await until(lambda: bool(webhook.got))
    headers, body = webhook.got[0]
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    assert body["specversion"] == "1.0"
    assert body["source"] == STORAGE_ID
    assert body["type"] == "Microsoft.Storage.BlobCreated"


async def test_an_endpoint_that_fails_the_handshake_is_not_subscribed(
    cloud: Cloud, grid: EventGrid, subscribe: Any, webhook: Webhook
) -> None:
    webhook.validates = False
    answer = await subscribe()
    assert answer["status"] == "Failed"
    assert "did not send the validation code back" in answer["error"]["message"]
    await grid.publish(STORAGE_ID, [event()])
    assert cloud.records("event_grid", "delivered") == []


@pytest.mark.parametrize("first", [500, 404, 503, 429])
async def test_a_failed_delivery_is_tried_again(
    cloud: Cloud, grid: EventGrid, subscribe: Any, webhook: Webhook, first: int
) -> None:
    await subscribe()
    webhook.answers = [first]
    await grid.publish(STORAGE_ID, [event()])
    await until(lambda: len(cloud.records("event_grid", "delivered")) == 2)
    assert [row["status"] for row in cloud.records("event_grid", "delivered")] == [first, 202]
    assert webhook.got[1][0]["aeg-delivery-count"] == "1"


@pytest.mark.parametrize("status", [400, 401, 413])
async def test_some_answers_end_the_delivery(
    cloud: Cloud, grid: EventGrid, subscribe: Any, webhook: Webhook, status: int
) -> None:
    await subscribe()
    webhook.answers = [status]
    await grid.publish(STORAGE_ID, [event()])
    await until(lambda: bool(cloud.records("event_grid", "given_up")))
    assert len(webhook.got) == 1


async def test_attempts_are_limited(cloud: Cloud, grid: EventGrid, subscribe: Any, webhook: Webhook) -> None:
    await subscribe(retryPolicy={"maxDeliveryAttempts": 3, "eventTimeToLiveInMinutes": 1440})
    webhook.answers = [500] * 9
    await grid.publish(STORAGE_ID, [event()])
    await until(lambda: bool(cloud.records("event_grid", "given_up")))
    assert cloud.records("event_grid", "given_up")[0]["reason"] == "MaxDeliveryAttemptsExceeded"
    assert len(webhook.got) == 3


async def test_pending_deliveries_and_subscriptions_outlive_the_process(
    cloud: Cloud, faults: Faults, grid: EventGrid, subscribe: Any, webhook: Webhook
) -> None:
    await subscribe()
    faults.add(Rule(delivery="late", delay=60))
    await grid.publish(STORAGE_ID, [event("kept")])
    await asyncio.sleep(0.05)
    await grid.close()
    assert webhook.got == []
    again = EventGrid(cloud, Faults(), time_scale=0.001)
    assert again.resume() == 1
    await again.publish(STORAGE_ID, [event("new")])
    await until(lambda: len(webhook.got) == 2)
    assert sorted(webhook.ids()) == ["kept", "new"]
    await again.close()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(delivery="duplicate"), ["a", "a"]),
        (Rule(delivery="lose_response"), ["a", "a"]),
        (Rule(delivery="drop"), ["a"]),
        (Rule(delivery="late", delay=0.05), ["a"]),
    ],
)
async def test_faults_of_deliveries(
    cloud: Cloud, faults: Faults, grid: EventGrid, subscribe: Any, webhook: Webhook, rule: Rule, expected: list[str]
) -> None:
    await subscribe()
    faults.add(rule)
    await grid.publish(STORAGE_ID, [event("a")])
    await until(lambda: webhook.ids() == expected)
    assert cloud.records("event_grid", "delivered")[0]["fault"] == rule.delivery


async def test_a_reordered_event_arrives_after_its_successor(
    faults: Faults, grid: EventGrid, subscribe: Any, webhook: Webhook
) -> None:
    await subscribe()
    faults.add(Rule(delivery="reorder", match="blobs/first$"))
    await grid.publish(STORAGE_ID, [event("first")])
    await asyncio.sleep(0.02)
    await grid.publish(STORAGE_ID, [event("second")])
    await until(lambda: len(webhook.got) == 2)
    assert webhook.ids() == ["second", "first"]


async def test_the_publisher_sdk_publishes_both_schemas(cloud: Cloud, grid: EventGrid) -> None:
    endpoint = cloud.app_settings()["EVENTGRID_TOPIC_ENDPOINT"]
    client = EventGridPublisherClient(endpoint, AzureKeyCredential("local"))
    native = EventGridEvent(subject="s", event_type="Sluice.RunSucceeded", data={"a": 1}, data_version="1")
    await asyncio.to_thread(client.send, [native])
    await asyncio.to_thread(client.send, CloudEvent(source="s", type="Sluice.DatasetPublished", data={"a": 1}))
    published = cloud.records("event_grid", "published")
    assert [row["type"] for row in published] == ["Sluice.RunSucceeded", "Sluice.DatasetPublished"]
    wrong = EventGridPublisherClient(endpoint, AzureKeyCredential("no"))
    with pytest.raises(ClientAuthenticationError):
        await asyncio.to_thread(wrong.send, [native])
    large = EventGridEvent(subject="s", event_type="t", data="x" * 1_100_000, data_version="1")
    with pytest.raises(HttpResponseError, match="maximum size"):
        await asyncio.to_thread(client.send, [large])


@pytest.mark.parametrize(
    ("body", "said"),
    [("{", "Expecting"), ("{}", "array"), ('[{"id": "1"}]', "'subject'"), ("[7]", "'id'")],
)
async def test_malformed_events_are_refused_with_the_reason(
    cloud: Cloud, grid: EventGrid, http: aiohttp.ClientSession, body: str, said: str
) -> None:
    url = cloud.app_settings()["EVENTGRID_TOPIC_ENDPOINT"]
    headers = {"aeg-sas-key": "local", "Content-Type": "application/json"}
    async with http.post(url, data=body, headers=headers) as response:
        assert response.status == 400
        assert said in (await response.json())["error"]["message"]


# -- into an event hub ---------------------------------------------------------------------------------------------


def into(hub: str) -> dict[str, Any]:
    return {"endpointType": "EventHub", "properties": {"resourceId": f"{NAMESPACE_ID}/eventhubs/{hub}"}}


async def test_a_subscription_can_deliver_into_an_event_hub(
    cloud: Cloud, grid: EventGrid, webhook: Webhook, subscribe: Callable[..., Any]
) -> None:
    assert (await subscribe(destination=into("events")))["status"] == "Succeeded"
    await grid.publish(STORAGE_ID, [event(str(number)) for number in range(5)])
    await until(lambda: len(cloud.records("event_hubs", "received")) == 5)
    assert {row["hub"] for row in cloud.records("event_hubs", "received")} == {"events"}
    assert [row["status"] for row in cloud.records("event_grid", "delivered")] == [200] * 5
    assert webhook.got == []


async def test_a_subscription_to_a_hub_that_is_not_there_is_refused(subscribe: Callable[..., Any]) -> None:
    answer = await subscribe(destination=into("nowhere"))
    assert answer["status"] == "Failed"
    assert "no event hub 'nowhere'" in answer["error"]["message"]
