"""Messages of the wake-up queues, on Azurite."""

from __future__ import annotations

import base64
import datetime as dt
import uuid

import pytest
from azure.storage.queue import QueueClient

from shared.adapters.queues import QueueBells, RestQueue, read
from shared.adapters.storage_rest import open_service
from shared.event_loop import EventLoop
from shared.lanes import LaneKey
from shared.ports import Ring
from shared.settings import Storage
from tests.azurites import Azurite

RING = Ring(LaneKey("curate", "<dämand> & 'more'"), 3, 1)


class Porch:
    """One queue for both kinds of rings, and the SDK's look into it."""

    def __init__(self, azurite: Azurite) -> None:
        name, loop = f"q{uuid.uuid4().hex}", EventLoop()
        queue = RestQueue(
            open_service(Storage("sluicestore", azurite.connection_string()), "queue", lambda: None), name
        )
        loop.wait(queue.make())
        loop.wait(queue.make())
        self.bells = QueueBells(queue, queue, loop)
        self.queue = QueueClient.from_connection_string(azurite.connection_string(), name)

    def held(self) -> int:
        """Messages in the queue, seen or not."""
        return int(self.queue.get_queue_properties().approximate_message_count or 0)


@pytest.fixture
def porch(azurite: Azurite) -> Porch:
    return Porch(azurite)


def test_a_ring_is_read_from_its_message_which_never_expires(porch: Porch) -> None:
    porch.bells.ring_lane(RING)
    (message,) = porch.queue.receive_messages()
    assert read(base64.b64decode(message.content)) == RING
    assert message.expires_on.year > 2100


def test_a_message_is_not_seen_before_its_time(porch: Porch) -> None:
    porch.bells.ring_run(RING, dt.timedelta(seconds=60))
    assert porch.held() == 1
    assert list(porch.queue.receive_messages()) == []
