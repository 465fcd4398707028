"""What is old leaves the lanes: the pages of ended generations and the dedupe rows of their events.

    ends/<when>~…    generations whose run has told its end, to be looked at when they are old enough
    going/<when>~…   generations whose dedupe rows the id index holds by now, to be deleted at that time

First the set of a generation is written down (its manifest, where its run never got as far) and its dedupe rows are
copied into the index; only some time later are they deleted, so that whoever looked into the index just before still
found the rows.  Each step may be done twice, and one that was interrupted is done again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

from shared import manifests
from shared.deliveries import End
from shared.event_index import RETIRED, EventIndex, retired_name
from shared.lanes import LaneKey
from shared.ports import IndexBlobs, Lanes, Sets
from shared.runs import Run

Named = tuple[LaneKey, int]

_ENDS, _GOING = "ends/", "going/"
_STAMP = "%Y%m%dT%H%M%S"
_MOST_IN_A_LIST = 500
_MOST_ENTRIES = 50_000


@dataclasses.dataclass(frozen=True, slots=True)
class Keeping:
    """How long dedupe rows stay in the lanes, how long beside their copies in the index, and after what time a delivery
    has come from the journal into its lanes, or never will.
    """

    rows: dt.timedelta = dt.timedelta(days=14)
    copies: dt.timedelta = dt.timedelta(hours=1)
    arrival: dt.timedelta = dt.timedelta(minutes=2)

    def late(self, occurred: dt.datetime | None, now: dt.datetime) -> bool:
        """Whether an event is so old by its sender's time, or of unknown age, that its row may be retired."""
        return occurred is None or occurred < now - self.rows * 13 / 14


class Retirement:
    """Retires generations that have ended, oldest first."""

    def __init__(self, lanes: Lanes, sets: Sets, index: EventIndex, blobs: IndexBlobs, keeping: Keeping) -> None:
        self._lanes, self._sets, self._index, self._blobs, self._keeping = lanes, sets, index, blobs, keeping

    def expect(self, ends: Iterable[End], now: dt.datetime) -> None:
        """The runs of these generations have ended: they are retired when they are old enough."""
        names = list(dict.fromkeys((end.lane, end.generation) for end in ends))
        for at in range(0, len(names), _MOST_IN_A_LIST):
            self._list(_ENDS, names[at : at + _MOST_IN_A_LIST], now + self._keeping.rows)

    def retire(self, now: dt.datetime, go_on: Callable[[], bool]) -> int:
        """Take each list whose time has come one step further, while `go_on`; answers how many rows were deleted."""
        deleted = 0
        for name, generations in self._due(_GOING, now, go_on):
            deleted += sum(self._lanes.retire(lane, generation) for lane, generation in generations)
            self._blobs.delete(name)
        for name, generations in self._due(_ENDS, now, go_on):
            self._copy(generations, now)
            self._blobs.delete(name)
        return deleted

    def _due(self, prefix: str, now: dt.datetime, go_on: Callable[[], bool]) -> Iterator[tuple[str, list[Named]]]:
        for name, _ in self._blobs.names(prefix):
            if not go_on() or name.removeprefix(prefix) > now.strftime(_STAMP):
                return
            if found := self._blobs.read(name):
                yield name, [(LaneKey(route, key), generation) for route, key, generation in json.loads(found[0])]

    def _copy(self, generations: Sequence[Named], now: dt.datetime) -> None:
        """Write down the sets, copy the dedupe rows into the index, and list what may then go."""
        later: list[Named] = []
        ready: list[Named] = []
        entries: list[tuple[str, str]] = []
        for lane, generation in generations:
            run = self._over(lane, generation)
            if run is None:
                later.append((lane, generation))
                continue
            events = self._lanes.events(lane, generation)
            if events and run.manifest is None:
                self._sets.write(manifests.name(run, lane.partition), manifests.build(run, events, {}).body)
            entries += [(retired_name(lane, event.identity), f"{generation} {event.reference}") for event in events]
            ready.append((lane, generation))
            if len(entries) >= _MOST_ENTRIES:
                self._let_go(ready, entries, now)
                ready, entries = [], []
        self._let_go(ready, entries, now)
        self._list(_ENDS, later, now + self._keeping.rows / 14)

    def _over(self, lane: LaneKey, generation: int) -> Run | None:
        """The run of a generation whose set nobody works on any more, or is about to; else None."""
        found, row = self._lanes.run(lane, generation), self._lanes.lane(lane)
        if found is None or found[0].alive or row is None or generation in row[0].carried:
            return None
        return found[0]

    def _let_go(self, generations: Sequence[Named], entries: Sequence[tuple[str, str]], now: dt.datetime) -> None:
        if entries:
            self._index.publish(RETIRED, entries)
        self._list(_GOING, generations, now + self._keeping.copies)

    def _list(self, prefix: str, generations: Sequence[Named], at: dt.datetime) -> None:
        if generations:
            rows = [(lane.route, lane.key, generation) for lane, generation in generations]
            self._blobs.write(f"{prefix}{at.strftime(_STAMP)}~{uuid.uuid4().hex}", json.dumps(rows).encode())
