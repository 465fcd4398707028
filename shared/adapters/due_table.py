"""The sweep's index on Azure Tables: 16 shards, rows that sort by time."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

from shared.adapters.waiting_table import WaitingTable
from shared.lanes import LaneKey
from shared.ports import Due

_SHARDS = 16
_WHAT = "the due index"


class TableDue:
    """See `ports.DueIndex`."""

    def __init__(self, table: WaitingTable) -> None:
        self._table = table

    def insert(self, due: Due) -> None:
        """See `ports.DueIndex`."""
        place = {"PartitionKey": _shard(due.lane), "RowKey": f"{_stamp(due.at)}~{uuid.uuid4().hex}"}
        facts = {"route": due.lane.route, "key": due.lane.key, "generation": due.generation or 0}
        self._table.insert(_WHAT, place | facts)  # a row that exists is its own first effect

    def overdue(self, now: dt.datetime) -> Iterator[Due]:
        """See `ports.DueIndex`."""
        for shard in range(_SHARDS):
            condition = f"PartitionKey eq '{shard:02d}' and RowKey lt '{_stamp(now)}'"
            for entity in self._table.query(_WHAT, condition):
                at = dt.datetime.strptime(str(entity["RowKey"]).split("~")[0], _FORMAT).replace(tzinfo=dt.UTC)
                lane = LaneKey(entity["route"], entity["key"])
                yield Due(at, lane, entity["generation"] or None, entity["RowKey"])

    def delete(self, due: Due) -> None:
        """See `ports.DueIndex`."""
        self._table.delete(_WHAT, _shard(due.lane), due.row)


_FORMAT = "%Y%m%dT%H%M%S%f"


def _stamp(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime(_FORMAT)


def _shard(lane: LaneKey) -> str:
    return f"{int(lane.partition[:8], 16) % _SHARDS:02d}"
