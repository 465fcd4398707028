"""The lane store on Azure Tables, as the control plane sees it.

Everything of a lane is in one partition, so that a hand-over and an end are each one transaction.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import uuid
from collections.abc import Collection, Iterator, Sequence

from shared.adapters import lane_rows as rows
from shared.adapters.fresh_lanes import Fresh, FreshLanes
from shared.adapters.table_rest import Delete, Insert, Replace
from shared.adapters.waiting_table import WaitingTable, text
from shared.errors import Conflict
from shared.lanes import Collected, Lane, LaneKey
from shared.ports import Absorption
from shared.runs import Run

_POINT_READS = 50


class TableLanes:
    """See `ports.Lanes`; `version` is the row's ETag."""

    def __init__(self, table: WaitingTable, fresh: FreshLanes) -> None:
        self._table, self._fresh, self._sets = table, fresh, FreshLanes()
        self._store_id = ""

    @property
    def store_id(self) -> str:
        """See `ports.Lanes`."""
        if not self._store_id:
            what = "the store's id"
            self._table.insert(what, {"PartitionKey": "store", "RowKey": "id", "id": uuid.uuid4().hex})
            found = self._table.get(what, "store", "id")
            self._store_id = str(found[0]["id"]) if found else ""
        return self._store_id

    def lane(self, lane: LaneKey, at: tuple[int, int] | None = None) -> tuple[Lane, str] | None:
        """See `ports.Lanes`."""
        fresh = self._fresh.of(lane)
        if fresh is not None and at == (1, 0):
            return Lane(lane.route, lane.key), fresh.row
        found = self._get(lane, rows.LANE)
        return (rows.lane_of(found[0]), found[1]) if found else None

    def touched(self, lane: LaneKey, generation: int) -> dt.datetime | None:
        """See `ports.Lanes`."""
        fresh = self._fresh.of(lane)
        if fresh is not None and generation == 1:
            return max(event.received for event in fresh.events)
        return self._last_at(lane, generation)

    def _last_at(self, lane: LaneKey, generation: int) -> dt.datetime | None:
        fence = self._get(lane, rows.open_row(generation))
        return rows.time_of(fence[0]["last_at"]) if fence else None

    def collected(self, lane: LaneKey, generation: int) -> Collected | None:
        """See `ports.Lanes`."""
        self._fresh.forget(lane)
        last_at = self._last_at(lane, generation)
        if last_at is None:
            return None
        pages = list(self._range(lane.partition, f"p~{generation:010d}~", select=["first_at", "count", "types"]))
        if not pages:
            return None
        first_at = min(dt.datetime.fromisoformat(page["first_at"]) for page in pages)
        types = frozenset(type_ for page in pages for type_ in json.loads(page.get("types") or "[]"))
        return Collected(first_at, last_at, sum(page.get("count") or 1 for page in pages), types)

    def events(self, lane: LaneKey, generation: int) -> list[Absorption]:
        """See `ports.Lanes`."""
        closed = self._sets.of(lane) if generation == 1 else None
        if closed is not None:
            return sorted(closed.events, key=_receipt)
        pages = self._range(lane.partition, f"p~{generation:010d}~")
        found = [event for page in pages for event in rows.events_of(page)]
        return sorted(found, key=_receipt)

    def save_lane(self, lane: Lane, version: str) -> str:
        """See `ports.Lanes`."""
        self._fresh.forget(lane.name)
        return self._table.replace(f"lane {lane.route}/{lane.key}", rows.lane_entity(lane), version)

    def hand_over(self, lane: Lane, version: str, run: Run) -> tuple[str, str]:
        """See `ports.Lanes`."""
        fresh = self._fresh.of(lane.name)
        self._fresh.forget(lane.name)
        if fresh is not None and run.generation == 1:
            with contextlib.suppress(Conflict):  # more has come, or the lane has moved on: the next try tells
                return self._hand_over(lane, version, run, fresh)
        return self._hand_over(lane, version, run, None)

    def _hand_over(self, lane: Lane, version: str, run: Run, fresh: Fresh | None) -> tuple[str, str]:
        key = lane.name.partition
        fence = {"PartitionKey": key, "RowKey": rows.open_row(run.generation)}
        answers = self._table.transact(
            f"lane {lane.route}/{lane.key}",
            [
                Replace(rows.lane_entity(lane), version),
                Delete(fence, fresh.fence if fresh else "*"),
                Insert({"PartitionKey": key, "RowKey": rows.open_row(lane.generation), "last_at": ""}),
                Insert(rows.run_entity(run)),
            ],
        )
        if fresh is not None:
            self._sets.made(lane.name, fresh)
        return answers[0], answers[-1]

    def run(self, lane: LaneKey, generation: int) -> tuple[Run, str] | None:
        """See `ports.Lanes`."""
        found = self._get(lane, rows.run_row(generation))
        return (rows.run_of(found[0]), found[1]) if found else None

    def save_run(self, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        return self._table.replace(f"run {run.id}", rows.run_entity(run), version)

    def move(self, lane: Lane, lane_version: str, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        changes = [Replace(rows.run_entity(run), version), Replace(rows.lane_entity(lane), lane_version)]
        return self._table.transact(f"run {run.id}", changes)[0]

    def history(self, lane: LaneKey, most: int) -> list[Run]:
        """See `ports.Lanes`."""
        found = self._get(lane, rows.LANE)
        if found is None:
            return []
        newest = int(found[0]["generation"])
        low, high = rows.run_row(max(newest - most, 0)), rows.run_row(newest)
        entities = self._between(lane.partition, low, high)
        return [rows.run_of(entity) for entity in reversed(list(entities))]

    def absorbed_as(self, lane: LaneKey, identity: str) -> tuple[int, str] | None:
        """See `ports.Lanes`."""
        found = self._get(lane, rows.seen_row(identity))
        return (found[0]["generation"], found[0]["reference"]) if found else None

    def absorbed(self, lane: LaneKey, identities: Collection[str]) -> dict[str, tuple[int, str]]:
        """See `ports.Lanes`."""
        if len(identities) <= _POINT_READS:
            found = {identity: self.absorbed_as(lane, identity) for identity in identities}
            return {identity: place for identity, place in found.items() if place}
        seen = self._range(lane.partition, rows.seen_row(""), select=["RowKey", "generation", "reference"])
        wanted = {rows.seen_row(identity): identity for identity in identities}
        return {wanted[row["RowKey"]]: (row["generation"], row["reference"]) for row in seen if row["RowKey"] in wanted}

    def retire(self, lane: LaneKey, generation: int) -> int:
        """See `ports.Lanes`."""
        what = f"lane {lane.route}/{lane.key}"
        count = 0
        for page in list(self._range(lane.partition, f"p~{generation:010d}~")):
            identities = [event.identity for event in rows.events_of(page)]
            keys = [page["RowKey"], *map(rows.seen_row, identities)]
            with contextlib.suppress(Conflict):  # somebody else has deleted this page just now, its rows with it
                self._table.transact(what, [Delete({"PartitionKey": lane.partition, "RowKey": key}) for key in keys])
            count += len(identities)
        return count

    def named(self, run_id: str) -> Run | None:
        """See `ports.Lanes`."""
        lane, _, generation = run_id.rpartition("-")
        digits = lane.rpartition("-")[2]
        if not generation.isdecimal() or len(generation) > 10 or len(digits) != 8:
            return None
        condition = (
            f"PartitionKey ge {text(digits)} and PartitionKey lt {text(digits + '~')} "
            f"and RowKey eq {text(rows.run_row(int(generation)))}"
        )
        found = self._table.query(f"run {run_id}", condition)
        return next((run for entity in found if (run := rows.run_of(entity)).id == run_id), None)

    def all_lanes(self) -> Iterator[Lane]:
        """See `ports.Lanes`."""
        return map(rows.lane_of, self._table.query("the lanes", f"RowKey eq {text(rows.LANE)}"))

    def all_runs(self) -> Iterator[Run]:
        """See `ports.Lanes`."""
        low, high = map(text, rows.between("r~"))
        return map(rows.run_of, self._table.query("the runs", f"RowKey ge {low} and RowKey lt {high}"))

    def _get(self, lane: LaneKey, row: str) -> tuple[rows.Entity, str] | None:
        return self._table.get(f"lane {lane.route}/{lane.key}", lane.partition, row)

    def _range(self, partition: str, prefix: str, *, select: Sequence[str] = ()) -> Iterator[rows.Entity]:
        return self._between(partition, *rows.between(prefix), select=select)

    def _between(self, partition: str, low: str, high: str, *, select: Sequence[str] = ()) -> Iterator[rows.Entity]:
        condition = f"PartitionKey eq {text(partition)} and RowKey ge {text(low)} and RowKey lt {text(high)}"
        return self._table.query(f"rows from {low}", condition, select)


def _receipt(event: Absorption) -> tuple[dt.datetime, str]:
    return event.received, event.reference
