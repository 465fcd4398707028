"""Our own events to a topic and a hub, and telemetry to Application Insights, against the local cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from azure.eventhub import EventDataBatch

from localcloud.cloud import TOPIC, Cloud
from shared.adapters import event_hub
from shared.adapters.app_insights import AppInsights
from shared.adapters.event_grid import EventGridTopic
from shared.errors import Unavailable
from shared.telemetry import trace_id
from tests.azurites import free_port
from tests.localcloud.running import eventually

EVENT = {
    "id": "curate-1-1-abc",
    "topic": "/sluice/abc",
    "subject": "runs/curate-1-1",
    "eventType": "Sluice.RunSucceeded",
    "eventTime": "2026-01-05T00:00:00+00:00",
    "dataVersion": "1",
    "data": {"run": "curate-1-1", "route": "curate", "key": "demand"},
}


def test_an_event_arrives_at_the_topic_under_its_own_id(cloud: Cloud) -> None:
    EventGridTopic(f"{cloud.url('event_grid')}/topics/{TOPIC}/api/events", "local").publish(EVENT)
    rows = eventually(lambda: [row for row in cloud.records("event_grid", "published") if row["id"] == EVENT["id"]])
    assert rows[0]["type"] == "Sluice.RunSucceeded"
    assert rows[0]["subject"] == "runs/curate-1-1"


def test_a_topic_that_refuses_is_told_again_later(cloud: Cloud) -> None:
    with pytest.raises(Unavailable):
        EventGridTopic(f"{cloud.url('event_grid')}/topics/nothing/api/events", "local").publish(EVENT)


def test_a_hubs_message_carries_the_event_and_what_filters_need() -> None:
    message = event_hub.encode(EVENT)
    batch = EventDataBatch(max_size_in_bytes=4096, partition_key=event_hub.partition_key(EVENT))
    batch.add(message)
    assert len(batch) == 1
    assert json.loads(message.body_as_str()) == [EVENT]
    assert message.content_type == "application/json"
    assert message.message_id == "curate-1-1-abc"
    assert message.properties == {"eventType": "Sluice.RunSucceeded", "subject": "runs/curate-1-1"}


def test_the_events_of_one_lane_share_a_partition() -> None:
    other = {**EVENT, "id": "x", "data": {**EVENT["data"], "run": "curate-1-2"}}
    assert event_hub.partition_key(EVENT) == event_hub.partition_key(other) == "curate|demand"
    assert len(event_hub.partition_key({**EVENT, "data": {"route": "r", "key": "k" * 500}})) <= 128


@pytest.fixture(scope="module")
def insights(cloud: Cloud) -> Iterator[AppInsights]:
    made = AppInsights(cloud.app_settings()["APPLICATIONINSIGHTS_CONNECTION_STRING"], interval=0.1)
    yield made
    made.close()


def items(cloud: Cloud, kind: str, name: str) -> list[dict[str, Any]]:
    return [row["item"] for row in cloud.records("app_insights", "item") if (row["kind"], row["name"]) == (kind, name)]


def test_an_event_arrives_with_its_facts_under_its_chain(cloud: Cloud, insights: AppInsights) -> None:
    insights.event("100 % of a run started", "chain-1", {"run": "curate-1-1", "attempt": 2})
    found = eventually(lambda: items(cloud, "Event", "100 % of a run started"))[0]
    assert found["tags"]["ai.operation.id"] == trace_id("chain-1")
    told = {"correlation": "chain-1", "run": "curate-1-1", "attempt": "2"}
    assert found["data"]["baseData"]["properties"] == told


def test_each_measured_number_arrives(cloud: Cloud, insights: AppInsights) -> None:
    for number in (1.5, 2.5):
        insights.metric("run seconds", number, {"route": "curate"})
    found = eventually(lambda: (rows := items(cloud, "Metric", "run seconds")) and len(rows) == 2 and rows)
    assert sorted(row["data"]["baseData"]["metrics"][0]["value"] for row in found) == [1.5, 2.5]
    assert found[0]["data"]["baseData"]["properties"] == {"route": "curate"}


def test_spans_of_one_chain_belong_together_and_a_failed_one_says_so(cloud: Cloud, insights: AppInsights) -> None:
    with insights.span("outer", "chain-2", {"run": "r"}), insights.span("inner", "chain-2", {}):
        pass
    with pytest.raises(KeyError), insights.span("failed", "chain-2", {}):
        raise KeyError("table")
    found = [eventually(lambda name=name: items(cloud, "RemoteDependency", name))[0] for name in ("outer", "inner")]
    failed = eventually(lambda: items(cloud, "RemoteDependency", "failed"))[0]
    assert {row["tags"]["ai.operation.id"] for row in [*found, failed]} == {trace_id("chain-2")}
    assert found[1]["tags"]["ai.operation.parentId"] == found[0]["data"]["baseData"]["id"]
    assert failed["data"]["baseData"]["properties"]["error"] == "KeyError: 'table'"


def test_telemetry_never_stops_the_work() -> None:
    key = "00000000-0000-0000-0000-00000000000b"
    dead = AppInsights(f"InstrumentationKey={key};IngestionEndpoint=http://127.0.0.1:{free_port()}/", interval=0.05)
    dead.event("e", "c", {})
    dead.metric("m", 1.0, {})
    dead.metric("m", "no number", {})  # type: ignore[arg-type]
    with dead.span("s", "c", {}):
        pass
    dead.close()
