"""The scoring log's minutes on Azure Tables: a partition a deployment, a row a minute and partition of the hub."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, UpdateMode

from shared.adapters.azure_errors import translated
from shared.errors import Conflict, Unavailable
from shared.scoring_log import Call, Minute, Share, by_minute, total
from shared.tallies import Bins, Tally

_TRIES = 10
_FORMAT = "%Y%m%dT%H%M"
_NUMBERS = tuple(
    field.name for field in dataclasses.fields(Tally) if field.name not in {"latency_bins", "prediction_bins"}
)


class TableScoringLog:
    """See `ports.ScoringLog`."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    def fold(self, partition: str, calls: Sequence[tuple[int, Call]]) -> None:
        """See `ports.ScoringLog`."""
        for (endpoint, deployment, start), own in by_minute(calls).items():
            self._fold(Share(Minute(endpoint, deployment, start)), f"{start:{_FORMAT}}~{partition}", own)

    def minutes(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> list[Minute]:
        """See `ports.ScoringLog`."""
        low, high = (f"{_ceiling(at):{_FORMAT}}" for at in (since, until))
        found: dict[dt.datetime, list[Minute]] = defaultdict(list)
        with translated(f"the minutes of {endpoint}/{deployment}"):
            rows = self._table.query_entities(
                "PartitionKey eq @key and RowKey ge @low and RowKey lt @high",
                parameters={"key": _key(endpoint, deployment), "low": low, "high": high},
            )
            for row in rows:
                minute = _read(row).minute
                found[minute.start].append(minute)
        return [whole for start in sorted(found) if (whole := total(found[start]))]

    def _fold(self, empty: Share, row: str, calls: Sequence[tuple[int, Call]]) -> None:
        minute = empty.minute
        what = f"minute {row} of {minute.endpoint}/{minute.deployment}"
        place = {"PartitionKey": _key(minute.endpoint, minute.deployment), "RowKey": row}
        for _ in range(_TRIES):
            try:
                with translated(what):
                    if self._write(empty, place, calls):
                        return
            except Conflict:
                continue
        raise Unavailable(f"{what} changed {_TRIES} times while it was written")

    def _write(self, empty: Share, place: Mapping[str, str], calls: Sequence[tuple[int, Call]]) -> bool:
        """One try; whether the row now holds the calls."""
        try:
            found = self._table.get_entity(place["PartitionKey"], place["RowKey"])
        except ResourceNotFoundError:
            try:
                self._table.create_entity({**place, **_row(empty.taking(calls))})
            except ResourceExistsError:
                return False
            return True
        share = _read(found)
        more = share.taking(calls)
        if more != share:
            self._table.update_entity(
                {**place, **_row(more)},
                mode=UpdateMode.REPLACE,
                etag=found.metadata["etag"],
                match_condition=MatchConditions.IfNotModified,
            )
        return True


def _key(endpoint: str, deployment: str) -> str:
    return f"{endpoint}~{deployment}"


def _row(share: Share) -> dict[str, Any]:
    minute = share.minute
    facts = {"endpoint": minute.endpoint, "deployment": minute.deployment, "start": minute.start.isoformat()}
    bins = {"latency_bins": _text(minute.latency_bins), "prediction_bins": _text(minute.prediction_bins)}
    return facts | {name: getattr(minute, name) for name in _NUMBERS} | bins | {"upto": str(share.upto)}


def _read(row: Mapping[str, Any]) -> Share:
    minute = Minute(
        row["endpoint"],
        row["deployment"],
        dt.datetime.fromisoformat(row["start"]),
        **{name: row[name] for name in _NUMBERS if name in row},
        latency_bins=_bins(row["latency_bins"]),
        prediction_bins=_bins(row["prediction_bins"]),
    )
    return Share(minute, int(row["upto"]))


def _text(bins: Bins) -> str:
    return json.dumps({str(place): bins[place] for place in sorted(bins)})


def _bins(text: str) -> Bins:
    return {int(place): count for place, count in json.loads(text).items()}


def _ceiling(at: dt.datetime) -> dt.datetime:
    """The first whole minute that is not before `at`."""
    whole = at.astimezone(dt.UTC).replace(second=0, microsecond=0)
    return whole if whole == at else whole + dt.timedelta(minutes=1)
