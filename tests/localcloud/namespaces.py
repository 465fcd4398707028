"""An Event Hubs namespace that tests stop and start again, and read with the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import urllib.request
from typing import Any

from aiohttp import web
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumer

from localcloud import certificates
from localcloud.cloud import Cloud
from localcloud.event_hubs import EventHubs
from localcloud.event_hubs_port import SharedPort
from localcloud.faults import Faults
from tests.localcloud.running import Stop, running

HUB = "events"


@dataclasses.dataclass
class Namespace:
    """A namespace that can be stopped and started again."""

    cloud: Cloud
    _running: contextlib.AbstractContextManager[None] | None = None

    def start(self) -> None:
        async def start() -> Stop:
            faults = Faults()
            hubs = EventHubs(self.cloud, faults, {HUB: 3, "one": 1})
            app = web.Application(middlewares=[faults.middleware])
            app.add_routes(faults.routes())
            runner = web.AppRunner(app)
            await runner.setup()
            port = SharedPort(hubs.serve, runner.server, certificates.server_context(self.cloud))
            await port.start(self.cloud.ports["event_hubs"])

            async def stop() -> None:
                await port.close()
                await hubs.close()
                await runner.cleanup()

            return stop

        self._running = running(start)
        self._running.__enter__()

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None

    @property
    def text(self) -> str:
        return self.cloud.hub_connection_string()

    def fault(self, **rule: Any) -> None:
        address = f"http://127.0.0.1:{self.cloud.ports['event_hubs']}/_faults"
        with urllib.request.urlopen(
            urllib.request.Request(address, json.dumps(rule).encode(), method="POST")
        ) as answer:
            assert answer.status == 201

    def producer(self, hub: str = HUB, **options: Any) -> EventHubProducerClient:
        return EventHubProducerClient.from_connection_string(self.text, eventhub_name=hub, **options)

    def received(self, hub: str = HUB) -> list[dict[str, Any]]:
        return [row for row in self.cloud.records("event_hubs", "received") if row["hub"] == hub]

    async def read(
        self, count: int, hub: str = HUB, position: Any = "-1", partition: str | None = None, **options: Any
    ) -> list[tuple[str, Any]]:
        """The first `count` events from a position, with their partitions; fails when they do not come."""
        found: list[tuple[str, Any]] = []
        group = options.pop("group", "$Default")
        client = AsyncConsumer.from_connection_string(self.text, group, eventhub_name=hub, **options)
        enough = asyncio.Event()

        async def on_event(context: Any, event: Any) -> None:
            found.append((context.partition_id, event))
            if len(found) >= count:
                enough.set()

        async with client:
            receiving = asyncio.create_task(
                client.receive(on_event, starting_position=position, partition_id=partition)
            )
            await asyncio.wait_for(enough.wait(), 30)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        return found


def send(producer: EventHubProducerClient, bodies: list[str], **options: Any) -> None:
    """Send a batch."""
    batch = producer.create_batch(**options)
    for body in bodies:
        batch.add(EventData(body))
    producer.send_batch(batch)
