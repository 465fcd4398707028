"""What a real lake and a real Event Grid add to the one commit that matters.

Blobs that match nothing, a compaction commit that must not retrain, an event that comes twice, one that comes late,
one that comes again a week later, and one that is no event at all.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from typing import Any

from azure.storage.blob import BlobServiceClient

from demand_forecasting import landing
from demo.report import StepFailed
from demo.stage import Stage
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, STORAGE_ID
from localcloud.subscriptions import webhook

LATE_BY = 6.0
MALFORMED: Mapping[str, Any] = {"subject": "/blobServices/default/containers/bronze", "data": {"api": "PutBlob"}}
"""Neither an id nor a type: to be quarantined, not retried for a day."""


def deliver_badly(stage: Stage) -> None:
    """Ask Event Grid to deliver the next commit twice, and the one after it, a compaction, late."""
    commit = landing.version(table()) + 1
    rules = [
        {"delivery": "duplicate", "match": _commit(commit)},
        {"delivery": "late", "delay": LATE_BY, "match": _commit(commit + 1)},
    ]
    status = stage.post(stage.cloud.url("event_grid") + "/_faults", rules, {})
    if status != 201:
        raise StepFailed(f"Event Grid answered {status} to the fault rules {rules}")


def event_of(stage: Stage, version: int) -> str | None:
    """The id of the event that a commit of bronze has raised, None while it has raised none."""
    found = stage.cloud.records("event_grid", "published")
    return next((row["id"] for row in found if str(row["subject"]).endswith(_commit(version))), None)


def _commit(version: int) -> str:
    return f"bronze/blobs/demand/_delta_log/{version:020d}.json"


def blobs(stage: Stage, week: int) -> int:
    """Write blobs that mean nothing into bronze; how many."""
    lake = BlobServiceClient(f"{stage.cloud.url('lake')}/{LAKE_ACCOUNT}", credential=LAKE_KEY)
    written = landing.noise(week)
    with lake:
        for name, content in written.items():
            lake.get_blob_client("bronze", name).upload_blob(content, overwrite=True)
    return len(written)


def malformed(stage: Stage) -> int:
    """Post something to the webhook that is no event; the status of the answer."""
    return _deliver(stage, [MALFORMED])


def again(stage: Stage, event_id: str) -> int:
    """Deliver an event that was handled long ago once more, straight to the webhook; the status of the answer."""
    found = stage.cloud.records("event_grid", "published")
    known = next(row for row in found if row["id"] == event_id)
    event = {
        "id": known["id"],
        "topic": STORAGE_ID,
        "subject": known["subject"],
        "eventType": known["type"],
        "eventTime": dt.datetime.now(dt.UTC).isoformat(),
        "dataVersion": "",
        "metadataVersion": "1",
        "data": {},
    }
    return _deliver(stage, [event])


def _deliver(stage: Stage, events: list[Mapping[str, Any]]) -> int:
    return stage.post(webhook(stage.cloud), events, {"aeg-event-type": "Notification"})


def table() -> str:
    """The address of the bronze table."""
    return f"abfss://bronze@{os.environ['AZURE_STORAGE_ACCOUNT_NAME']}.dfs.core.windows.net/demand"
