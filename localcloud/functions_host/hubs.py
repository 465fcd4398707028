"""Event hub functions: batches of a partition, one at a time, with the retry policy; never redelivered after that.

Batches come from `hub_listener`, which receives from the hub, and from `POST /admin/functions/{name}`.
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
        self._namespaces: dict[str, str] = {}

    async def dispatch(self, function: Function, partition: str, events: Sequence[HubEvent]) -> list[Outcome]:
        """Invoke `function` with the events of a partition, in batches of at most `maxEventBatchSize`.

        One batch a partition at a time; a batch that fails is not seen again once its retry policy is used up.
        """
        many = is_many(function)
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
        hub, group = place(function, self._settings)
        return {
            "FullyQualifiedNamespace": self._namespaces.get(function.name, ""),
            "EventHubName": hub,
            "ConsumerGroup": group,
            "PartitionId": partition,
        }

    def receives_from(self, function: Function, namespace: str) -> None:
        """Note the namespace that a function's batches come from: it is told to the function."""
        self._namespaces[function.name] = namespace

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


def is_many(function: Function) -> bool:
    """Whether the function takes batches."""
    return str(function.trigger.get("cardinality", "many")).lower() == "many"


def place(function: Function, settings: Settings) -> tuple[str, str]:
    """The hub and the consumer group of a function's trigger."""
    trigger = function.trigger
    return settings.resolve(str(trigger["eventHubName"])), settings.resolve(
        str(trigger.get("consumerGroup") or "$Default")
    )
