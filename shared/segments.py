"""How the id index lies in blobs: sorted text, found by where a hash must be.  Pure.

A segment is a blob of lines `<16 hexadecimal digits of the name's hash> <what it stands for>`, sorted, each once, never
changed.  Hashes are spread evenly, so a look-up reads the few kilobytes of a segment where its lines must be, and more
only when they prove wrong.  Segments of one size are merged when there are many, so a look-up reads few of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence

FAN = 8
"""So many segments of one class of size are merged into one."""
LARGEST = 1_000_000
"""Segments are merged as long as they have no more lines together: what a small instance can hold in memory."""

_SMALL, _WHOLE, _DIGITS = 16_000, 65_536, 16
_SPREAD = 2.0  # the position of a hash among n varies by sqrt(n) / 2 at most (binomial); four times that


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """One segment: the name of its blob, how many lines it has, and their bytes."""

    name: str
    lines: int
    size: int


def key(name: str) -> str:
    """The digits under which a name is kept."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def body(entries: Iterable[tuple[str, str]]) -> bytes:
    """A segment's bytes over (name, what it stands for)."""
    return _joined({f"{key(name)} {value}".encode() for name, value in entries})


def merged(bodies: Sequence[bytes]) -> bytes:
    """The bytes of several segments as one."""
    return _joined({line for each in bodies for line in each.splitlines()})


def described(name: str, content: bytes) -> Segment:
    """A segment of this name with these bytes."""
    return Segment(name, content.count(b"\n"), len(content))


def to_merge(segments: Sequence[Segment]) -> list[Segment]:
    """The segments that should become one now; none when there are few of each size."""
    classes: dict[int, list[Segment]] = {}
    for segment in segments:
        classes.setdefault(_class(segment), []).append(segment)
    for size in sorted(classes):
        if len(classes[size]) >= FAN:
            chosen = _fitting(sorted(classes[size], key=lambda segment: segment.lines)[:FAN])
            return chosen if len(chosen) > 1 else []
    return []


def _fitting(segments: Sequence[Segment]) -> list[Segment]:
    """The first of these that are together no larger than a segment may be."""
    sums = itertools.accumulate(segment.lines for segment in segments)
    return [segment for segment, lines in zip(segments, sums, strict=True) if lines <= LARGEST]


def find(segment: Segment, name: str, part: Callable[[int, int], bytes]) -> list[str]:
    """What a name stands for in a segment; `part` reads so many bytes from a position."""
    wanted = key(name).encode()
    average = segment.size / max(1, segment.lines)
    centre = int(int(wanted, 16) / 16**_DIGITS * segment.size)
    reach = int(_SPREAD * segment.lines**0.5 * average + 4 * average)
    if segment.size <= _WHOLE:
        reach = segment.size
    while True:
        low, high = max(0, centre - reach), min(segment.size, centre + reach)
        lines, begins, ends = _whole_lines(part(low, high - low), first=low == 0, last=high == segment.size)
        before = begins or bool(lines and lines[0][:_DIGITS] < wanted)
        after = ends or bool(lines and lines[-1][:_DIGITS] > wanted)
        if before and after:
            return [line[_DIGITS + 1 :].decode() for line in lines if line[:_DIGITS] == wanted]
        reach *= 4


def _whole_lines(content: bytes, *, first: bool, last: bool) -> tuple[list[bytes], bool, bool]:
    """The whole lines of a part, and whether it begins and ends where the segment does."""
    lines = content.split(b"\n")
    return [line for line in lines[0 if first else 1 : -1] if line], first, last


def _class(segment: Segment) -> int:
    size, most = 0, _SMALL
    while segment.lines >= most:
        size, most = size + 1, most * FAN
    return size


def _joined(lines: set[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in sorted(lines))
