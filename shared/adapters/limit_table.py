"""The places of routes on Azure Tables: one row a route."""

from __future__ import annotations

import datetime as dt
import json

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, UpdateMode

from shared.adapters.azure_errors import translated
from shared.adapters.lane_rows import Entity, cut, joined
from shared.errors import Conflict
from shared.limits import Limit

_ROW = "limit"


class TableLimits:
    """See `ports.Limits`; the version is the row's ETag."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    def limit(self, route: str) -> tuple[Limit, str]:
        """See `ports.Limits`."""
        with translated(f"the places of route {route}"):
            try:
                entity = self._table.get_entity(route, _ROW)
            except ResourceNotFoundError:
                return Limit(), ""
            document = json.loads(joined(entity))
            reserved = tuple((key, dt.datetime.fromisoformat(until)) for key, until in document["reserved"])
            holders = tuple((key, generation) for key, generation in document["holders"])
            return Limit(holders, reserved, tuple(document["waiters"])), str(entity.metadata["etag"])

    def save_limit(self, route: str, limit: Limit, version: str) -> None:
        """See `ports.Limits`."""
        reserved = [[key, until.isoformat()] for key, until in limit.reserved]
        document = {"holders": limit.holders, "reserved": reserved, "waiters": limit.waiters}
        entity = {"PartitionKey": route, "RowKey": _ROW} | cut(json.dumps(document))
        with translated(f"the places of route {route}"):
            if not version:
                self._create(route, entity)
                return
            self._table.update_entity(
                entity, mode=UpdateMode.REPLACE, etag=version, match_condition=MatchConditions.IfNotModified
            )

    def _create(self, route: str, entity: Entity) -> None:
        try:
            self._table.create_entity(entity)
        except ResourceExistsError as error:
            raise Conflict(f"the places of route {route} have changed since they were read") from error
