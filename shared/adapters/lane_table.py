"""The lane store on Azure Tables, as the control plane sees it.

Everything of a lane is in one partition, so that a hand-over and an end are each one transaction.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, TableTransactionError, UpdateMode

from shared.adapters import lane_rows as rows
from shared.adapters.azure_errors import translated
from shared.errors import Conflict
from shared.lanes import Collected, Lane, LaneKey
from shared.ports import Absorption
from shared.runs import Run

_POINT_READS = 50


class TableLanes:
    """See `ports.Lanes`; `version` is the row's ETag."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._store_id = ""

    @property
    def store_id(self) -> str:
        """See `ports.Lanes`."""
        if not self._store_id:
            with translated("the store's id"):
                with contextlib.suppress(ResourceExistsError):
                    self._table.create_entity({"PartitionKey": "store", "RowKey": "id", "id": uuid.uuid4().hex})
                self._store_id = str(self._table.get_entity("store", "id")["id"])
        return self._store_id

    def lane(self, lane: LaneKey) -> tuple[Lane, str] | None:
        """See `ports.Lanes`."""
        found = self._get(lane, rows.LANE)
        return (rows.lane_of(found[0]), found[1]) if found else None

    def touched(self, lane: LaneKey, generation: int) -> dt.datetime | None:
        """See `ports.Lanes`."""
        fence = self._get(lane, rows.open_row(generation))
        return rows.time_of(fence[0]["last_at"]) if fence else None

    def collected(self, lane: LaneKey, generation: int) -> Collected | None:
        """See `ports.Lanes`."""
        last_at = self.touched(lane, generation)
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
        pages = self._range(lane.partition, f"p~{generation:010d}~")
        found = [event for page in pages for event in rows.events_of(page)]
        return sorted(found, key=lambda event: (event.received, event.reference))

    def save_lane(self, lane: Lane, version: str) -> str:
        """See `ports.Lanes`."""
        return self._replace(rows.lane_entity(lane), version, f"lane {lane.route}/{lane.key}")

    def hand_over(self, lane: Lane, version: str, run: Run) -> str:
        """See `ports.Lanes`."""
        key = lane.name.partition
        fence = {"PartitionKey": key, "RowKey": rows.open_row(run.generation)}
        answers = self._transact(
            f"lane {lane.route}/{lane.key}",
            [
                ("update", rows.lane_entity(lane), _at(version)),
                ("delete", fence),
                ("create", {"PartitionKey": key, "RowKey": rows.open_row(lane.generation), "last_at": ""}),
                ("create", rows.run_entity(run)),
            ],
        )
        return str(answers[-1]["etag"])

    def run(self, lane: LaneKey, generation: int) -> tuple[Run, str] | None:
        """See `ports.Lanes`."""
        found = self._get(lane, rows.run_row(generation))
        return (rows.run_of(found[0]), found[1]) if found else None

    def save_run(self, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        return self._replace(rows.run_entity(run), version, f"run {run.id}")

    def move(self, lane: Lane, lane_version: str, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        answers = self._transact(
            f"run {run.id}",
            [
                ("update", rows.run_entity(run), _at(version)),
                ("update", rows.lane_entity(lane), _at(lane_version)),
            ],
        )
        return str(answers[0]["etag"])

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
                self._transact(what, [("delete", {"PartitionKey": lane.partition, "RowKey": key}) for key in keys])
            count += len(identities)
        return count

    def named(self, run_id: str) -> Run | None:
        """See `ports.Lanes`."""
        lane, _, generation = run_id.rpartition("-")
        digits = lane.rpartition("-")[2]
        if not generation.isdecimal() or len(generation) > 10 or len(digits) != 8:
            return None
        with translated(f"run {run_id}"):
            found = self._table.query_entities(
                "PartitionKey ge @low and PartitionKey lt @high and RowKey eq @row",
                parameters={"low": digits, "high": f"{digits}~", "row": rows.run_row(int(generation))},
            )
            return next((run for entity in found if (run := rows.run_of(entity)).id == run_id), None)

    def all_lanes(self) -> Iterator[Lane]:
        """See `ports.Lanes`."""
        with translated("the lanes"):
            yield from (rows.lane_of(entity) for entity in self._table.query_entities("RowKey eq 's'"))

    def all_runs(self) -> Iterator[Run]:
        """See `ports.Lanes`."""
        low, high = rows.between("r~")
        with translated("the runs"):
            found = self._table.query_entities(
                "RowKey ge @low and RowKey lt @high", parameters={"low": low, "high": high}
            )
            yield from (rows.run_of(entity) for entity in found)

    def _get(self, lane: LaneKey, row: str) -> tuple[rows.Entity, str] | None:
        with translated(f"lane {lane.route}/{lane.key}"):
            try:
                entity = self._table.get_entity(lane.partition, row)
            except ResourceNotFoundError:
                return None
            return dict(entity), str(entity.metadata["etag"])

    def _range(self, partition: str, prefix: str, *, select: list[str] | None = None) -> Iterator[rows.Entity]:
        return self._between(partition, *rows.between(prefix), select=select)

    def _between(
        self, partition: str, low: str, high: str, *, select: list[str] | None = None
    ) -> Iterator[rows.Entity]:
        with translated(f"rows from {low}"):
            found = self._table.query_entities(
                "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high",
                parameters={"partition": partition, "low": low, "high": high},
                select=select,
            )
            for entity in found:
                yield dict(entity)

    def _replace(self, entity: rows.Entity, version: str, what: str) -> str:
        with translated(what):
            answer = self._table.update_entity(
                entity, mode=UpdateMode.REPLACE, etag=version, match_condition=MatchConditions.IfNotModified
            )
            return str(answer["etag"])

    def _transact(self, what: str, operations: list[tuple[Any, ...]]) -> list[Mapping[str, Any]]:
        with translated(what):
            try:
                return list(self._table.submit_transaction(operations))
            except TableTransactionError as error:
                if error.status_code in (404, 409, 412):
                    raise Conflict(f"{what} has changed since it was read") from error
                raise


def _at(version: str) -> dict[str, Any]:
    return {"mode": UpdateMode.REPLACE, "etag": version, "match_condition": MatchConditions.IfNotModified}
