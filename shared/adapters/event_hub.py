"""Event hubs: our own events out to listeners, and messages in as the scoring log takes them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from azure.core.credentials import TokenCredential
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from shared.errors import Unavailable
from shared.scoring_log import Entry


class EventHub:
    """One event hub; events of one key stay in order, because they share a partition key."""

    def __init__(self, client: EventHubProducerClient) -> None:
        self._client = client

    @classmethod
    def of_namespace(cls, host: str, hub: str, credential: TokenCredential) -> EventHub:
        """The hub of a namespace, with the app's identity."""
        return cls(EventHubProducerClient(host, hub, credential))

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send one event in Event Grid schema."""
        try:
            self._client.send_event(encode(event), partition_key=partition_key(event))
        except (EventHubError, OSError, ValueError) as error:
            raise Unavailable(f"event hub {self._client.eventhub_name}: {error}") from error


def encode(event: Mapping[str, Any]) -> EventData:
    """The event as a message: its JSON as the body, id and type beside it for filters that do not read bodies."""
    message = EventData(json.dumps([event]).encode())
    message.content_type = "application/json"
    message.message_id = event["id"]
    message.properties = {"eventType": event["eventType"], "subject": event["subject"]}
    return message


def partition_key(event: Mapping[str, Any]) -> str:
    """What keeps the events of one lane in order; hubs allow 128 characters."""
    data = event["data"]
    return f"{data.get('route', '')}|{data.get('key', event['subject'])}"[-128:]


def entry_of(event: Any) -> Entry:
    """An `azure.functions.EventHubEvent` as an entry of its partition."""
    metadata = event.metadata or {}
    context = metadata.get("PartitionContext") or {}
    return Entry(
        partition=str(context.get("PartitionId", "")),
        sequence=int(event.sequence_number),
        offset=str(event.offset),
        enqueued=_aware(event.enqueued_time),
        body=event.get_body(),
    )


def _aware(at: dt.datetime) -> dt.datetime:
    return at if at.tzinfo else at.replace(tzinfo=dt.UTC)
