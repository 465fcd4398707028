"""Wake-ups that a process answers itself, with the sweep as the net under them.

A lane that is to be woken at once would wait until somebody looks into the queue, up to the polling interval, and its
message costs two operations of the dearest kind.  The process that rings has just written the truth, so it goes on by
itself and sends nothing.  When it dies before it has woken the lane, the sweep does: the row that it looks at was
inserted before the truth.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable

from shared.errors import SluiceError
from shared.ports import Bells, Ring

MOST_AT_ONCE = 16
"""So many lanes are woken by a process itself at the same time."""

MOST_IN_HAND = 256
"""So many are woken or wait for it here; the next are left to whoever looks into the queue."""


class PromptBells:
    """See `ports.Bells`.  It only sends messages until `answer` says who wakes a lane here."""

    def __init__(self, bells: Bells, begin: Callable[[Callable[[], None]], object]) -> None:
        self._bells, self._begin = bells, begin
        self._wake: Callable[[Ring], object] | None = None
        self._free = threading.Semaphore(MOST_IN_HAND)

    def answer(self, wake: Callable[[Ring], object]) -> None:
        """From now on a lane that is to be woken at once is woken by this process."""
        self._wake = wake

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        wake = self._wake
        if wake is None or delay > dt.timedelta(0) or not self._free.acquire(blocking=False):
            return self._bells.ring_lane(ring, delay)
        try:
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
        except Exception:
            logging.exception("lane %s/%s could not be woken at once", ring.lane.route, ring.lane.key)
            self._hand_on(ring)
        finally:
            self._free.release()

    def _hand_on(self, ring: Ring) -> None:
        """Leave a wake-up that has failed to the queue, which tries five times and tells."""
        try:
            self._bells.ring_lane(ring)
        except SluiceError:
            logging.warning("lane %s/%s is left to the sweep", ring.lane.route, ring.lane.key, exc_info=True)
