"""The lane store on Azure Tables, as the intake sees it: one transaction absorbs the events of a group.

The transaction is [merge the fence `o` with If-Match `*`, insert a page `p`, insert a dedupe row `d` for each event].
The fence fails only when the generation was closed.  On a conflict our own page tells whether the transaction landed
(the SDK repeats a POST whose answer was lost).  Else the dedupe rows that exist are duplicates; the rest goes again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient

from shared.adapters import lane_rows as rows
from shared.adapters.azure_errors import translated
from shared.errors import Closed, Unavailable
from shared.lanes import Lane, LaneKey
from shared.ports import Absorbed, Absorption, Clock

MOST_IN_A_TRANSACTION = 98
_TRIES = 20


class TableLaneIntake:
    """See `ports.LaneIntake`."""

    def __init__(self, table: TableClient, clock: Clock) -> None:
        self._table, self._clock = table, clock
        self._writer, self._pages = uuid.uuid4().hex[:12], 0

    async def open_generation(self, lane: LaneKey) -> int:
        """See `ports.LaneIntake`."""
        with translated(f"lane {lane.route}/{lane.key}"):
            for _ in range(_TRIES):
                try:
                    return int((await self._table.get_entity(lane.partition, rows.LANE))["generation"])
                except ResourceNotFoundError:
                    await self._create(lane)
        raise Unavailable(f"lane {lane.route}/{lane.key} can neither be read nor created")

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

    async def close(self) -> None:
        """Let go of the connections."""
        await self._table.close()

    async def _create(self, lane: LaneKey) -> None:
        fence = {"PartitionKey": lane.partition, "RowKey": rows.open_row(1), "last_at": ""}
        try:
            await self._table.submit_transaction(
                [("create", rows.lane_entity(Lane(lane.route, lane.key))), ("create", fence)]
            )
        except (ResourceExistsError, TableTransactionError) as error:
            if error.status_code != 409:
                raise

    async def _absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        duplicates: dict[str, str] = {}
        for _ in range(_TRIES):
            rest = [event for event in events if event.identity not in duplicates]
            if not rest:
                return Absorbed(frozenset(), duplicates)
            status, row = await self._submit(lane, generation, rest)
            if status in (400, 413):
                return await self._bisect(lane, generation, rest, duplicates)
            if status == 404:
                raise Closed(f"generation {generation} of lane {lane.route}/{lane.key} is not open")
            if status == 0 or await self._exists(lane, row):
                return Absorbed(frozenset(event.identity for event in rest), duplicates)
            duplicates |= await self._seen(lane, rest)
        raise Unavailable(f"lane {lane.route}/{lane.key} conflicted {_TRIES} times while absorbing")

    async def _submit(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> tuple[int, str]:
        """Try the transaction once; answers 0 or the refusal's HTTP status, and the row key of the page."""
        self._pages += 1
        now = self._clock.now()
        row = rows.page_row(generation, now, f"{self._writer}-{self._pages}")
        first_at = min(event.received for event in events)
        fence = {"PartitionKey": lane.partition, "RowKey": rows.open_row(generation), "last_at": now.isoformat()}
        operations: list[Any] = [
            ("update", fence, {"mode": UpdateMode.MERGE, "match_condition": MatchConditions.Unconditionally}),
            ("create", rows.page_entity(lane, row, events, first_at)),
        ]
        for event in events:
            seen = {"PartitionKey": lane.partition, "RowKey": rows.seen_row(event.identity)}
            operations.append(("create", seen | {"generation": generation, "reference": event.reference}))
        with translated(f"lane {lane.route}/{lane.key}"):
            try:
                await self._table.submit_transaction(operations)
            except TableTransactionError as error:
                if error.status_code in (400, 404, 409, 413):
                    return error.status_code, row
                raise
        return 0, row

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
        with translated(f"lane {lane.route}/{lane.key}"):
            try:
                await self._table.get_entity(lane.partition, row, select=["RowKey"])
            except ResourceNotFoundError:
                return False
            return True

    async def _seen(self, lane: LaneKey, events: Sequence[Absorption]) -> dict[str, str]:
        async def one(event: Absorption) -> tuple[str, str] | None:
            try:
                entity = await self._table.get_entity(lane.partition, rows.seen_row(event.identity))
            except ResourceNotFoundError:
                return None
            return event.identity, str(entity["reference"])

        with translated(f"lane {lane.route}/{lane.key}"):
            found = await asyncio.gather(*(one(event) for event in events))
        return dict(pair for pair in found if pair is not None)
