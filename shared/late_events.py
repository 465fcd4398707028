"""What comes so late that its dedupe row may be retired is looked up in the id index before a lane absorbs it.

The age of an event is that by its sender's own time, so what comes in time costs nothing more.  An event without a time
may be of any age: it is looked up as well.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence

from shared.event_index import Catalog, EventIndex
from shared.lanes import LaneKey
from shared.ports import Absorbed, Absorption, Clock, LaneIntake
from shared.retirement import Keeping


class LateEvents:
    """A lane store to the intake, which remembers for ever what it has absorbed: see `ports.LaneIntake`."""

    def __init__(self, lanes: LaneIntake, index: EventIndex, keeping: Keeping, clock: Clock) -> None:
        self._lanes, self._index, self._keeping, self._clock = lanes, index, keeping, clock
        self._catalog, self._read_at = Catalog(), dt.datetime.min.replace(tzinfo=dt.UTC)

    async def open_generation(self, lane: LaneKey) -> int:
        """See `ports.LaneIntake`."""
        return await self._lanes.open_generation(lane)

    async def absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        """See `ports.LaneIntake`."""
        now = self._clock.now()
        late = [event for event in events if self._keeping.late(event.occurred, now)]
        known = await asyncio.to_thread(self._retired, lane, late, now) if late else {}
        rest = [event for event in events if event.identity not in known]
        absorbed = await self._lanes.absorb(lane, generation, rest) if rest else Absorbed(frozenset(), {})
        return dataclasses.replace(absorbed, duplicates={**absorbed.duplicates, **known})

    def _retired(self, lane: LaneKey, events: Sequence[Absorption], now: dt.datetime) -> dict[str, str]:
        catalog = self._current(now)
        found = {event.identity: self._index.retired(catalog, lane, event.identity) for event in events}
        return {identity: place[1] for identity, place in found.items() if place is not None}

    def _current(self, now: dt.datetime) -> Catalog:
        """The catalog; one that is far younger than a row stays beside its copy will do."""
        if now - self._read_at > self._keeping.copies / 60:
            self._catalog, self._read_at = self._index.catalog(), now
        return self._catalog
