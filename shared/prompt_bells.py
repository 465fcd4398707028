"""Wake-ups that a process answers itself, with the message as the net under them.

A lane that is to be woken at once would wait until somebody looks into the queue, up to the polling interval.  The
process that rings has just written the truth, so it goes on by itself: it sends the message to be seen a little later,
then wakes the lane.  When it dies in between, the message wakes it; when it does not, the message carries an older
number by then, or finds nothing to do, and is dropped.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable

from shared.ports import Bells, Ring

NET = dt.timedelta(seconds=10)
"""When the message is seen, where this process answers at once."""

MOST_AT_ONCE = 8
"""So many lanes are woken by a process itself at the same time; the next are left to whoever looks into the queue."""


class PromptBells:
    """See `ports.Bells`.  It only sends messages until `answer` says who wakes a lane here."""

    def __init__(self, bells: Bells, begin: Callable[[Callable[[], None]], object]) -> None:
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
            self._bells.ring_lane(ring, NET)
            self._begin(lambda: self._answer(wake, ring))
        except BaseException:
            self._free.release()
            raise
        return None

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self._bells.ring_run(ring, delay)

    def _answer(self, wake: Callable[[Ring], object], ring: Ring) -> None:
        try:
            said = wake(ring)
            logging.info("lane %s/%s, at once: %s", ring.lane.route, ring.lane.key, said)
        except Exception:  # the message is on its way: whoever gets it tries again
            logging.exception("lane %s/%s could not be woken at once", ring.lane.route, ring.lane.key)
        finally:
            self._free.release()
