"""The wake-up queues on Azure Storage: messages never expire, their body names no field that the host overwrites."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable

from azure.core.exceptions import AzureError
from azure.storage.queue import QueueClient, QueueMessage

from shared.adapters.azure_errors import translated
from shared.lanes import LaneKey
from shared.ports import Ring


class QueueBells:
    """See `ports.Bells`."""

    def __init__(self, lanes: QueueClient, runs: QueueClient) -> None:
        self._lanes, self._runs = lanes, runs

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        _send(self._lanes, ring, delay)

    def ring_lane_unless(self, ring: Ring, delay: dt.timedelta) -> Callable[[], None]:
        """See `prompt_bells.Messages`."""
        sent = _send(self._lanes, ring, delay)

        def take_back() -> None:
            with contextlib.suppress(AzureError):
                self._lanes.delete_message(sent)

        return take_back

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        _send(self._runs, ring, delay)


def _send(queue: QueueClient, ring: Ring, delay: dt.timedelta) -> QueueMessage:
    seconds = max(0, -int(-delay.total_seconds() // 1))
    with translated(f"queue {queue.queue_name}"):
        return queue.send_message(written(ring), visibility_timeout=seconds, time_to_live=-1)


def written(ring: Ring) -> str:
    """A ring as the body of a message."""
    body = {"route": ring.lane.route, "key": ring.lane.key, "generation": ring.generation, "number": ring.number}
    return json.dumps(body)


def read(body: str | bytes) -> Ring:
    """The ring of a message's body.  Raises ValueError for what is not one."""
    try:
        fields = json.loads(body)
        return Ring(LaneKey(fields["route"], fields["key"]), int(fields["generation"]), int(fields["number"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a ring (route, key, generation, number): {body!r}") from error
