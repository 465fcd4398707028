"""Sluice's own app in azure-functions-runtime: indexed, its imports counted, every function invoked."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from localcloud.cloud import LAKE_ACCOUNT, SERVICES, Cloud
from tests.azurites import Azurite, free_port
from tests.conformance import python313, shapes

ROOT = python313.ROOT
HEAVY = (
    "aiohttp", "azure.ai", "azure.containerregistry", "azure.core", "azure.data", "azure.eventgrid", "azure.eventhub",
    "azure.identity", "azure.mgmt", "azure.storage", "cryptography", "databricks", "msal", "numpy", "opencensus",
    "pandas", "requests", "urllib3", "yaml",
)  # fmt: skip
OWN = ("function_app", "functions", "shared")
LAZY = ("shared.adapters",)
BLOB = {
    "topic": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Storage/storageAccounts/a",
    "subject": "/blobServices/default/containers/other/blobs/a.txt",
    "eventType": "Microsoft.Storage.BlobCreated",
    "eventTime": "2026-01-01T00:00:00Z",
    "dataVersion": "",
    "metadataVersion": "1",
    "data": {"api": "PutBlob", "url": "https://a.blob.core.windows.net/other/a.txt", "contentLength": 1},
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "Microsoft.Storage.BlobCreated",
    "source": BLOB["topic"],
    "subject": BLOB["subject"],
    "time": BLOB["eventTime"],
    "data": BLOB["data"],
}


@pytest.fixture(scope="module")
def settings(azurite: Azurite) -> dict[str, str]:
    """The settings of a local cloud of which only the storage runs."""
    cloud = Cloud("conformance", {service: free_port() for service in SERVICES})
    trust = cloud.trust()
    values = {name: value for name, value in cloud.app_settings().items() if name not in trust}
    lake = azurite.connection_string(LAKE_ACCOUNT)
    store = azurite.connection_string()
    return values | {"AzureWebJobsStorage": store, "SluiceStorage": store, "SluiceLake": lake}


Drive = Callable[..., dict[str, Any]]


@pytest.fixture
def drive(worker: Path, tmp_path: Path, settings: dict[str, str]) -> Drive:
    """Index the app and make calls; the harness's answer."""

    def run(*calls: dict[str, Any]) -> dict[str, Any]:
        return python313.drive(worker, ROOT, calls, tmp_path, settings)

    return run


def succeeded(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The results, after a check that everything went well."""
    assert answer["index"]["ok"], answer["index"]["error"]
    failed = [result["error"] for result in answer["results"] if not result["ok"]]
    assert not failed, f"{failed}\n{answer['log'][-4000:]}"
    return answer["results"]


def test_the_app_is_indexed_with_its_functions(drive: Drive) -> None:
    found = drive()["index"]

    assert found["ok"], found["error"]
    triggers = {
        one["name"]: next(b for b in one["bindings"] if b["type"].endswith("Trigger")) for one in found["functions"]
    }
    assert {
        "event_grid": "eventGridTrigger",
        "event_hub": "eventHubTrigger",
        "scoring_log": "eventHubTrigger",
        "lane": "queueTrigger",
        "run": "queueTrigger",
        "lane_poison": "queueTrigger",
        "run_poison": "queueTrigger",
        "sweep": "timerTrigger",
        "upkeep": "timerTrigger",
        "health": "httpTrigger",
        "events": "httpTrigger",
    }.items() <= {name: trigger["type"] for name, trigger in triggers.items()}.items()
    for name in ("event_hub", "scoring_log"):
        assert (triggers[name]["cardinality"], triggers[name]["dataType"]) == ("MANY", "BINARY")
    queues = [triggers[name]["queueName"] for name in ("lane", "run", "lane_poison", "run_poison")]
    assert queues == ["sluice-lane", "sluice-run", "sluice-lane-poison", "sluice-run-poison"]


def test_indexing_imports_azure_functions_and_our_pure_modules_only(drive: Drive) -> None:
    modules = drive()["index"]["modules"]

    def under(names: tuple[str, ...]) -> list[str]:
        return [module for module in modules if any(module == name or module.startswith(f"{name}.") for name in names)]

    assert under(HEAVY) == []
    assert under(LAZY) == []
    assert under(OWN), "the app was not imported at all"


def test_deliveries_of_both_schemas_and_of_a_hub_are_taken(drive: Drive) -> None:
    odd = [{"no": "id"}, "just text", {**BLOB, "id": str(uuid.uuid4()), "eventTime": "2026-01-01T02:00:00+02:00"}]
    calls = [
        shapes.event_grid("event_grid", BLOB | {"id": str(uuid.uuid4())}),
        shapes.event_grid("event_grid", CLOUD_EVENT | {"id": str(uuid.uuid4())}),
        *(shapes.event_grid("event_grid", event) for event in odd),
        shapes.hub("event_hub", [json.dumps([BLOB | {"id": str(uuid.uuid4())}]).encode(), b"\xff not an event"]),
    ]

    results = succeeded(drive(*calls))

    assert len(results) == len(calls)


def test_the_scoring_log_is_kept_under_its_partition_and_first_offset(drive: Drive, azurite: Azurite) -> None:
    facts = {"id": "c1", "at": "2026-01-01T00:00:00+00:00", "endpoint": "e", "deployment": "d", "status": 200}
    batch = shapes.hub("scoring_log", [json.dumps(facts | {"latency_ms": 2.0}).encode(), b"\xff no call"])

    succeeded(drive(batch, batch))

    with ContainerClient.from_connection_string(azurite.connection_string(LAKE_ACCOUNT), "scoring") as lake:
        (name,) = [name for name in lake.list_blob_names() if name.endswith("/0-00000000000000000000.jsonl")]
        lines = [json.loads(line) for line in lake.download_blob(name).readall().splitlines()]
    assert [line["sequence"] for line in lines] == [0, 1]
    assert lines[0]["call"]["id"] == "c1"
    assert "rejected" in lines[1]


def test_the_timer_and_the_http_functions_answer(drive: Drive) -> None:
    id = str(uuid.uuid4())
    calls = [
        shapes.event_grid("event_grid", BLOB | {"id": id}),
        shapes.timer("sweep"),
        shapes.timer("upkeep"),
        shapes.http("health", "request"),
        shapes.http("events", "request", query={"limit": "5"}),
        shapes.http("events", "request", query={"limit": "many"}),
        shapes.http("runs", "request"),
        shapes.http("lanes", "request"),
        shapes.http("explain", "request", route={"id": id}),
        shapes.http("explain", "request", route={"id": "nobody"}),
        shapes.http("replay", "request", "POST", route={"id": id}),
        shapes.http("train", "request", "POST", route={"table": "nothing-here"}),
        shapes.http("command", "request", "POST", route={"id": "nobody", "command": "cancel"}),
        shapes.http("command", "request", "POST", route={"id": "nobody", "command": "dance"}),
    ]

    results = succeeded(drive(*calls))

    statuses = [int(result["returned"]["http"]["status"]) for result in results[3:]]
    assert statuses == [200, 200, 400, 200, 200, 200, 404, 200, 200, 404, 400]


def test_a_routed_event_rings_a_lane_and_the_queue_functions_take_what_was_rung(
    drive: Drive, settings: dict[str, str]
) -> None:
    table = f"t{uuid.uuid4().hex[:8]}"
    subject = f"/blobServices/default/containers/bronze/blobs/{table}/_delta_log/00000000000000000001.json"
    commit = BLOB | {"id": str(uuid.uuid4()), "subject": subject}
    succeeded(drive(shapes.event_grid("event_grid", commit)))
    rung = _take(settings, "sluice-lane", table)
    started = {"route": "curate", "key": table, "generation": 1, "number": 1}

    succeeded(
        drive(
            shapes.queue("lane", rung),
            shapes.queue("run", json.dumps(started)),
            shapes.queue("run", json.dumps(started | {"generation": 99})),
            shapes.queue("lane_poison", rung, tries=5),
            shapes.queue("run_poison", json.dumps(started), tries=5),
            shapes.queue("run_poison", "not a ring", tries=5),
        )
    )


def _take(settings: dict[str, str], name: str, wanted: str) -> str:
    """The body of the message that names `wanted`, as the host would decode it; it may be rung for later."""
    queue = QueueClient.from_connection_string(settings["SluiceStorage"], name)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for message in queue.receive_messages(visibility_timeout=1):
            body = base64.b64decode(message.content, validate=True).decode()
            if wanted in body:
                queue.delete_message(message)
                return body
        time.sleep(0.2)
    raise AssertionError(f"nothing about {wanted} came into the queue {name}")
