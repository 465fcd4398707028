"""The id index: what an id, a chain or an old event of a lane stands for, however long the journal is.

A catalog names the segments that count, and how far the journal has been indexed; it is replaced by its version, so of
two instances that build at once one loses and nothing is counted twice.  A segment is written before the catalog
names it: whoever dies in between leaves a blob that nobody names, which is deleted when it is old.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence

from shared import segments
from shared.errors import Conflict, NotFound, Unavailable
from shared.lanes import LaneKey
from shared.ports import IndexBlobs
from shared.segments import Segment

JOURNAL, RETIRED = "journal", "retired"
"""The two families of segments: references by event id and by chain, and dedupe rows that were retired."""

_CATALOG, _SEGMENTS = "catalog.json", "segments/"
_UNNAMED_FOR = dt.timedelta(hours=1)
_TRIES = 5

Entries = Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Catalog:
    """What is in the index.

    `day` is the first day whose files still count as open, `files` holds how far each file of that and later days is
    indexed, `counts` the deliveries so far by outcome; `version` is the blob's, None before the first.
    """

    version: str | None = None
    day: str = ""
    files: Mapping[str, int] = dataclasses.field(default_factory=dict)
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    segments: Mapping[str, Sequence[Segment]] = dataclasses.field(default_factory=dict)

    def of(self, family: str) -> Sequence[Segment]:
        """The segments of a family."""
        return self.segments.get(family, ())

    def with_segments(self, family: str, held: Sequence[Segment]) -> Catalog:
        """The catalog with other segments in a family."""
        return dataclasses.replace(self, segments={**self.segments, family: tuple(held)})


def event_name(event_id: str) -> str:
    """The name under which the deliveries of an event are kept."""
    return f"event|{event_id}"


def chain_name(correlation: str) -> str:
    """The name under which the ends of the runs of a chain are kept."""
    return f"chain|{correlation}"


def retired_name(lane: LaneKey, identity: str) -> str:
    """The name under which a retired dedupe row is kept."""
    return f"{lane.partition}|{identity}"


class EventIndex:
    """Reads and extends the index."""

    def __init__(self, blobs: IndexBlobs) -> None:
        self._blobs = blobs

    def catalog(self) -> Catalog:
        """What the index holds now."""
        found = self._blobs.read(_CATALOG)
        return _read(*found) if found else Catalog()

    def find(self, catalog: Catalog, family: str, name: str) -> list[str]:
        """What a name stands for, over all segments of a family; those that were merged meanwhile are looked for."""
        for _ in range(_TRIES):
            try:
                found = [each for segment in catalog.of(family) for each in self._find(segment, name)]
            except NotFound:
                catalog = self.catalog()
                continue
            return list(dict.fromkeys(found))
        raise Unavailable(f"the index's segments changed {_TRIES} times while it was asked")

    def retired(self, catalog: Catalog, lane: LaneKey, identity: str) -> tuple[int, str] | None:
        """Generation and reference under which an event was absorbed whose dedupe row was retired."""
        found = self.find(catalog, RETIRED, retired_name(lane, identity)) if catalog.of(RETIRED) else []
        if not found:
            return None
        generation, _, reference = found[0].partition(" ")
        return int(generation), reference

    def save(self, catalog: Catalog, family: str, entries: Iterable[tuple[str, str]]) -> Catalog:
        """Add entries to a family, and put this catalog in force.  Raises Conflict: somebody else did meanwhile."""
        content = segments.body(entries)
        held = [*catalog.of(family), self._written(content)] if content else catalog.of(family)
        return self._replace(catalog.with_segments(family, held))

    def publish(self, family: str, entries: Entries) -> None:
        """Add entries to a family; adding them twice is adding them once.  Raises Conflict, Unavailable."""
        segment = self._written(segments.body(entries))
        for _ in range(_TRIES):
            catalog = self.catalog()
            if segment in catalog.of(family):  # it landed, and only the answer was lost
                return
            try:
                self._replace(catalog.with_segments(family, [*catalog.of(family), segment]))
                return
            except Conflict:
                continue
        raise Conflict(f"the index's catalog changed {_TRIES} times while it was added to")

    def merge(self) -> int:
        """Merge segments where there are many of one size; answers how many were.  Raises Conflict."""
        count = 0
        for family in (JOURNAL, RETIRED):
            catalog = self.catalog()
            while chosen := segments.to_merge(catalog.of(family)):
                whole = [self._part(segment, 0, segment.size) for segment in chosen]
                kept = [segment for segment in catalog.of(family) if segment not in chosen]
                catalog = self._replace(catalog.with_segments(family, [*kept, self._written(segments.merged(whole))]))
                count += len(chosen)
        return count

    def tidy(self, now: dt.datetime) -> int:
        """Delete segments that the catalog does not name and that nobody can be about to name."""
        old = [name for name, written in self._blobs.names(_SEGMENTS) if written < now - _UNNAMED_FOR]
        named = {segment.name for held in self.catalog().segments.values() for segment in held}
        unnamed = [name for name in old if name not in named]
        for name in unnamed:
            self._blobs.delete(name)
        return len(unnamed)

    def _find(self, segment: Segment, name: str) -> list[str]:
        return segments.find(segment, name, lambda at, length: self._part(segment, at, length))

    def _part(self, segment: Segment, at: int, length: int) -> bytes:
        return self._blobs.part(segment.name, at, length)

    def _written(self, content: bytes) -> Segment:
        name = f"{_SEGMENTS}{uuid.uuid4().hex}"
        self._blobs.write(name, content)
        return segments.described(name, content)

    def _replace(self, catalog: Catalog) -> Catalog:
        document = dataclasses.asdict(catalog)
        del document["version"]
        version = self._blobs.replace(_CATALOG, json.dumps(document).encode(), catalog.version)
        return dataclasses.replace(catalog, version=version)


def _read(content: bytes, version: str) -> Catalog:
    document = json.loads(content)
    held = {family: tuple(Segment(**each) for each in many) for family, many in document["segments"].items()}
    return Catalog(version, document["day"], document["files"], document["counts"], held)
