"""What this process knows of lanes that it has just made, so that waking them need not read it back.

A lane's row changes only by those who wake it, under its version: whoever knows an old one loses, as with a row that
was read.  The fence of its generation changes with every absorb: a hand-over that finds it as it was made has the whole
set.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from shared.lanes import LaneKey
from shared.ports import Absorption

_MOST, _SECONDS = 500, 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Fresh:
    """A lane of one generation with one page: the versions of its row and of its fence, and all of its events."""

    row: str
    fence: str
    events: tuple[Absorption, ...]


class FreshLanes:
    """The newest lanes of this process, each for some seconds and for one hand-over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._made: OrderedDict[LaneKey, tuple[float, Fresh]] = OrderedDict()

    def made(self, lane: LaneKey, fresh: Fresh) -> None:
        """A lane was made with its first events."""
        with self._lock:
            self._made[lane] = self._clock(), fresh
            while len(self._made) > _MOST:
                self._made.popitem(last=False)

    def of(self, lane: LaneKey) -> Fresh | None:
        """What is known of a lane, None when nothing is, or not any more."""
        with self._lock:
            at, fresh = self._made.get(lane, (0.0, None))
            return fresh if fresh and self._clock() < at + _SECONDS else None

    def forget(self, lane: LaneKey) -> None:
        """The lane has moved on."""
        with self._lock:
            self._made.pop(lane, None)
