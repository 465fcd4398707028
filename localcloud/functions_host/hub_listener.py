"""The event hub trigger: partitions shared out among hosts, batches of a partition one at a time, checkpoints in blobs.

Receiving, sharing out and the checkpoints' layout are the SDK's.  The real host's rule is kept: a batch is
checkpointed once its invocation, retries included, has ended, whatever became of it; not when the host stops before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.amqp import AmqpMessageBodyType
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from localcloud.functions_host import hubs, logs
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.host_json import HubOptions
from localcloud.functions_host.hubs import HubDispatcher
from localcloud.functions_host.payloads import HubEvent
from localcloud.functions_host.settings import HubConnection
from localcloud.functions_host.storage import Storage

CONTAINER = "azure-webjobs-eventhub"
_PAUSE = 1.0


class HubListener:
    """Receives for one function.  A host that dies keeps its partitions for `lease` seconds (the real one: 2 min)."""

    def __init__(
        self,
        function: Function,
        connection: HubConnection,
        place: tuple[str, str],
        storage: Storage,
        dispatcher: HubDispatcher,
        options: HubOptions,
        lease: float,
    ) -> None:
        self._function, self._connection, self._storage = function, connection, storage
        self._hub, self._group = place
        self._dispatcher, self._options, self._lease = dispatcher, options, lease
        self._task: asyncio.Task[None] | None = None
        self._client: EventHubConsumerClient | None = None
        self._lost = False

    def start(self) -> None:
        """Begin to receive."""
        logging.getLogger("azure.eventhub").setLevel(logging.CRITICAL)  # what matters of it is said here
        self._dispatcher.receives_from(self._function, self._connection.namespace)
        self._task = asyncio.create_task(self._run())

    async def stop(self, seconds: float) -> None:
        """Stop receiving and let other hosts have the partitions; a batch that has not ended will come again."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client.close(), seconds)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._storage.make_container(CONTAINER)
                async with self._checkpoints() as checkpoints, self._consumer(checkpoints) as self._client:
                    await self._client.receive_batch(
                        self._on_batch,
                        max_batch_size=self._options.max_event_batch_size if hubs.is_many(self._function) else 1,
                        prefetch=self._options.prefetch_count,
                        on_error=self._on_error,
                        starting_position="-1" if self._options.from_start else "@latest",
                    )
                    return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._say_lost(error)
            await asyncio.sleep(_PAUSE)

    def _checkpoints(self) -> BlobCheckpointStore:
        storage = self._storage.connection
        quiet = {"logger": logs.quiet(), "retry_total": 0}
        if storage.connection_string:
            return BlobCheckpointStore.from_connection_string(storage.connection_string, CONTAINER, **quiet)
        return BlobCheckpointStore(str(storage.blob_url), CONTAINER, credential=_identity(), **quiet)

    def _consumer(self, checkpoints: BlobCheckpointStore) -> EventHubConsumerClient:
        options: dict[str, Any] = {
            "consumer_group": self._group,
            "eventhub_name": self._hub,
            "checkpoint_store": checkpoints,
            "load_balancing_interval": self._lease / 5,
            "partition_ownership_expiration_interval": self._lease,
            "retry_total": 1,
        }
        if self._connection.connection_string:
            return EventHubConsumerClient.from_connection_string(self._connection.connection_string, **options)
        return EventHubConsumerClient(str(self._connection.host), credential=_identity(), **options)

    async def _on_batch(self, partition: PartitionContext, events: list[EventData]) -> None:
        self._say_reached()
        if not events:
            return
        await self._dispatcher.dispatch(self._function, partition.partition_id, [_event(one) for one in events])
        await partition.update_checkpoint(events[-1])

    async def _on_error(self, _: PartitionContext | None, error: Exception) -> None:
        self._say_lost(error)

    def _say_reached(self) -> None:
        if self._lost:
            self._lost = False
            logs.HOST.info(f"event hub {self._hub} answers again")

    def _say_lost(self, error: Exception) -> None:
        if not self._lost:
            self._lost = True
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            logs.HOST.warning(f"event hub {self._hub} or its checkpoints cannot be reached, trying on: {reason}")


def _event(received: EventData) -> HubEvent:
    data = received.body_type == AmqpMessageBodyType.DATA
    key = received.partition_key
    return HubEvent(
        body=b"".join(received.body) if data else received.body_as_str().encode(),
        sequence_number=int(received.sequence_number or 0),
        offset=str(received.offset),
        enqueued=received.enqueued_time,
        partition_key=key.decode() if isinstance(key, bytes) else key,
        properties={_text(name): _text(value) for name, value in (received.properties or {}).items()},
    )


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _identity() -> Any:
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()
