"""The roads through event hubs: storms of events, and the log of what was served."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

from azure.eventhub import EventData, EventHubProducerClient
from azure.mgmt.eventgrid.models import EventSubscription, EventSubscriptionFilter

from localcloud import subscriptions
from localcloud.cloud import EVENTS_HUB, SCORING_HUB, STORAGE_ID
from shared.adapters.azure_store import open_scoring_log
from shared.settings import Storage
from tests.scenarios.town import Town, event, eventually


def test_a_storm_in_the_lake_comes_through_the_hub_into_the_journal_each_event_once(town: Town) -> None:
    """The subscription is a deployment's: the lake's events of one folder go into the hub instead of the webhook."""
    folder = f"/blobServices/default/containers/bronze/blobs/storm-{uuid.uuid4().hex[:8]}"
    wanted = EventSubscription(
        destination=subscriptions.hub(),
        filter=EventSubscriptionFilter(subject_begins_with=folder, is_subject_case_sensitive=False),
        event_delivery_schema="EventGridSchema",
    )
    with subscriptions.client(town.cloud) as management:
        management.event_subscriptions.begin_create_or_update(STORAGE_ID, "storm", wanted).result()
    try:
        with town.lake.get_container_client("bronze") as bronze:
            name = folder.rpartition("/blobs/")[2]
            for number in range(40):
                bronze.upload_blob(f"{name}/part-{number}.parquet", b"x")

        def through_the_hub() -> list[Any]:
            rows = [row for row in town.deliveries(limit="1000") if str(row["subject"]).startswith(folder)]
            found = [row for row in rows if row["origin"] == "event_hub"]
            return found if len({row["id"] for row in found}) == 40 else []

        found = eventually(through_the_hub, 60)
        assert {row["outcome"] for row in found} == {"ignored"}
    finally:
        with subscriptions.client(town.cloud) as management:
            management.event_subscriptions.begin_delete(STORAGE_ID, "storm").result()


def test_events_in_the_hub_start_runs_like_any_other(town: Town) -> None:
    names = [f"hub-{number}-{uuid.uuid4().hex[:6]}" for number in range(3)]
    told = [
        event("MachineLearningServices.ModelRegistered", f"models/{name}", {"modelName": name, "modelVersion": "1"})
        for name in names
    ]
    hub = town.cloud.hub_connection_string()
    with EventHubProducerClient.from_connection_string(hub, eventhub_name=EVENTS_HUB) as producer:
        batch = producer.create_batch()
        for one in [*told, *told]:
            batch.add(EventData(json.dumps([one])))
        batch.add(EventData(b"\xff no event"))
        producer.send_batch(batch)
    for name in names:
        assert len(town.ended("registered", f"{name}:1")) == 1


def test_what_deployments_log_is_kept_in_the_lake_and_counted_by_the_minute(town: Town) -> None:
    deployment, now = f"v1-{uuid.uuid4().hex[:8]}", dt.datetime.now(dt.UTC)
    facts = {"at": now.isoformat(), "endpoint": "scenario", "deployment": deployment, "latency_ms": 7.5}
    calls = [facts | {"id": f"c{number}", "status": 500 if number == 3 else 200} for number in range(10)]
    hub = town.cloud.hub_connection_string()
    with EventHubProducerClient.from_connection_string(hub, eventhub_name=SCORING_HUB) as producer:
        for call in calls:
            producer.send_event(EventData(json.dumps(call)))
    settings = town.cloud.app_settings()
    log = open_scoring_log(Storage("sluicestore", settings["SluiceStorage"]), lambda: None)

    def all_counted() -> Any:
        found = log.minutes("scenario", deployment, now - dt.timedelta(minutes=2), now + dt.timedelta(minutes=2))
        return found[0] if found and found[0].count == 10 else None

    minute = eventually(all_counted, 60)
    assert (minute.failures, minute.latency_max) == (1, 7.5)
    with town.lake.get_container_client("scoring") as lake:
        kept = [
            json.loads(line)["call"]
            for name in lake.list_blob_names(name_starts_with=f"{SCORING_HUB}/day=")
            for line in lake.download_blob(name).readall().splitlines()
            if deployment.encode() in line
        ]
    assert sorted(call["id"] for call in kept) == sorted(call["id"] for call in calls)
