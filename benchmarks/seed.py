"""A store that has lived: its journal, dedupe rows and lanes are copies of what the running app has written itself.

One event that matches and one that does not are delivered; what the store holds of them is then multiplied in bulk,
with ids, tables and partitions put in.  So this module knows names of rows, and nothing of what is in them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.blob import ContainerClient

from benchmarks.ground import Ground
from benchmarks.load import Event, commits
from localcloud.cloud import STORE_ACCOUNT
from shared.adapters.blob_rest import RestContainer
from shared.adapters.journal_blob import BlobJournal
from shared.adapters.storage_rest import open_service
from shared.adapters.table_rest import Insert, Refusal, RestTable
from shared.event_loop import EventLoop
from shared.events import Event as Parsed
from shared.events import parse
from shared.lanes import LaneKey
from shared.settings import Storage

_AT_ONCE, _A_BLOCK = 48, 2000
_FILE = f"journal/{dt.datetime.now(dt.UTC) - dt.timedelta(days=1):%Y/%m/%d/%H}/"
Row = Mapping[str, Any]


class Yesterday:
    """A clock that stands in the past, so that the journal's files are closed ones."""

    def now(self) -> dt.datetime:
        """See `ports.Clock`."""
        return dt.datetime.now(dt.UTC) - dt.timedelta(days=1)


class Seed:
    """Multiplies what a store holds of two template events."""

    def __init__(self, ground: Ground, matching: Event, other: Event) -> None:
        self._matching, self._other = matching, other
        storage = Storage(STORE_ACCOUNT, ground.connection)
        container = ContainerClient.from_connection_string(ground.connection, "sluice")
        self._services = [open_service(storage, name, lambda: None) for name in ("blob", "table")]
        self._blobs = RestContainer(self._services[0], "sluice")
        self._loop = EventLoop()
        self._journal = BlobJournal(container, self._blobs, self._loop, Yesterday())
        self._lanes = RestTable(self._services[1], "sluicelanes")
        self._rows = TableServiceClient.from_connection_string(ground.connection).get_table_client("sluicelanes")

    def grow(self, events: int, lanes: int) -> list[str]:
        """Journal so many events, and give so many lanes one event each; ids of some that are in a lane."""
        told = {str(record.get("id")): record for _, record in self._journal.scan()}
        matching, other = (_aged(told[str(event["id"])]) for event in (self._matching, self._other))
        return self._loop.wait(self._grow(matching, other, events, lanes))

    async def _grow(self, matching: Row, other: Row, events: int, lanes: int) -> list[str]:
        made = commits(lanes, lanes, name=f"g{uuid.uuid4().hex[:6]}-")
        await self._fill(other, events - lanes)
        references = await self._write(self._copies(matching, made))
        await self._open_lanes(made, references)
        for service in self._services:
            await service.close()
        return [str(event["id"]) for event in made[:: max(1, lanes // 10)]]

    async def _fill(self, record: Row, count: int) -> None:
        """Events that match nothing, a file of their own: they differ from the template in their id alone."""
        text, template = json.dumps(record), str(self._other["id"])
        name, at = f"{_FILE}{uuid.uuid4().hex[:12]}-000001", 0
        await self._blobs.create(name)
        while count > 0:
            ids = (str(uuid.uuid4()) for _ in range(min(count, _A_BLOCK)))
            block = "".join(text.replace(template, one) + "\n" for one in ids).encode()
            await self._blobs.append(name, block, at)
            at, count = at + len(block), count - _A_BLOCK

    def _copies(self, record: Row, made: list[Event]) -> Iterator[Row]:
        text = json.dumps(record)
        for event in made:
            yield _swapped(text, self._swaps(event))

    def _swaps(self, event: Event) -> dict[str, str]:
        """What differs between the template and another event like it."""
        return dict(zip(_names(self._matching), _names(event), strict=True))

    async def _write(self, records: Iterator[Row]) -> list[str]:
        references: list[str] = []
        block: list[Row] = []
        for record in records:
            block.append(record)
            if len(block) == _A_BLOCK:
                references += await self._journal.append(block)
                block = []
        return references + (await self._journal.append(block) if block else [])

    async def _open_lanes(self, made: list[Event], references: list[str]) -> None:
        template = _lane(self._matching)
        rows = [dict(row) for row in self._rows.query_entities(f"PartitionKey eq '{template.partition}'")]
        text = json.dumps(rows)
        known = next(str(row["reference"]) for row in rows if row["RowKey"].startswith("d~"))
        waiting = iter(zip(made, references, strict=True))

        async def worker() -> None:
            for event, reference in waiting:
                swaps = self._swaps(event) | {known: reference, template.partition: _lane(event).partition}
                done = await self._lanes.transact("a seed", [Insert(row) for row in _swapped(text, swaps)])
                if isinstance(done, Refusal):
                    raise RuntimeError(f"a seed was refused: {done.status} {done.code}")

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


def _names(event: Event) -> tuple[str, ...]:
    """Identity, id and table of an event: what its record and rows are found by."""
    [parsed] = parse(json.dumps(event))
    assert isinstance(parsed, Parsed)
    subject = str(event["subject"])
    return parsed.identity, parsed.id, subject.split("/blobs/")[1], subject.split("/blobs/")[1].split("/")[0]


def _lane(event: Event) -> LaneKey:
    return LaneKey("accept", str(event["subject"]).split("/blobs/")[1].split("/")[0])


def _aged(record: Row) -> Row:
    """The record as it would be had it come a day earlier: what has just come is not indexed yet."""
    received = dt.datetime.fromisoformat(str(record["received"])) - dt.timedelta(days=1)
    return {**record, "received": received.isoformat()}


def _swapped(text: str, swaps: Mapping[str, str]) -> Any:
    for mine, its in swaps.items():
        text = text.replace(mine, its)
    return json.loads(text)
