"""Messages of the wake-up queues, on Azurite."""

from __future__ import annotations

import base64
import datetime as dt
import uuid

import pytest
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from shared.adapters.queues import QueueBells, read
from shared.lanes import LaneKey
from shared.ports import Ring
from tests.azurites import Azurite

RING = Ring(LaneKey("curate", "demand"), 3, 1)
LATER = dt.timedelta(seconds=60)


@pytest.fixture
def queue(azurite: Azurite) -> QueueClient:
    made = QueueClient.from_connection_string(
        azurite.connection_string(), f"q{uuid.uuid4().hex}", message_encode_policy=TextBase64EncodePolicy()
    )
    made.create_queue()
    return made


def held(queue: QueueClient) -> int:
    """Messages in the queue, seen or not."""
    return int(queue.get_queue_properties().approximate_message_count or 0)


def test_a_message_can_be_taken_back_before_anybody_has_seen_it_and_again(queue: QueueClient) -> None:
    take_back = QueueBells(queue, queue).ring_lane_unless(RING, LATER)
    assert held(queue) == 1
    assert list(queue.receive_messages()) == []
    take_back()
    assert held(queue) == 0
    take_back()


def test_a_message_that_somebody_has_in_hand_is_left_to_them(queue: QueueClient) -> None:
    take_back = QueueBells(queue, queue).ring_lane_unless(RING, dt.timedelta(0))
    (message,) = queue.receive_messages(visibility_timeout=60)
    take_back()
    assert held(queue) == 1
    queue.delete_message(message)
    assert held(queue) == 0


def test_a_message_that_is_not_taken_back_wakes_its_lane(queue: QueueClient) -> None:
    QueueBells(queue, queue).ring_lane_unless(RING, dt.timedelta(0))
    (message,) = queue.receive_messages()
    assert read(base64.b64decode(message.content)) == RING
