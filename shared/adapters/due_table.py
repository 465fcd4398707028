"""The sweep's index on Azure Tables: 16 shards, rows that sort by time."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Iterator

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient

from shared.adapters.azure_errors import translated
from shared.lanes import LaneKey
from shared.ports import Due

_SHARDS = 16
_REPEATED = frozenset({"POST"})
"""The SDK gives up an insert whose kept connection was closed while it went out; ours has a name of its own."""


class TableDue:
    """See `ports.DueIndex`."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    def insert(self, due: Due) -> None:
        """See `ports.DueIndex`."""
        row = f"{_stamp(due.at)}~{uuid.uuid4().hex}"
        place = {"PartitionKey": _shard(due.lane), "RowKey": row}
        facts = {"route": due.lane.route, "key": due.lane.key, "generation": due.generation or 0}
        with translated("the due index"), contextlib.suppress(ResourceExistsError):  # it landed, its answer was lost
            self._table.create_entity(place | facts, retry_on_methods=_REPEATED)

    def overdue(self, now: dt.datetime) -> Iterator[Due]:
        """See `ports.DueIndex`."""
        with translated("the due index"):
            for shard in range(_SHARDS):
                found = self._table.query_entities(
                    "PartitionKey eq @shard and RowKey lt @now",
                    parameters={"shard": f"{shard:02d}", "now": _stamp(now)},
                )
                for entity in found:
                    at = dt.datetime.strptime(str(entity["RowKey"]).split("~")[0], _FORMAT).replace(tzinfo=dt.UTC)
                    lane = LaneKey(entity["route"], entity["key"])
                    yield Due(at, lane, entity["generation"] or None, entity["RowKey"])

    def delete(self, due: Due) -> None:
        """See `ports.DueIndex`."""
        with translated("the due index"):
            try:
                self._table.delete_entity(_shard(due.lane), due.row)
            except ResourceNotFoundError:
                return


_FORMAT = "%Y%m%dT%H%M%S%f"


def _stamp(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime(_FORMAT)


def _shard(lane: LaneKey) -> str:
    return f"{int(lane.partition[:8], 16) % _SHARDS:02d}"
