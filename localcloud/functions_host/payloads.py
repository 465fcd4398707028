"""The exact shapes that the host sends to the worker, per trigger: one input value and the trigger's metadata."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import types
from collections.abc import Mapping, Sequence
from typing import Any

from azure.functions.meta import Datum

_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@dataclasses.dataclass(frozen=True)
class Payload:
    """The trigger's value and its metadata; `origin` says in the log where it came from."""

    data: Datum
    metadata: dict[str, Datum] = dataclasses.field(default_factory=dict)
    origin: str = ""


@dataclasses.dataclass(frozen=True)
class QueueDelivery:
    """One message as a queue trigger sees it; the body is decoded."""

    id: str
    pop_receipt: str
    body: str
    dequeue_count: int
    inserted: dt.datetime
    expires: dt.datetime
    next_visible: dt.datetime


@dataclasses.dataclass(frozen=True)
class HttpCall:
    """One HTTP request that matched a function's route."""

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class HubEvent:
    """One event of a hub's partition."""

    body: bytes
    sequence_number: int
    offset: str
    enqueued: dt.datetime
    partition_key: str | None = None
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def compact(value: object) -> str:
    """JSON without spaces, non-ASCII kept."""
    return _COMPACT.encode(value)


def _json(value: object) -> Datum:
    return Datum(compact(value), "json")


def iso(moment: dt.datetime) -> str:
    """ISO 8601 in UTC, as .NET writes a DateTimeOffset."""
    return moment.astimezone(dt.UTC).isoformat()


def event_grid(event: object) -> Payload:
    """One element of an Event Grid delivery (or the whole array, for `cardinality="many"`)."""
    data = event.get("data") if isinstance(event, dict) else None
    return Payload(_json(event), {"data": _json(data)}, "Event Grid")


def queue(message: QueueDelivery, queue_name: str) -> Payload:
    """A queue message; the top-level properties of a JSON body overwrite the metadata, as in the host."""
    metadata = {
        "QueueTrigger": Datum(message.body, "string"),
        "DequeueCount": _json(message.dequeue_count),
        "Id": Datum(message.id, "string"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
        "InsertionTime": _json(iso(message.inserted)),
        "ExpirationTime": _json(iso(message.expires)),
        "NextVisibleTime": _json(iso(message.next_visible)),
    }
    spelling = {name.lower(): name for name in metadata}
    for name, value in _properties(message.body).items():
        if not isinstance(value, list):
            metadata[spelling.setdefault(name.lower(), name)] = _json(value)
    return Payload(Datum(message.body, "string"), metadata, f"{queue_name}, try {message.dequeue_count}")


def _properties(body: str) -> dict[str, Any]:
    if not body.lstrip().startswith("{"):
        return {}
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def timer(name: str, status: Mapping[str, str] | None, *, past_due: bool) -> Payload:
    """A tick of the timer `name`."""
    document = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": dict(status) if status else None,
        "IsPastDue": past_due,
    }
    return Payload(_json(document), {"TimerTrigger": Datum(name, "string")}, "past due" if past_due else "on schedule")


def http(call: HttpCall) -> Payload:
    """An HTTP request."""

    def texts(values: Mapping[str, str]) -> dict[str, Datum]:
        return {name: Datum(value, "string") for name, value in values.items()}

    value = {
        "method": Datum(call.method, "string"),
        "url": Datum(call.url, "string"),
        "headers": texts(call.headers),
        "params": texts(call.route),
        "query": texts(call.query),
        "body": Datum(call.body, "bytes"),
    }
    return Payload(Datum(value, "http"), {}, call.method)


def hub_batch(events: Sequence[HubEvent], partition: Mapping[str, Any], data_type: str) -> Payload:
    """A batch of one partition; `data_type` is the binding's (`BINARY`, `STRING` or empty for parsed JSON).

    Raises ValueError where the host does: without a data type, a body that is not JSON fails the whole batch.
    """
    bodies = [event.body for event in events]
    if data_type.upper() == "BINARY":
        data = Datum(types.SimpleNamespace(bytes=bodies), "collection_bytes")
    elif data_type.upper() == "STRING":
        data = Datum(types.SimpleNamespace(string=[body.decode("utf-8") for body in bodies]), "collection_string")
    else:
        data = _json([json.loads(body) for body in bodies])
    names = {
        "PartitionKeyArray": [event.partition_key for event in events],
        "OffsetArray": [event.offset for event in events],
        "SequenceNumberArray": [event.sequence_number for event in events],
        "EnqueuedTimeUtcArray": [iso(event.enqueued) for event in events],
        "PropertiesArray": [dict(event.properties) for event in events],
        "SystemPropertiesArray": [_system_properties(event) for event in events],
        "PartitionContext": dict(partition),
    }
    return Payload(data, {name: _json(value) for name, value in names.items()}, f"{len(events)} events")


def hub_event(event: HubEvent, partition: Mapping[str, Any], data_type: str) -> Payload:
    """One event of a partition, for `cardinality="one"`."""
    binary = data_type.upper() == "BINARY"
    data = Datum(event.body, "bytes") if binary else Datum(event.body.decode("utf-8"), "string")
    metadata = {
        "PartitionContext": _json(dict(partition)),
        "PartitionKey": Datum(event.partition_key or "", "string"),
        "Offset": Datum(event.offset, "string"),
        "SequenceNumber": _json(event.sequence_number),
        "EnqueuedTimeUtc": _json(iso(event.enqueued)),
        "Properties": _json(dict(event.properties)),
        "SystemProperties": _json(_system_properties(event)),
    }
    return Payload(data, metadata, "1 event")


def _system_properties(event: HubEvent) -> dict[str, Any]:
    return {
        "SequenceNumber": event.sequence_number,
        "Offset": event.offset,
        "PartitionKey": event.partition_key,
        "EnqueuedTimeUtc": iso(event.enqueued),
    }
