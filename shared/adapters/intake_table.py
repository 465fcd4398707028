"""The lane store on Azure Tables, as the intake sees it: one transaction absorbs the events of a group.

The transaction is [merge the fence `o` with If-Match `*`, insert a page `p`, insert a dedupe row `d` for each event];
for a lane that is new it inserts the lane's row `s` and the fence.
The fence fails only when the generation was closed.  On a conflict, and when the fence is gone, our own page tells
whether the transaction landed: what is sent again after a lost answer meets its own rows, or what others did since.
Else the dedupe rows that exist are duplicates; the rest goes again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence

from shared.adapters import lane_rows as rows
from shared.adapters.fresh_lanes import Fresh, FreshLanes
from shared.adapters.table_rest import Insert, Merge, Operation, Refusal, RestTable
from shared.errors import Closed, Unavailable
from shared.lanes import Lane, LaneKey
from shared.ports import Absorbed, Absorption, Clock

MOST_IN_A_TRANSACTION = 97
_TRIES, _MOST_NEW = 20, 10_000


class TableLaneIntake:
    """See `ports.LaneIntake`."""

    def __init__(self, table: RestTable, clock: Clock, fresh: FreshLanes | None = None) -> None:
        self._table, self._clock, self._fresh = table, clock, fresh or FreshLanes()
        self._writer, self._pages = uuid.uuid4().hex[:12], 0
        self._new: set[LaneKey] = set()

    async def open_generation(self, lane: LaneKey) -> int:
        """See `ports.LaneIntake`."""
        found = await self._table.get(_name(lane), lane.partition, rows.LANE, "generation")
        if found is not None:
            return int(found["generation"])
        if len(self._new) >= _MOST_NEW:
            self._new.clear()
        self._new.add(lane)
        return 1

    async def absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        """See `ports.LaneIntake`."""
        parts = [events[at : at + MOST_IN_A_TRANSACTION] for at in range(0, len(events), MOST_IN_A_TRANSACTION)]
        fresh: set[str] = set()
        duplicates: dict[str, str] = {}
        refused: dict[str, str] = {}
        for part in parts:
            done = await self._absorb(lane, generation, part)
            fresh |= done.fresh
            duplicates |= done.duplicates
            refused |= done.refused
        return Absorbed(frozenset(fresh), duplicates, refused)

    async def _absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        duplicates: dict[str, str] = {}
        for _ in range(_TRIES):
            rest = [event for event in events if event.identity not in duplicates]
            if not rest:
                return Absorbed(frozenset(), duplicates)
            status, row = await self._submit(lane, generation, rest)
            if status in (400, 413):
                return await self._bisect(lane, generation, rest, duplicates)
            if status == 0 or await self._exists(lane, row):
                return Absorbed(frozenset(event.identity for event in rest), duplicates)
            if status == 404:
                raise Closed(f"generation {generation} of {_name(lane)} is not open")
            duplicates |= await self._seen(lane, rest)
        raise Unavailable(f"{_name(lane)} conflicted {_TRIES} times while absorbing")

    async def _submit(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> tuple[int, str]:
        """Try the transaction once; answers 0 or the refusal's HTTP status, and the row key of the page."""
        self._pages += 1
        now = self._clock.now()
        row = rows.page_row(generation, now, f"{self._writer}-{self._pages}")
        first_at = min(event.received for event in events)
        operations = [*self._fence(lane, generation, now), Insert(rows.page_entity(lane, row, events, first_at))]
        for event in events:
            seen = {"PartitionKey": lane.partition, "RowKey": rows.seen_row(event.identity)}
            operations.append(Insert(seen | {"generation": generation, "reference": event.reference}))
        done = await self._table.transact(_name(lane), operations)
        new = lane in self._new
        if not isinstance(done, Refusal) or done.status == 409:
            self._new.discard(lane)
        if not isinstance(done, Refusal):
            if new:
                self._fresh.made(lane, Fresh(done[0], done[1], tuple(events)))
            return 0, row
        if done.status in (400, 409, 413) or (done.status == 404 and not done.index):
            return done.status, row
        raise Unavailable(f"the store could not answer for {_name(lane)}: {done.status} {done.code}")

    def _fence(self, lane: LaneKey, generation: int, now: dt.datetime) -> list[Operation]:
        fence = {"PartitionKey": lane.partition, "RowKey": rows.open_row(generation), "last_at": now.isoformat()}
        if lane in self._new:
            return [Insert(rows.lane_entity(Lane(lane.route, lane.key))), Insert(fence)]
        return [Merge(fence)]

    async def _bisect(
        self, lane: LaneKey, generation: int, events: Sequence[Absorption], duplicates: dict[str, str]
    ) -> Absorbed:
        if len(events) == 1:
            reason = "the lane store refuses this event: it is too large or holds what a table cannot keep"
            return Absorbed(frozenset(), duplicates, {events[0].identity: reason})
        half = len(events) // 2
        left = await self._absorb(lane, generation, events[:half])
        right = await self._absorb(lane, generation, events[half:])
        return Absorbed(
            left.fresh | right.fresh,
            {**duplicates, **left.duplicates, **right.duplicates},
            {**left.refused, **right.refused},
        )

    async def _exists(self, lane: LaneKey, row: str) -> bool:
        return await self._table.get(_name(lane), lane.partition, row, "RowKey") is not None

    async def _seen(self, lane: LaneKey, events: Sequence[Absorption]) -> dict[str, str]:
        async def one(event: Absorption) -> tuple[str, str] | None:
            found = await self._table.get(_name(lane), lane.partition, rows.seen_row(event.identity), "reference")
            return (event.identity, str(found["reference"])) if found else None

        found = await asyncio.gather(*(one(event) for event in events))
        return dict(pair for pair in found if pair is not None)


def _name(lane: LaneKey) -> str:
    return f"lane {lane.route}/{lane.key}"
