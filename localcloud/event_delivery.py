"""Event Grid's delivery to webhooks and event hubs: handshake, at-least-once, retry schedule, expiry.

A delivery is a file until it ends, so that restarting the services loses none.  All of the service's times are
multiplied by a scale; the 30 seconds that an endpoint has to answer are not.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import random
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from localcloud.cloud import Cloud
from localcloud.faults import Faults, Rule

RETRY_AFTER = (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600)
"""Seconds from one attempt to the next; then every 12 hours."""

LAST_RETRY_AFTER = 43200
AT_LEAST = {401: 300, 404: 300, 408: 120, 503: 30}
"""The shortest wait after these answers."""

DELIVERED = frozenset({200, 201, 202, 203, 204})
NEVER_RETRIED = frozenset({400, 401, 403, 413})
ANSWER_WITHIN = aiohttp.ClientTimeout(total=30)
OUT_OF_REACH = 0
"""The status that is recorded when no answer came."""

HUB = "sb://"
"""What the address of a target begins with that is an event hub of this cloud."""


class EventHubs(Protocol):
    """Where events go whose subscription names an event hub."""

    def has(self, hub: str) -> bool:
        """Whether there is such a hub."""

    def give(self, hub: str, body: bytes, properties: Mapping[str, str], key: str | None = None) -> None:
        """Append one event."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Where and how a subscription wants its events."""

    subscription: str
    url: str
    cloud_events: bool
    max_attempts: int
    time_to_live: float

    @classmethod
    def of(cls, name: str, properties: Mapping[str, Any]) -> Target:
        """The target in an event subscription's properties."""
        retry = properties.get("retryPolicy") or {}
        where = properties["destination"]["properties"]
        return cls(
            subscription=name,
            url=where.get("endpointUrl") or HUB + str(where["resourceId"]).rpartition("/")[2],
            cloud_events=properties.get("eventDeliverySchema") == "CloudEventSchemaV1_0",
            max_attempts=int(retry.get("maxDeliveryAttempts") or 30),
            time_to_live=60.0 * int(retry.get("eventTimeToLiveInMinutes") or 1440),
        )


class Deliveries:
    """Everything that is on its way to subscribers."""

    def __init__(self, cloud: Cloud, faults: Faults, hubs: EventHubs | None, time_scale: float) -> None:
        self._cloud = cloud
        self._faults = faults
        self._hubs = hubs
        self._scale = time_scale
        self._folder = cloud.home / "event_grid" / "pending"
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._in_flight = asyncio.Semaphore(64)
        self._ended = asyncio.Condition()

    def enqueue(self, target: Target, event: Mapping[str, Any]) -> None:
        """Take on the delivery of `event`; it is on disk when this returns."""
        pending = {
            "target": dataclasses.asdict(target),
            "event": event,
            "attempt": 0,
            "published": dt.datetime.now(dt.UTC).timestamp(),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{uuid.uuid4().hex}.json"
        _write(path, pending)
        self._begin(path, pending)

    def resume(self) -> int:
        """Take up what an earlier process left; how many deliveries that are."""
        paths = sorted(self._folder.glob("*.json"))
        for path in paths:
            self._begin(path, json.loads(path.read_text(encoding="utf-8")))
        return len(paths)

    async def validate(self, target: Target) -> str | None:
        """Do the handshake that proves that the endpoint wants events; the reason when it fails.

        An event hub needs no handshake: it must be there.
        """
        if target.url.startswith(HUB):
            hub = target.url.removeprefix(HUB)
            there = self._hubs is not None and self._hubs.has(hub)
            return None if there else f"there is no event hub {hub!r} in this cloud"
        try:
            return await (self._validate_cloud_events(target) if target.cloud_events else self._validate(target))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    async def close(self) -> None:
        """Stop delivering; what is pending stays on disk."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=ANSWER_WITHIN)
        return self._session

    def _begin(self, path: Path, pending: dict[str, Any]) -> None:
        task = asyncio.create_task(self._deliver(path, pending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, path: Path, pending: dict[str, Any]) -> None:
        target = Target(**pending["target"])
        if due := pending.get("due"):
            await asyncio.sleep(max(0.0, due - dt.datetime.now(dt.UTC).timestamp()))
        while not (reason := self._expired(target, pending)):
            status = await self._attempt(target, pending)
            if status in DELIVERED or status in NEVER_RETRIED:
                reason = "" if status in DELIVERED else f"the endpoint answered {status}, which is not retried"
                break
            wait = _wait(pending["attempt"], status) * self._scale
            pending["attempt"] += 1
            pending["due"] = dt.datetime.now(dt.UTC).timestamp() + wait
            _write(path, pending)
            await asyncio.sleep(wait)
        if reason:
            self._cloud.record("event_grid", "given_up", reason=reason, **_facts(target, pending))
        path.unlink(missing_ok=True)

    def _expired(self, target: Target, pending: Mapping[str, Any]) -> str:
        if pending["attempt"] >= target.max_attempts:
            return "MaxDeliveryAttemptsExceeded"
        age = dt.datetime.now(dt.UTC).timestamp() - pending["published"]
        return "TimeToLiveExceeded" if age > target.time_to_live * self._scale else ""

    async def _attempt(self, target: Target, pending: Mapping[str, Any]) -> int:
        event = pending["event"]
        fault = self._faults.take_delivery(_type(event), str(event.get("subject", ""))) or Rule()
        await self._hold(fault)
        if fault.delivery == "drop":
            status = OUT_OF_REACH
        else:
            send = self._give if target.url.startswith(HUB) else self._post
            async with self._in_flight:
                status = await send(target, pending)
            if fault.delivery == "duplicate":
                status = await send(target, pending)
            if fault.delivery == "lose_response":
                status = OUT_OF_REACH
        self._cloud.record(
            "event_grid", "delivered", status=status, fault=fault.delivery or None, **_facts(target, pending)
        )
        async with self._ended:
            self._ended.notify_all()
        return status

    async def _hold(self, fault: Rule) -> None:
        if fault.delivery == "late":
            await asyncio.sleep(fault.delay)
        if fault.delivery == "reorder":
            async with self._ended:
                try:
                    await asyncio.wait_for(self._ended.wait(), fault.delay or 5.0)
                except TimeoutError:
                    return

    async def _give(self, target: Target, pending: Mapping[str, Any]) -> int:
        """To an event hub: the headers become the message's properties."""
        hub = target.url.removeprefix(HUB)
        if self._hubs is None or not self._hubs.has(hub):
            return 404
        properties = _headers(target, pending) | {"aeg-output-event-id": str(pending["event"].get("id"))}
        self._hubs.give(hub, _body(pending["event"]), properties)
        return 200

    async def _post(self, target: Target, pending: Mapping[str, Any]) -> int:
        kind = "cloudevents+json" if "specversion" in pending["event"] else "json"
        headers = _headers(target, pending) | {"Content-Type": f"application/{kind}; charset=utf-8"}
        body = _body(pending["event"])
        try:
            async with self._http.post(target.url, data=body, headers=headers) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return OUT_OF_REACH

    async def _validate(self, target: Target) -> str | None:
        code = str(uuid.uuid4())
        event = {
            "id": str(uuid.uuid4()),
            "topic": "",
            "subject": "",
            "data": {"validationCode": code},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z"),
            "metadataVersion": "1",
            "dataVersion": "2",
        }
        headers = {"aeg-event-type": "SubscriptionValidation", "aeg-subscription-name": target.subscription.upper()}
        async with self._http.post(target.url, json=[event], headers=headers) as response:
            text = await response.text()
            if response.status != 200:
                return f"the endpoint answered {response.status} to the validation event: {text[:200]}"
            answer = json.loads(text)
            said = answer.get("validationResponse") if isinstance(answer, dict) else None
            return None if said == code else "the endpoint did not send the validation code back"

    async def _validate_cloud_events(self, target: Target) -> str | None:
        headers = {"WebHook-Request-Origin": "eventgrid.azure.net", "aeg-event-type": "SubscriptionValidation"}
        async with self._http.options(target.url, headers=headers) as response:
            allowed = response.headers.get("WebHook-Allowed-Origin", "")
            if response.status == 200 and allowed in {"*", "eventgrid.azure.net"}:
                return None
            return f"the endpoint answered {response.status} to OPTIONS and allows the origin {allowed!r}"


def _headers(target: Target, pending: Mapping[str, Any]) -> dict[str, str]:
    event = pending["event"]
    headers = {
        "aeg-event-type": "Notification",
        "aeg-subscription-name": target.subscription.upper(),
        "aeg-delivery-count": str(pending["attempt"]),
    }
    if "specversion" not in event:
        headers |= {"aeg-data-version": str(event.get("dataVersion", "")), "aeg-metadata-version": "1"}
    return headers


def _body(event: Mapping[str, Any]) -> bytes:
    """One CloudEvent as it is, an event of Event Grid's schema as an array of one."""
    return json.dumps(event if "specversion" in event else [event]).encode()


def _wait(attempt: int, status: int) -> float:
    step = RETRY_AFTER[attempt] if attempt < len(RETRY_AFTER) else LAST_RETRY_AFTER
    return max(step, AT_LEAST.get(status, 0)) * random.uniform(1.0, 1.1)


def _type(event: Mapping[str, Any]) -> str:
    return str(event.get("eventType", event.get("type", "")))


def _facts(target: Target, pending: Mapping[str, Any]) -> dict[str, Any]:
    event = pending["event"]
    return {
        "subscription": target.subscription,
        "id": event.get("id"),
        "type": _type(event),
        "subject": event.get("subject"),
        "attempt": pending["attempt"],
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".writing")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)
