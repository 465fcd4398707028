"""Storage queue triggers: leases, tries, the poison queue and the polling pace of the real host.

A message is invisible to others for `visibility` seconds, renewed while its function runs; so when this process is
killed, its messages come back after that time. (The real host uses ten minutes.)
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

from localcloud.functions_host import logs, payloads
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.host_json import QueueOptions
from localcloud.functions_host.invoker import Invoker
from localcloud.functions_host.storage import Storage

MINIMUM_PAUSE = 0.1
FOREVER = -1
_LONGEST_QUEUE_NAME = 63


class Pace:
    """How long to wait before the next look into an empty queue: grows at random, exponentially, up to `maximum`."""

    def __init__(self, maximum: float, spread: Callable[[], float] = lambda: random.uniform(0.8, 1.2)) -> None:
        self._maximum = maximum
        self._spread = spread
        self._misses = 0

    def found(self) -> None:
        """Start again from the shortest wait."""
        self._misses = 0

    def wait(self) -> float:
        """The next wait in seconds."""
        growth = self._spread() * 2 ** min(self._misses - 1, 32) * MINIMUM_PAUSE if self._misses else 0.0
        self._misses += 1
        return min(self._maximum, MINIMUM_PAUSE + growth)


def poison_queue(queue: str) -> str | None:
    """Where messages of `queue` go that fail too often; None for a poison queue itself and for names too long."""
    name = f"{queue}-poison"
    return None if queue.endswith("-poison") or len(name) > _LONGEST_QUEUE_NAME else name


class QueueListener:
    """Feeds one function from one queue until it is stopped."""

    def __init__(
        self,
        function: Function,
        queue: str,
        storage: Storage,
        invoker: Invoker,
        options: QueueOptions,
        visibility: float,
    ) -> None:
        self.queue = queue
        self._function = function
        self._storage = storage
        self._invoker = invoker
        self._options = options
        self._visibility = max(1, round(visibility))
        self._client = storage.queue(queue)
        poison = poison_queue(queue)
        self._poison = storage.queue(poison) if poison else None
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._poll: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start polling."""
        self._poll = asyncio.create_task(self._serve(), name=f"queue {self.queue}")

    async def stop(self, drain: float) -> None:
        """Stop polling, then give what runs `drain` seconds to finish and to settle its message."""
        if self._poll:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        if self._running:
            await asyncio.wait(self._running, timeout=drain)

    def notify(self) -> None:
        """Look now: this host has just put a message there."""
        self._wake.set()

    async def _serve(self) -> None:
        pace = Pace(self._options.max_polling_interval)
        while True:
            batch = await self._receive()
            for message in batch:
                task = asyncio.create_task(self._process(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if batch:
                pace.found()
                await self._room()
            else:
                await self._pause(pace.wait())

    async def _room(self) -> None:
        while len(self._running) > self._options.new_batch_threshold:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
        self._wake.clear()

    async def _receive(self) -> list[Any]:
        size = self._options.batch_size
        pages = self._client.receive_messages(messages_per_page=size, visibility_timeout=self._visibility).by_page()
        try:
            batch = [message async for message in await anext(pages)]
        except (ResourceNotFoundError, StopAsyncIteration):
            # Like the host: a queue that does not exist yet is an empty one.
            batch = []
        except AzureError as error:
            self._storage.lost(error)
            return []
        except Exception as error:
            # Whatever it is, a queue that is polled no more would be worse.
            logs.HOST.error(f"queue {self.queue} could not be read, trying on: {error!r}")
            return []
        self._storage.reached()
        return batch

    async def _process(self, message: Any) -> None:
        try:
            if self._poison and message.dequeue_count > self._options.max_dequeue_count:
                await self._to_poison(message, "came back more often than maxDequeueCount")
                return
            body = _decode(message.content, self._options.message_encoding)
            if body is None:
                await self._to_poison(message, "is not base64 (messageEncoding)")
                return
            renewal = asyncio.create_task(self._renew(message))
            try:
                outcome = await self._invoker.run(self._function, self._payload(message, body))
            finally:
                renewal.cancel()
                await asyncio.gather(renewal, return_exceptions=True)
            await (self._client.delete_message(message) if outcome.ok else self._failed(message))
        except HttpResponseError as error:
            _settle_error(self.queue, message.id, error)
        except AzureError as error:
            self._storage.lost(error)

    def _payload(self, message: Any, body: str) -> payloads.Payload:
        delivery = payloads.QueueDelivery(
            id=message.id,
            pop_receipt=message.pop_receipt,
            body=body,
            dequeue_count=message.dequeue_count,
            inserted=message.inserted_on,
            expires=message.expires_on,
            next_visible=message.next_visible_on,
        )
        return payloads.queue(delivery, self.queue)

    async def _renew(self, message: Any) -> None:
        while True:
            await asyncio.sleep(self._visibility / 2)
            try:
                await self._update(message, self._visibility)
            except ResourceNotFoundError:
                return
            except AzureError as error:
                self._storage.lost(error)

    async def _update(self, message: Any, visibility: int) -> None:
        updated = await self._client.update_message(
            message.id, message.pop_receipt, content=message.content, visibility_timeout=visibility
        )
        message.pop_receipt = updated.pop_receipt

    async def _failed(self, message: Any) -> None:
        if self._poison is None:
            return
        if message.dequeue_count >= self._options.max_dequeue_count:
            await self._to_poison(message, f"failed {message.dequeue_count} times")
        else:
            await self._update(message, int(self._options.visibility_timeout))

    async def _to_poison(self, message: Any, reason: str) -> None:
        if self._poison is None:
            logs.HOST.warning(f"message {message.id} of queue {self.queue} {reason}; there is no queue to move it to")
            return
        try:
            await self._poison.send_message(message.content, time_to_live=FOREVER)
        except ResourceNotFoundError:
            await self._poison.create_queue()
            await self._poison.send_message(message.content, time_to_live=FOREVER)
        await self._client.delete_message(message)
        logs.HOST.warning(f"message {message.id} of queue {self.queue} {reason}: moved to {self._poison.queue_name}")


def _decode(content: str, encoding: str) -> str | None:
    if encoding == "none":
        return content
    try:
        return base64.b64decode(content, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def _settle_error(queue: str, message: str, error: HttpResponseError) -> None:
    gone = error.status_code == 404 or getattr(error, "error_code", "") == "PopReceiptMismatch"
    if not gone:
        reason = str(error).splitlines()[0]
        logs.HOST.warning(f"message {message} of queue {queue} could not be settled, it will come again: {reason}")
