"""What the slower timer does: the id index is brought up to the journal, and what is old leaves the lanes.

Whatever is not done within the time of one tick is done by the next; two instances may do it at once.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from shared.errors import Conflict
from shared.event_index import EventIndex
from shared.indexing import Indexing
from shared.ports import Clock
from shared.retirement import Retirement

_A_TICK = dt.timedelta(minutes=3)


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """What one tick has done: deliveries indexed, segments merged, dedupe rows retired."""

    indexed: int = 0
    merged: int = 0
    retired: int = 0

    def __bool__(self) -> bool:
        return bool(self.indexed or self.merged or self.retired)


class Upkeep:
    """Index and retirement, a bounded piece at a time."""

    def __init__(self, indexing: Indexing, index: EventIndex, retirement: Retirement, clock: Clock) -> None:
        self._indexing, self._index, self._retirement, self._clock = indexing, index, retirement, clock

    def tick(self) -> Kept:
        """Do what there is to do; what somebody else does at the same time is left to them.  Raises Unavailable."""
        now = self._clock.now()

        def go_on() -> bool:
            return self._clock.now() < now + _A_TICK

        try:
            indexed = self._indexing.build(now, go_on)
            merged = self._index.merge()
            retired = self._retirement.retire(now, go_on)
            self._index.tidy(now)
        except Conflict:
            return Kept()
        return Kept(indexed, merged, retired)
