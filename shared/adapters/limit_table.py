"""The places of routes on Azure Tables: one row a route."""

from __future__ import annotations

import datetime as dt
import json

from shared.adapters.lane_rows import cut, joined
from shared.adapters.waiting_table import WaitingTable
from shared.errors import Conflict
from shared.limits import Limit

_ROW = "limit"


class TableLimits:
    """See `ports.Limits`; the version is the row's ETag."""

    def __init__(self, table: WaitingTable) -> None:
        self._table = table

    def limit(self, route: str) -> tuple[Limit, str]:
        """See `ports.Limits`."""
        found = self._table.get(f"the places of route {route}", route, _ROW)
        if found is None:
            return Limit(), ""
        document = json.loads(joined(found[0]))
        reserved = tuple((key, dt.datetime.fromisoformat(until)) for key, until in document["reserved"])
        holders = tuple((key, generation) for key, generation in document["holders"])
        return Limit(holders, reserved, tuple(document["waiters"])), found[1]

    def save_limit(self, route: str, limit: Limit, version: str) -> None:
        """See `ports.Limits`."""
        what = f"the places of route {route}"
        reserved = [[key, until.isoformat()] for key, until in limit.reserved]
        document = {"holders": limit.holders, "reserved": reserved, "waiters": limit.waiters}
        entity = {"PartitionKey": route, "RowKey": _ROW} | cut(json.dumps(document))
        if version:
            self._table.replace(what, entity, version)
        elif not self._table.insert(what, entity):
            raise Conflict(f"{what} have changed since they were read")
