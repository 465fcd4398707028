"""Tells outside listeners of our own events through an Event Grid custom topic."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from azure.core.credentials import AzureKeyCredential, TokenCredential
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from shared.adapters.azure_calls import PATIENCE, calling
from shared.errors import NotFound, Refused, Unavailable


class EventGridTopic:
    """One custom topic with the Event Grid schema; `credential` is its access key, or an identity's."""

    def __init__(self, endpoint: str, credential: str | TokenCredential) -> None:
        self._endpoint = endpoint
        key = AzureKeyCredential(credential) if isinstance(credential, str) else credential
        self._client = EventGridPublisherClient(endpoint, key, **PATIENCE)

    def publish(self, event: Mapping[str, Any]) -> None:
        """Send one event; a topic that refuses is worth another try, as somebody must mend it."""
        with_id = EventGridEvent(
            subject=event["subject"],
            event_type=event["eventType"],
            data=event["data"],
            data_version=event["dataVersion"],
            id=event["id"],
            event_time=dt.datetime.fromisoformat(event["eventTime"]),
        )
        try:
            with calling(f"topic {self._endpoint}"):
                self._client.send(with_id)
        except (NotFound, Refused) as error:
            raise Unavailable(str(error), retry_after=60) from error
