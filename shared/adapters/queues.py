"""The wake-up queues on Azure Storage: messages never expire, their body names no field that the host overwrites."""

from __future__ import annotations

import base64
import datetime as dt
import json

from shared.adapters.storage_rest import Request, StorageRest
from shared.event_loop import EventLoop
from shared.lanes import LaneKey
from shared.ports import Ring

_XML = {"Content-Type": "application/xml"}


class RestQueue:
    """One queue over REST, as far as messages are sent to it.  What it raises is Unavailable.

    (learn.microsoft.com/rest/api/storageservices/put-message)
    """

    def __init__(self, service: StorageRest, name: str) -> None:
        self._service, self._name = service, name

    async def make(self) -> None:
        """Make the queue where there is none."""
        answer = await self._service.send(f"queue {self._name}", Request("PUT", f"/{self._name}"))
        if answer.status not in (201, 204, 409):
            raise answer.unavailable(f"queue {self._name}")

    async def send(self, text: str, seconds: int) -> None:
        """Send a message that is seen after so many seconds and never expires."""
        body = f"<QueueMessage><MessageText>{base64.b64encode(text.encode()).decode()}</MessageText></QueueMessage>"
        query = f"visibilitytimeout={seconds}&messagettl=-1"
        asked = Request("POST", f"/{self._name}/messages", _XML, body.encode(), query)
        answer = await self._service.send(f"queue {self._name}", asked)
        if answer.status != 201:
            raise answer.unavailable(f"queue {self._name}")


class QueueBells:
    """See `ports.Bells`."""

    def __init__(self, lanes: RestQueue, runs: RestQueue, loop: EventLoop) -> None:
        self._lanes, self._runs, self._loop = lanes, runs, loop

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self._send(self._lanes, ring, delay)

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self._send(self._runs, ring, delay)

    def _send(self, queue: RestQueue, ring: Ring, delay: dt.timedelta) -> None:
        self._loop.wait(queue.send(written(ring), max(0, -int(-delay.total_seconds() // 1))))


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
