"""Event hub functions: batches of a partition, one at a time, with the retry policy; never redelivered after that.

Batches come in through `POST /admin/functions/{name}`; whatever receives from a real hub dispatches through here too.
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from localcloud.functions_host import payloads
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.invoker import Invoker
from localcloud.functions_host.payloads import HubEvent
from localcloud.functions_host.settings import Settings
from localcloud.functions_host.worker import Outcome


class HubDispatcher:
    """Invokes event hub functions with batches as the host shapes them."""

    def __init__(self, invoker: Invoker, settings: Settings, max_batch: int) -> None:
        self._invoker = invoker
        self._settings = settings
        self._max_batch = max_batch
        self._turns: dict[tuple[str, str], asyncio.Lock] = collections.defaultdict(asyncio.Lock)
        self._sequence = 0

    async def dispatch(self, function: Function, partition: str, events: Sequence[HubEvent]) -> list[Outcome]:
        """Invoke `function` with the events of a partition, in batches of at most `maxEventBatchSize`.

        One batch a partition at a time; a batch that fails is not seen again once its retry policy is used up.
        """
        many = str(function.trigger.get("cardinality", "many")).lower() == "many"
        size = self._max_batch if many else 1
        outcomes = []
        async with self._turns[function.name, partition]:
            for start in range(0, len(events), size):
                batch = events[start : start + size]
                outcomes.append(await self._one(function, partition, batch, many=many))
        return outcomes

    async def _one(self, function: Function, partition: str, batch: Sequence[HubEvent], *, many: bool) -> Outcome:
        data_type = str(function.trigger.get("dataType", ""))
        context = self._partition(function, partition)
        try:
            if many:
                payload = payloads.hub_batch(batch, context, data_type)
            else:
                payload = payloads.hub_event(batch[0], context, data_type)
        except ValueError as error:
            return await self._invoker.reject(function, error)
        return await self._invoker.run_with_retries(function, payload)

    def _partition(self, function: Function, partition: str) -> dict[str, Any]:
        trigger = function.trigger
        return {
            "FullyQualifiedNamespace": "",
            "EventHubName": self._settings.resolve(str(trigger["eventHubName"])),
            "ConsumerGroup": self._settings.resolve(str(trigger.get("consumerGroup") or "$Default")),
            "PartitionId": partition,
        }

    def events(self, text: str) -> list[HubEvent]:
        """The batch in an admin call's input: a JSON array is one event an element, anything else is one event."""
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        bodies = document if isinstance(document, list) else [text]
        return [self._event(body) for body in bodies]

    def _event(self, body: object) -> HubEvent:
        self._sequence += 1
        raw = body.encode("utf-8") if isinstance(body, str) else payloads.compact(body).encode("utf-8")
        return HubEvent(raw, self._sequence, str(self._sequence), dt.datetime.now(dt.UTC))
