"""Event Grid: topics that take events, event subscriptions managed through ARM, delivery to webhooks and hubs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud.arm import Failed, Operations
from localcloud.cloud import TOPIC, TOPIC_ID, Cloud
from localcloud.event_delivery import Deliveries, EventHubs, Target
from localcloud.event_filters import OPERATORS, matches
from localcloud.faults import Faults

TOPIC_KEY = "local"
MAX_REQUEST = 1024 * 1024
DEFAULT_TIME_SCALE = 0.1
"""Event Grid's waits are shortened to a tenth, unless told otherwise."""

_DESTINATIONS = {"WebHook": "endpointUrl", "EventHub": "resourceId"}
_REQUIRED = {False: ("id", "subject", "eventType", "eventTime", "dataVersion"), True: ("id", "source", "type")}


class EventGrid:
    """All topics and event subscriptions of one local cloud."""

    def __init__(
        self,
        cloud: Cloud,
        faults: Faults | None = None,
        hubs: EventHubs | None = None,
        *,
        time_scale: float = DEFAULT_TIME_SCALE,
    ) -> None:
        self._cloud = cloud
        self._folder = cloud.home / "event_grid" / "subscriptions"
        self._subscriptions = {row["id"].lower(): row for row in map(_read, sorted(self._folder.glob("*.json")))}
        self._operations = Operations(cloud, "Microsoft.EventGrid")
        self._deliveries = Deliveries(cloud, faults or Faults(), hubs, time_scale)

    async def publish(self, topic_id: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Take `events` of the source `topic_id` and deliver them, at least once, to whoever subscribed to such events.

        They are in Event Grid's schema without `topic` and `metadataVersion`, or CloudEvents.  When this returns they
        are on disk.
        """
        for event in events:
            whole = dict(event)
            if "specversion" not in whole:
                whole |= {"topic": topic_id, "metadataVersion": "1"}
            event_type = whole.get("eventType", whole.get("type"))
            self._cloud.record(
                "event_grid", "published", topic=topic_id, id=whole["id"], type=event_type, subject=whole.get("subject")
            )
            for row in self._subscriptions.values():
                self._offer(row, topic_id, whole)

    def resume(self) -> int:
        """Take up deliveries that an earlier process of this cloud left; how many."""
        return self._deliveries.resume()

    def routes(self) -> list[web.RouteDef]:
        """Publishing to custom topics."""
        return [web.post("/topics/{topic}/api/events", self._publish_request)]

    def arm_routes(self) -> list[web.RouteDef]:
        """Event subscriptions on any scope, as Azure Resource Manager offers them."""
        one = "/{scope:.+}/providers/Microsoft.EventGrid/eventSubscriptions/{name}"
        return [
            *self._operations.routes(),
            web.put(one, self._put),
            web.get(one, self._get),
            web.delete(one, self._delete),
            web.get("/{scope:.+}/providers/Microsoft.EventGrid/eventSubscriptions", self._list),
        ]

    async def close(self) -> None:
        """Stop delivering; what is pending is taken up at the next start."""
        await self._operations.close()
        await self._deliveries.close()

    def _offer(self, row: Mapping[str, Any], topic_id: str, event: Mapping[str, Any]) -> None:
        properties = row["properties"]
        if properties["provisioningState"] != "Succeeded" or properties["topic"].lower() != topic_id.lower():
            return
        if matches(properties.get("filter") or {}, event):
            target = Target.of(row["name"], properties)
            self._deliveries.enqueue(target, as_cloud_event(event) if target.cloud_events else event)

    async def _publish_request(self, request: web.Request) -> web.Response:
        if request.match_info["topic"] != TOPIC:
            return _error(
                404, "NotFound", f"there is no topic {request.match_info['topic']!r}; this cloud has {TOPIC!r}"
            )
        if request.headers.get("aeg-sas-key") != TOPIC_KEY:
            return _error(401, "Unauthorized", "Request must contain the topic's key in the header aeg-sas-key.")
        body = await request.content.read(MAX_REQUEST + 1)
        while len(body) <= MAX_REQUEST and (more := await request.content.read(MAX_REQUEST + 1 - len(body))):
            body += more
        if len(body) > MAX_REQUEST:
            return _error(
                413, "PayloadTooLarge", f"The maximum size (1 MB) has been exceeded: {len(body)} bytes or more."
            )
        try:
            events = _read_events(body, request.content_type)
        except ValueError as error:
            return _error(400, "BadRequest", str(error))
        await self.publish(TOPIC_ID, events)
        return web.Response(status=200)

    async def _put(self, request: web.Request) -> web.Response:
        scope, name = "/" + request.match_info["scope"].strip("/"), request.match_info["name"]
        identity = f"{scope}/providers/Microsoft.EventGrid/eventSubscriptions/{name}"
        properties = (await request.json()).get("properties") or {}
        if wrong := _problem(name, properties):
            return _error(400, "InvalidRequest", wrong)
        row = {
            "id": identity,
            "name": name,
            "type": "Microsoft.EventGrid/eventSubscriptions",
            "properties": {
                "eventDeliverySchema": "EventGridSchema",
                "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
                "labels": None,
                **properties,
                "topic": scope,
                "provisioningState": "Creating",
            },
        }
        _, headers = self._operations.begin(self._create(row))
        return web.json_response(_shown(row), status=201, headers=headers)

    async def _create(self, row: dict[str, Any]) -> None:
        """Validate the endpoint, and only then let the subscription replace what was there."""
        refusal = await self._deliveries.validate(Target.of(row["name"], row["properties"]))
        self._cloud.record("event_grid", "validated", subscription=row["name"], refusal=refusal)
        if refusal is not None:
            raise Failed("Url validation", f"The attempt to validate the provided endpoint failed: {refusal}")
        row["properties"]["provisioningState"] = "Succeeded"
        self._subscriptions[row["id"].lower()] = row
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(row["id"]).write_text(json.dumps(row, indent=1), encoding="utf-8")
        self._cloud.record("event_grid", "subscribed", subscription=row["name"], topic=row["properties"]["topic"])

    async def _get(self, request: web.Request) -> web.Response:
        row = self._subscriptions.get(request.path.lower().replace("//", "/"))
        if row is None:
            return _error(
                404, "ResourceNotFound", f"the event subscription {request.match_info['name']!r} is not there"
            )
        return web.json_response(_shown(row))

    async def _list(self, request: web.Request) -> web.Response:
        scope = "/" + request.match_info["scope"].strip("/").lower()
        rows = [row for row in self._subscriptions.values() if row["properties"]["topic"].lower() == scope]
        return web.json_response({"value": [_shown(row) for row in rows]})

    async def _delete(self, request: web.Request) -> web.Response:
        row = self._subscriptions.pop(request.path.lower().replace("//", "/"), None)
        if row is None:
            return web.Response(status=204)
        self._file(row["id"]).unlink(missing_ok=True)
        self._cloud.record("event_grid", "unsubscribed", subscription=row["name"])
        return web.Response(status=200)

    def _file(self, identity: str) -> Path:
        return self._folder / f"{hashlib.sha256(identity.lower().encode()).hexdigest()[:24]}.json"


def as_cloud_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of Event Grid's schema in CloudEvents 1.0, mapped as the service does; CloudEvents stay as they are."""
    if "specversion" in event:
        return dict(event)
    return {
        "id": event["id"],
        "source": event["topic"],
        "type": event["eventType"],
        "subject": event["subject"],
        "time": event["eventTime"],
        "specversion": "1.0",
        "data": event.get("data"),
    }


def _read_events(body: bytes, content_type: str) -> list[dict[str, Any]]:
    cloud_events = "cloudevents" in content_type
    events = json.loads(body)
    if isinstance(events, dict) and content_type == "application/cloudevents+json":
        events = [events]
    if not isinstance(events, list):
        raise ValueError("the body must be a JSON array of events")
    for position, event in enumerate(events):
        missing = [name for name in _REQUIRED[cloud_events] if not isinstance(event, dict) or name not in event]
        if missing:
            raise ValueError(f"event {position} has no {missing[0]!r}")
        if not cloud_events and event.get("topic") not in (None, "", TOPIC_ID):
            raise ValueError(f"event {position}: topic must be left out or be {TOPIC_ID}")
    return [{**event, "specversion": "1.0"} if cloud_events else event for event in events]


def _problem(name: str, properties: Mapping[str, Any]) -> str:
    destination = properties.get("destination") or {}
    if not 3 <= len(name) <= 64:
        return f"the name {name!r} must have 3 to 64 characters"
    wanted = _DESTINATIONS.get(destination.get("endpointType", ""))
    if wanted is None or not (destination.get("properties") or {}).get(wanted):
        known = ", ".join(f"{kind} with {name}" for kind, name in _DESTINATIONS.items())
        return f"properties.destination must be one of: {known}; other destinations are not emulated"
    advanced = (properties.get("filter") or {}).get("advancedFilters") or []
    unknown = [one.get("operatorType") for one in advanced if one.get("operatorType") not in OPERATORS]
    if unknown:
        return f"the filter operator {unknown[0]!r} is not known"
    if len(advanced) > 25 or sum(len(one.get("values") or [0]) for one in advanced) > 25:
        return "a subscription may have at most 25 advanced filters with 25 values in all"
    return ""


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A subscription as ARM shows it: the endpoint without its query, where keys are."""
    properties = dict(row["properties"])
    if properties["destination"]["endpointType"] == "WebHook":
        base = properties["destination"]["properties"]["endpointUrl"].split("?")[0]
        properties["destination"] = {"endpointType": "WebHook", "properties": {"endpointBaseUrl": base}}
    return {**row, "properties": properties}


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


def _read(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return row
