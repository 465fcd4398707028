"""Host-shaped invocations, written by hand from the host's source: see the harness for the format."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

TIME = "2026-01-01T00:00:00+00:00"


def event_grid(function: str, event: object, parameter: str = "event") -> dict[str, Any]:
    data = event.get("data") if isinstance(event, dict) else None
    return call(function, parameter, {"json": json.dumps(event)}, data={"json": json.dumps(data)})


def queue(function: str, body: str, parameter: str = "message", tries: int = 1) -> dict[str, Any]:
    return call(
        function,
        parameter,
        {"string": body},
        QueueTrigger={"string": body},
        DequeueCount={"json": str(tries)},
        Id={"string": "3f0c8f2e-0000-4000-8000-000000000000"},
        PopReceipt={"string": "AgAAAAMAAAAAAAAA"},
        InsertionTime={"json": json.dumps(TIME)},
        ExpirationTime={"json": json.dumps(TIME)},
        NextVisibleTime={"json": json.dumps(TIME)},
    )


def timer(function: str, parameter: str = "timer", *, past_due: bool = False) -> dict[str, Any]:
    status = {"Last": TIME, "Next": TIME, "LastUpdated": TIME}
    value = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return call(function, parameter, {"json": json.dumps(value)}, TimerTrigger={"string": function})


def hub(function: str, bodies: Sequence[bytes], parameter: str = "events") -> dict[str, Any]:
    properties = [
        {"SequenceNumber": place, "Offset": str(place), "PartitionKey": None, "EnqueuedTimeUtc": TIME}
        for place in range(len(bodies))
    ]
    return call(
        function,
        parameter,
        {"collection_bytes": [base64.b64encode(body).decode() for body in bodies]},
        SystemPropertiesArray={"json": json.dumps(properties)},
        PropertiesArray={"json": json.dumps([{} for _ in bodies])},
        PartitionContext={"json": json.dumps({"PartitionId": "0", "EventHubName": "hub", "ConsumerGroup": "$Default"})},
    )


def http(
    function: str,
    parameter: str,
    method: str = "GET",
    path: str = "",
    route: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    body: bytes = b"",
) -> dict[str, Any]:
    value = {
        "method": method,
        "url": f"https://app.azurewebsites.net/api/{path or function}",
        "headers": {"accept": "*/*"},
        "params": route or {},
        "query": query or {},
        "body": base64.b64encode(body).decode(),
    }
    return call(function, parameter, {"http": value})


def call(function: str, parameter: str, value: dict[str, Any], **metadata: dict[str, Any]) -> dict[str, Any]:
    return {"function": function, "parameter": parameter, "data": value, "metadata": metadata}
