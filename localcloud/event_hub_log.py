"""The log of one partition of an event hub: segments on disk, events numbered without a gap.

An event is in the operating system's hands when `append` returns: it survives the end of this process, however that
comes, but not of the machine.  What a process was writing when it ended is cut off at the next start.
"""

from __future__ import annotations

import array
import bisect
import dataclasses
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from localcloud.amqp_messages import Message
from localcloud.amqp_types import Timestamp

SEGMENT_BYTES = 16 * 1024 * 1024
_HEAD = struct.Struct(">IIqI")
"""Bytes of the event, their checksum, when it was enqueued (ms), and how many bytes stand before the annotations."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """One event as receivers get it; delivery annotations may go between `before` and `after`."""

    sequence: int
    offset: int
    enqueued: int
    before: bytes
    after: bytes


@dataclasses.dataclass
class _Segment:
    """One file: the number of its first event, and the offset of its first byte in the partition."""

    path: Path
    first: int
    offset: int
    positions: array.array[int] = dataclasses.field(default_factory=lambda: array.array("q"))
    times: array.array[int] = dataclasses.field(default_factory=lambda: array.array("q"))
    size: int = 0

    @property
    def end(self) -> int:
        """The number of the event after its last."""
        return self.first + len(self.positions)

    def load(self) -> None:
        """Find the events in the file, and cut off what was not written whole."""
        raw = self.path.read_bytes()
        while self.size + _HEAD.size <= len(raw):
            length, checksum, enqueued, _ = _HEAD.unpack_from(raw, self.size)
            body = raw[self.size + _HEAD.size : self.size + _HEAD.size + length]
            if len(body) < length or zlib.crc32(body) != checksum:
                break
            self.positions.append(self.size)
            self.times.append(enqueued)
            self.size += _HEAD.size + length
        if self.size < len(raw):
            os.truncate(self.path, self.size)

    def read(self, sequence: int) -> Stored:
        """The event of a number."""
        position = self.positions[sequence - self.first]
        with self.path.open("rb") as file:
            file.seek(position)
            length, _, enqueued, head = _HEAD.unpack(file.read(_HEAD.size))
            body = file.read(length)
        return Stored(sequence, self.offset + position, enqueued, body[:head], body[head:])


class PartitionLog:
    """The events of one partition, from the oldest that is kept."""

    def __init__(self, folder: Path, retention_ms: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder, self._retention, self._largest = folder, retention_ms, segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = [_segment(path) for path in sorted(folder.glob("*.log"))]
        for segment in self._segments:
            segment.load()
        if not self._segments:
            self._roll(0, 0)

    @property
    def first(self) -> int:
        """The number of the oldest event that is kept."""
        return self._segments[0].first

    @property
    def next(self) -> int:
        """The number that the next event gets."""
        return self._segments[-1].end

    def last(self) -> Stored | None:
        """The newest event, None when none is kept."""
        return self.read(self.next - 1) if self.next > self.first else None

    def append(self, messages: Sequence[bytes], now_ms: int) -> int:
        """Append encoded messages, all or none; the number of the first.  DecodeError for what is no message."""
        segment = self._room(now_ms)
        first, positions, written = segment.end, [], bytearray()
        for sequence, message in enumerate([Message.read(raw) for raw in messages], first):
            position = segment.size + len(written)
            numbers = {"x-opt-sequence-number": sequence, "x-opt-offset": str(segment.offset + position)}
            before, after = message.annotated({**numbers, "x-opt-enqueued-time": Timestamp(now_ms)})
            positions.append(position)
            written += _HEAD.pack(len(before + after), zlib.crc32(before + after), now_ms, len(before)) + before + after
        with segment.path.open("ab") as file:
            file.write(written)
        segment.positions.extend(positions)
        segment.times.extend([now_ms] * len(positions))
        segment.size += len(written)
        return first

    def read(self, sequence: int) -> Stored:
        """The event of a number that is kept."""
        place = bisect.bisect_right(self._segments, sequence, key=lambda segment: segment.first) - 1
        return self._segments[place].read(sequence)

    def after_offset(self, offset: int, *, inclusive: bool) -> int:
        """The number of the first event beyond an offset, or at it."""
        find = bisect.bisect_left if inclusive else bisect.bisect_right
        for segment in reversed(self._segments):
            if offset >= segment.offset:
                return segment.first + find(segment.positions, offset - segment.offset)
        return self.first

    def after_time(self, enqueued_ms: int, *, inclusive: bool) -> int:
        """The number of the first event that was enqueued after a time, or at it."""
        find = bisect.bisect_left if inclusive else bisect.bisect_right
        for segment in self._segments:
            place = find(segment.times, enqueued_ms)
            if place < len(segment.times):
                return segment.first + place
        return self.next

    def _room(self, now_ms: int) -> _Segment:
        """The segment to write to; segments that are past their time go when a new one begins."""
        newest = self._segments[-1]
        if newest.size < self._largest:
            return newest
        self._roll(newest.end, newest.offset + newest.size)
        while len(self._segments) > 1 and self._segments[0].times[-1] < now_ms - self._retention:
            self._segments.pop(0).path.unlink()
        return self._segments[-1]

    def _roll(self, first: int, offset: int) -> None:
        path = self._folder / f"{first:020d}-{offset:020d}.log"
        path.touch()
        self._segments.append(_segment(path))


def _segment(path: Path) -> _Segment:
    first, _, offset = path.stem.partition("-")
    return _Segment(path, int(first), int(offset))


def partition_logs(folder: Path, count: int, retention_ms: int) -> Iterator[PartitionLog]:
    """The logs of all partitions of a hub, in order."""
    return (PartitionLog(folder / str(number), retention_ms) for number in range(count))
