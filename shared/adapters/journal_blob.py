"""The journal on append blobs: one a process start, rolled hourly and before it is full; NDJSON.

Appends carry the position that they expect, so an append whose answer was lost is found again by the blob's length and
never written twice.  A reference is `<file>@<offset>+<length>`.
(learn.microsoft.com/rest/api/storageservices/append-block: 50,000 blocks a blob, 4 MiB a block)
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import heapq
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated
from shared.adapters.blob_rest import RestContainer
from shared.errors import NotFound, Unavailable
from shared.event_loop import EventLoop
from shared.journal_lines import Line
from shared.ports import JSON, Clock

_MOST_BLOCKS = 45_000
_LARGEST_BLOCK = 3_500_000
_LARGEST_RAW = 1_000_000
_MOST_REMEMBERED, _LARGEST_REMEMBERED = 1_000, 4_000
_PREFIX, _PAYLOADS = "journal/", "payloads/"
_PART, _LAST_PART, _HOUR_DEPTH = 4 << 20, 256 << 10, 5
_REFERENCE = re.compile(r"(?P<file>[\w/-]+)@(?P<offset>\d+)\+(?P<length>\d+)")


class BlobJournal:
    """See `ports.Journal`.  Appends run on one event loop, one at a time.

    What was just appended is mostly read soon, by a run of this process: the newest lines are remembered.
    """

    def __init__(self, container: ContainerClient, rest: RestContainer, loop: EventLoop, clock: Clock) -> None:
        self._container, self._rest, self._loop, self._clock = container, rest, loop, clock
        self._newest: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._writer, self._files = uuid.uuid4().hex[:12], 0
        self._hour = self._file = ""
        self._blocks = self._length = 0
        self._lock = asyncio.Lock()

    async def append(self, records: Sequence[JSON]) -> list[str]:
        """See `ports.Journal`."""
        lines = [json.dumps(await self._light(record)).encode() + b"\n" for record in records]
        references: list[str] = []
        async with self._lock:
            while len(references) < len(lines):
                block: list[bytes] = []
                size = 0
                for line in lines[len(references) :]:
                    if block and size + len(line) > _LARGEST_BLOCK:
                        break
                    block.append(line)
                    size += len(line)
                file, offset = await self._append_block(b"".join(block))
                for line in block:
                    references.append(f"{file}@{offset}+{len(line)}")
                    offset += len(line)
        self._remember(references, lines)
        return references

    def read(self, reference: str) -> JSON:
        """See `ports.Journal`."""
        found = _REFERENCE.fullmatch(reference)
        if not found:
            raise NotFound(f"{reference!r} is not a journal reference: <file>@<offset>+<length>")
        line = self._newest.get(reference)
        if line is None:
            part = self._rest.read(_PREFIX + found["file"], int(found["offset"]), int(found["length"]))
            line = self._loop.wait(part)
        record = Line(reference, line, 0).record if line else None
        if record is None:
            raise NotFound(f"the journal has no record {reference}")
        return self._whole(record)

    def scan(self) -> Iterator[tuple[str, JSON]]:
        """See `ports.Journal`."""
        for hour in self._hours(_PREFIX):
            with translated("the journal"):
                files = [(blob.name, blob.size) for blob in self._container.list_blobs(name_starts_with=hour)]
            written = [self._backwards(name, size) for name, size in files]
            yield from heapq.merge(*written, key=lambda found: str(found[1].get("received", "")), reverse=True)

    def files(self, day: str) -> list[tuple[str, int]]:
        """See `ports.Journal`."""
        with translated("the journal"):
            blobs = self._container.list_blobs(name_starts_with=_PREFIX + _shared_start(day, self._clock.now()))
            named = [(blob.name.removeprefix(_PREFIX), int(blob.size)) for blob in blobs]
        return [(name, size) for name, size in named if name >= day]

    def lines(self, file: str, at: int) -> Iterator[Line]:
        """See `ports.Journal`."""
        rest = b""
        while part := self._part(_PREFIX + file, at + len(rest), _PART):
            *whole, rest = (rest + part).split(b"\n")
            for text in whole:
                end = at + len(text) + 1
                yield Line(f"{file}@{at}+{len(text) + 1}", text, end)
                at = end

    def _remember(self, references: Sequence[str], lines: Sequence[bytes]) -> None:
        pairs = zip(references, lines, strict=True)
        self._newest.update((reference, line) for reference, line in pairs if len(line) <= _LARGEST_REMEMBERED)
        while len(self._newest) > _MOST_REMEMBERED:
            self._newest.popitem(last=False)

    async def _light(self, record: JSON) -> JSON:
        """A raw payload over 1 MB gets a blob of its own."""
        raw = str(record.get("raw", ""))
        if len(raw) <= _LARGEST_RAW:
            return record
        name = f"{_PAYLOADS}{uuid.uuid4().hex}"
        await self._rest.write(name, raw.encode(errors="surrogatepass"))
        return {**record, "raw": "", "payload": name}

    def _whole(self, record: dict[str, Any]) -> JSON:
        if "payload" in record:
            payload = self._loop.wait(self._rest.read(str(record.pop("payload")))) or b""
            record["raw"] = payload.decode(errors="surrogatepass")
        return record

    def _hours(self, prefix: str) -> Iterator[str]:
        """The folders of hours, the newest first."""
        if prefix.count("/") == _HOUR_DEPTH:
            yield prefix
            return
        with translated("the journal"):
            folders = [found.name for found in self._container.walk_blobs(name_starts_with=prefix, delimiter="/")]
        for folder in sorted(folders, reverse=True):
            yield from self._hours(folder)

    def _backwards(self, name: str, size: int) -> Iterator[tuple[str, JSON]]:
        """The references and records of a file, the last first."""
        file, rest, end = name.removeprefix(_PREFIX), b"", size
        while end:
            at = max(0, end - _LAST_PART)
            first, *whole = (self._part(name, at, end - at) + rest).splitlines(keepends=True)
            if at == 0:
                whole, first = [first, *whole], b""
            place = at + len(first) + sum(map(len, whole))
            for text in reversed(whole):
                line = Line(f"{file}@{place - len(text)}+{len(text)}", text, place)
                place -= len(text)
                if record := line.record:
                    yield line.reference, self._whole(record)
            rest, end = first, at

    def _part(self, name: str, at: int, length: int) -> bytes:
        """Part of a file, empty where it ends: what is appended meanwhile does no harm."""
        return self._loop.wait(self._rest.read(name, at, length)) or b""

    async def _append_block(self, block: bytes) -> tuple[str, int]:
        """Append at the expected position; answers the file and the position."""
        hour = self._clock.now().strftime("%Y/%m/%d/%H")
        if self._hour != hour or self._blocks >= _MOST_BLOCKS:
            await self._roll(hour)
        name, at = _PREFIX + self._file, self._length
        try:
            await self._rest.append(name, block, at)
        except Unavailable:
            self._hour = ""  # unless it landed, what is at the end of this file is not known: begin another
            if await self._rest.size(name) != at + len(block):
                raise
            self._hour = hour
        self._blocks += 1
        self._length = at + len(block)
        return self._file, at

    async def _roll(self, hour: str) -> None:
        self._files += 1
        file = f"{hour}/{self._writer}-{self._files:06d}"
        await self._rest.create(_PREFIX + file)
        self._hour, self._file, self._blocks, self._length = hour, file, 0, 0


def _shared_start(day: str, now: dt.datetime) -> str:
    """What the names of all files since a day begin with, as far as it is known."""
    today = now.strftime("%Y/%m/%d")
    while not today.startswith(day):
        day = day[:-1]
    return day
