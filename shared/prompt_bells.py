"""Wake-ups that a process answers itself, with the message as the net under them.

A lane that is to be woken at once would wait until somebody looks into the queue, up to the polling interval.  The
process that rings has just written the truth, so it goes on by itself: it sends the message to be seen a little later,
wakes the lane, and takes the message back.  When it dies before it has woken the lane, the message does; when it dies
later, the message meets a newer number and is dropped, and the sweep finds what is left.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from shared.ports import Bells, Ring

NET = dt.timedelta(seconds=10)
"""When the message is seen, where this process answers at once."""

MOST_AT_ONCE = 8
"""So many lanes are woken by a process itself at the same time; the next are left to whoever looks into the queue."""


class Messages(Bells, Protocol):
    """Bells whose messages can be taken back."""

    def ring_lane_unless(self, ring: Ring, delay: dt.timedelta) -> Callable[[], None]:
        """`ring_lane`, and how to take its message back: that is tidiness, so it may be too late and never raises."""


class PromptBells:
    """See `ports.Bells`.  It only sends messages until `answer` says who wakes a lane here."""

    def __init__(self, bells: Messages, begin: Callable[[Callable[[], None]], object]) -> None:
        self._bells, self._begin = bells, begin
        self._wake: Callable[[Ring], object] | None = None
        self._free = threading.Semaphore(MOST_AT_ONCE)

    def answer(self, wake: Callable[[Ring], object]) -> None:
        """From now on a lane that is to be woken at once is woken by this process."""
        self._wake = wake

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        wake = self._wake
        if wake is None or delay > dt.timedelta(0) or not self._free.acquire(blocking=False):
            return self._bells.ring_lane(ring, delay)
        try:
            take_back = self._bells.ring_lane_unless(ring, NET)
            self._begin(lambda: self._answer(wake, ring, take_back))
        except BaseException:
            self._free.release()
            raise
        return None

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self._bells.ring_run(ring, delay)

    def _answer(self, wake: Callable[[Ring], object], ring: Ring, take_back: Callable[[], None]) -> None:
        try:
            said = wake(ring)
            take_back()
            logging.info("lane %s/%s, at once: %s", ring.lane.route, ring.lane.key, said)
        except Exception:  # the message is on its way: whoever gets it tries again
            logging.exception("lane %s/%s could not be woken at once", ring.lane.route, ring.lane.key)
        finally:
            self._free.release()
