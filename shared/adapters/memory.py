"""In-memory twins of the store's ports: they keep the same promises, checked by the same contract tests.

They are what tests and simulation run on; nothing survives the process.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from shared.errors import Closed, Conflict, NotFound
from shared.journal_lines import Line
from shared.lanes import Collected, Lane, LaneKey
from shared.limits import Limit
from shared.ports import JSON, Absorbed, Absorption, Clock, Due, Ring
from shared.runs import Run


class SystemClock:
    """The machine's own time."""

    def now(self) -> dt.datetime:
        """The current time, aware, in UTC."""
        return dt.datetime.now(dt.UTC)


class MemoryJournal:
    """Records in a list; the reference is the position."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    async def append(self, records: Sequence[JSON]) -> list[str]:
        """See `ports.Journal`."""
        first = len(self._lines)
        self._lines += [json.dumps(record) for record in records]
        return [f"memory@{first + number}" for number in range(len(records))]

    def read(self, reference: str) -> JSON:
        """See `ports.Journal`."""
        name, _, position = reference.partition("@")
        if name != "memory" or not position.isdecimal() or int(position) >= len(self._lines):
            raise NotFound(f"the journal has no record {reference}")
        record: JSON = json.loads(self._lines[int(position)])
        return record

    def scan(self) -> Iterator[tuple[str, JSON]]:
        """See `ports.Journal`."""
        for line in reversed(list(self.lines("memory", 0))):
            if record := line.record:
                yield line.reference, record

    def files(self, day: str) -> list[tuple[str, int]]:  # noqa: ARG002  # it is one file, of no day
        """See `ports.Journal`."""
        return [("memory", len(self._lines))]

    def lines(self, file: str, at: int) -> Iterator[Line]:
        """See `ports.Journal`."""
        for number in range(at, len(self._lines)):
            yield Line(f"{file}@{number}", self._lines[number].encode(), number + 1)


@dataclasses.dataclass
class _Rows:
    """One partition of the lane store."""

    lane: Lane
    version: int = 1
    open: dt.datetime | None = None
    pages: dict[int, list[Absorption]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    seen: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
    runs: dict[int, tuple[Run, int]] = dataclasses.field(default_factory=dict)


class MemoryLanes:
    """The lane store, as the intake and as the control plane see it, under one lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.RLock()
        self._rows: dict[LaneKey, _Rows] = {}
        self.store_id = uuid.uuid4().hex

    async def open_generation(self, lane: LaneKey) -> int:
        """See `ports.LaneIntake`."""
        with self._lock:
            return self._rows.setdefault(lane, _Rows(Lane(lane.route, lane.key))).lane.generation

    async def absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        """See `ports.LaneIntake`."""
        with self._lock:
            rows = self._rows.get(lane)
            if rows is None or rows.lane.generation != generation:
                raise Closed(f"generation {generation} of lane {lane.route}/{lane.key} is not open")
            duplicates = {
                event.identity: rows.seen[event.identity][1] for event in events if event.identity in rows.seen
            }
            fresh = [event for event in events if event.identity not in duplicates]
            for event in fresh:
                rows.seen[event.identity] = (generation, event.reference)
                rows.pages[generation].append(event)
                rows.open = self._clock.now()
            return Absorbed(frozenset(event.identity for event in fresh), duplicates)

    def lane(self, lane: LaneKey, at: tuple[int, int] | None = None) -> tuple[Lane, str] | None:  # noqa: ARG002
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._rows.get(lane)
            return (rows.lane, str(rows.version)) if rows else None

    def touched(self, lane: LaneKey, generation: int) -> dt.datetime | None:
        """See `ports.Lanes`."""
        held = self.collected(lane, generation)
        return held.last_at if held else None

    def collected(self, lane: LaneKey, generation: int) -> Collected | None:
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._rows.get(lane)
            page = rows.pages.get(generation) if rows else None
            if rows is None or not page or rows.open is None:
                return None
            types = frozenset(event.type for event in page)
            return Collected(min(event.received for event in page), rows.open, len(page), types)

    def events(self, lane: LaneKey, generation: int) -> list[Absorption]:
        """See `ports.Lanes`."""
        with self._lock:
            page = self._rows[lane].pages.get(generation, []) if lane in self._rows else []
            return sorted(page, key=lambda event: (event.received, event.reference))

    def save_lane(self, lane: Lane, version: str) -> str:
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._current(lane.name, version)
            rows.lane, rows.version = lane, rows.version + 1
            return str(rows.version)

    def hand_over(self, lane: Lane, version: str, run: Run) -> tuple[str, str]:
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._current(lane.name, version)
            rows.lane, rows.version, rows.open = lane, rows.version + 1, None
            rows.runs[run.generation] = (run, 1)
            return str(rows.version), "1"

    def run(self, lane: LaneKey, generation: int) -> tuple[Run, str] | None:
        """See `ports.Lanes`."""
        with self._lock:
            found = self._rows[lane].runs.get(generation) if lane in self._rows else None
            return (found[0], str(found[1])) if found else None

    def save_run(self, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        with self._lock:
            runs = self._rows[LaneKey(run.route, run.key)].runs
            if str(runs[run.generation][1]) != version:
                raise Conflict(f"run {run.id} has changed since it was read")
            runs[run.generation] = (run, int(version) + 1)
            return str(int(version) + 1)

    def move(self, lane: Lane, lane_version: str, run: Run, version: str) -> str:
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._current(lane.name, lane_version)
            saved = self.save_run(run, version)
            rows.lane, rows.version = lane, rows.version + 1
            return saved

    def history(self, lane: LaneKey, most: int) -> list[Run]:
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._rows.get(lane)
            first = rows.lane.generation - most if rows else 0
            found = rows.runs if rows else {}
            return [found[generation][0] for generation in sorted(found, reverse=True) if generation >= first]

    def absorbed_as(self, lane: LaneKey, identity: str) -> tuple[int, str] | None:
        """See `ports.Lanes`."""
        with self._lock:
            return self._rows[lane].seen.get(identity) if lane in self._rows else None

    def absorbed(self, lane: LaneKey, identities: Collection[str]) -> dict[str, tuple[int, str]]:
        """See `ports.Lanes`."""
        found = {identity: self.absorbed_as(lane, identity) for identity in identities}
        return {identity: place for identity, place in found.items() if place}

    def retire(self, lane: LaneKey, generation: int) -> int:
        """See `ports.Lanes`."""
        with self._lock:
            rows = self._rows[lane]
            page = rows.pages.pop(generation, [])
            for event in page:
                rows.seen.pop(event.identity, None)
            return len(page)

    def named(self, run_id: str) -> Run | None:
        """See `ports.Lanes`."""
        return next((run for run in self.all_runs() if run.id == run_id), None)

    def all_lanes(self) -> Iterator[Lane]:
        """See `ports.Lanes`."""
        with self._lock:
            return iter([rows.lane for rows in self._rows.values()])

    def all_runs(self) -> Iterator[Run]:
        """See `ports.Lanes`."""
        with self._lock:
            return iter([run for rows in self._rows.values() for run, _ in rows.runs.values()])

    def _current(self, lane: LaneKey, version: str) -> _Rows:
        rows = self._rows[lane]
        if str(rows.version) != version:
            raise Conflict(f"lane {lane.route}/{lane.key} has changed since it was read")
        return rows


class MemoryBells:
    """The two queues as lists of (visible at, ring)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lanes: list[tuple[dt.datetime, Ring]] = []
        self.runs: list[tuple[dt.datetime, Ring]] = []

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self.lanes.append((self._clock.now() + delay, ring))

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """See `ports.Bells`."""
        self.runs.append((self._clock.now() + delay, ring))


class MemoryDue:
    """The sweep's index as a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[str, Due] = {}

    def insert(self, due: Due) -> None:
        """See `ports.DueIndex`."""
        row = uuid.uuid4().hex
        self._rows[row] = dataclasses.replace(due, row=row)

    def overdue(self, now: dt.datetime) -> Iterator[Due]:
        """See `ports.DueIndex`."""
        return iter([due for due in self._rows.values() if due.at <= now])

    def delete(self, due: Due) -> None:
        """See `ports.DueIndex`."""
        self._rows.pop(due.row, None)


class MemoryLimits:
    """The places of routes in a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Limit, int]] = {}
        self._lock = threading.Lock()

    def limit(self, route: str) -> tuple[Limit, str]:
        """See `ports.Limits`."""
        found = self._rows.get(route)
        return (found[0], str(found[1])) if found else (Limit(), "")

    def save_limit(self, route: str, limit: Limit, version: str) -> None:
        """See `ports.Limits`."""
        with self._lock:
            if self.limit(route)[1] != version:
                raise Conflict(f"the places of route {route} have changed since they were read")
            self._rows[route] = limit, int(version or 0) + 1


class MemorySets:
    """Manifests in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def write(self, name: str, body: bytes) -> tuple[str, bytes]:
        """See `ports.Sets`."""
        return f"memory://sets/{name}", self._blobs.setdefault(name, body)

    def read(self, name: str) -> bytes:
        """See `ports.Sets`."""
        if name not in self._blobs:
            raise NotFound(f"there is no manifest {name}")
        return self._blobs[name]


class MemoryIndexBlobs:
    """The index's blobs in a dictionary: content, version and time."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._blobs: dict[str, tuple[bytes, int, dt.datetime]] = {}

    def write(self, name: str, body: bytes) -> None:
        """See `ports.IndexBlobs`."""
        with self._lock:
            self._put(name, body)

    def read(self, name: str) -> tuple[bytes, str] | None:
        """See `ports.IndexBlobs`."""
        found = self._blobs.get(name)
        return (found[0], str(found[1])) if found else None

    def part(self, name: str, at: int, length: int) -> bytes:
        """See `ports.IndexBlobs`."""
        if name not in self._blobs:
            raise NotFound(f"the index has no blob {name}")
        return self._blobs[name][0][at : at + length]

    def replace(self, name: str, body: bytes, version: str | None) -> str:
        """See `ports.IndexBlobs`."""
        with self._lock:
            found = self._blobs.get(name)
            if (str(found[1]) if found else None) != version:
                raise Conflict(f"the index's blob {name} has changed since it was read")
            return self._put(name, body)

    def names(self, prefix: str) -> list[tuple[str, dt.datetime]]:
        """See `ports.IndexBlobs`."""
        return [(name, self._blobs[name][2]) for name in sorted(self._blobs) if name.startswith(prefix)]

    def delete(self, name: str) -> None:
        """See `ports.IndexBlobs`."""
        self._blobs.pop(name, None)

    def _put(self, name: str, body: bytes) -> str:
        version = self._blobs[name][1] + 1 if name in self._blobs else 1
        self._blobs[name] = (body, version, self._clock.now())
        return str(version)
