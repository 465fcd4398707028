"""The id index is built from the journal, some records at a time, by the timer.

What was received a moment ago is left for the next time: its absorb may be under way, and its outcome open.  Each step
writes what it has found and then moves the catalog on in one go, so a step that was interrupted is done again.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

from shared import deliveries
from shared.event_index import JOURNAL, Catalog, EventIndex, chain_name, event_name
from shared.journal_lines import Line
from shared.ports import JSON, Journal, Lanes
from shared.retirement import Keeping, Retirement

_MOST_AT_ONCE = 50_000
_OPEN_FOR = dt.timedelta(hours=2)


@dataclasses.dataclass(slots=True)
class _Chunk:
    """Records that are indexed in one step, how far each file is then, and the first file that is not through."""

    files: dict[str, int]
    records: list[tuple[str, JSON]] = dataclasses.field(default_factory=list)
    first_open: str = ""

    @property
    def full(self) -> bool:
        return len(self.records) >= _MOST_AT_ONCE

    def take(self, file: str, line: Line, record: dict[str, Any] | None) -> None:
        self.files[file] = line.end
        if record and record["kind"] == "delivery":
            if record["origin"] != "sluice":
                record.pop("raw", None)
            self.records.append((line.reference, record))


class Indexing:
    """Brings the index up to the journal."""

    def __init__(
        self, journal: Journal, lanes: Lanes, index: EventIndex, retirement: Retirement, keeping: Keeping
    ) -> None:
        self._journal, self._lanes, self._index, self._retirement = journal, lanes, index, retirement
        self._keeping = keeping

    def build(self, now: dt.datetime, go_on: Callable[[], bool]) -> int:
        """Index what is new, while `go_on`; answers how many deliveries were.  Raises Conflict, Unavailable."""
        count = 0
        while go_on():
            catalog = self._index.catalog()
            chunk = self._read(catalog, now)
            if chunk.files == dict(catalog.files):
                break
            self._save(catalog, chunk, now)
            count += len(chunk.records)
        return count

    def _read(self, catalog: Catalog, now: dt.datetime) -> _Chunk:
        chunk = _Chunk(dict(catalog.files))
        for file, length in self._journal.files(catalog.day):
            at = catalog.files.get(file, 0)
            if at < length and not self._read_file(chunk, file, at, now - self._keeping.arrival):
                chunk.first_open = chunk.first_open or file
        return chunk

    def _read_file(self, chunk: _Chunk, file: str, at: int, until: dt.datetime) -> bool:
        """Whether the file was read to its end."""
        if chunk.full:
            return False
        for line in self._journal.lines(file, at):
            record = line.record
            if chunk.full or (
                record and "received" in record and dt.datetime.fromisoformat(record["received"]) > until
            ):
                return False
            chunk.take(file, line, record)
        return True

    def _save(self, catalog: Catalog, chunk: _Chunk, now: dt.datetime) -> None:
        ends = {reference: end for reference, record in chunk.records if (end := deliveries.end(record))}
        entries = [
            (event_name(record["id"]), reference) for reference, record in chunk.records if record.get("id") is not None
        ]
        entries += [(chain_name(end.correlation), reference) for reference, end in ends.items() if end.correlation]
        counts = collections.Counter(catalog.counts)
        counts.update(deliveries.outcomes(chunk.records, self._lanes))
        self._retirement.expect(ends.values(), now)
        day = min(_day(now - _OPEN_FOR), chunk.first_open[:10] or "~")
        files = {file: at for file, at in chunk.files.items() if file >= day}
        moved = dataclasses.replace(catalog, day=day, files=files, counts=dict(counts))
        self._index.save(moved, JOURNAL, entries)


def _day(at: dt.datetime) -> str:
    """The folder of a day's files; nothing is appended to those of a day that is over."""
    return at.strftime("%Y/%m/%d")
