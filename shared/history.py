"""What has happened, by its names: the deliveries of an event, where it was absorbed, the runs of a chain, old sets.

Everything is found by the id index and point reads, but for what the journal has taken in since the index was last
built: that tail is read once, and searched.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Iterator

from shared import deliveries, manifests
from shared.deliveries import Delivery, Place
from shared.errors import NotFound
from shared.event_index import JOURNAL, Catalog, EventIndex, chain_name, event_name
from shared.intake import Outcome
from shared.journal_lines import Line
from shared.lanes import LaneKey
from shared.ports import JSON, Absorption, DueIndex, Journal, Lanes, Sets
from shared.retirement import Keeping
from shared.runs import Run

_EVER = dt.datetime.max.replace(tzinfo=dt.UTC)


def kept_set(lanes: Lanes, sets: Sets, lane: LaneKey, generation: int) -> list[Absorption]:
    """The set of a generation that was closed before, from its manifest where it has one, else from its pages.

    The pages are read first: as long as there is no manifest, none of them has been retired.
    """
    events = lanes.events(lane, generation)
    found = lanes.run(lane, generation)
    if found is None:
        return events
    try:
        entries = manifests.Manifest(sets.read(manifests.name(found[0], lane.partition))).events
    except NotFound:
        return events
    return [manifests.absorption(entry) for entry in entries]


class History:
    """One look at what has happened; what it has read it does not read again."""

    def __init__(
        self,
        *,
        journal: Journal,
        lanes: Lanes,
        due: DueIndex,
        sets: Sets,
        index: EventIndex,
        keeping: Keeping,
        now: dt.datetime,
    ) -> None:
        self._journal, self._lanes, self._due, self._sets, self._index = journal, lanes, due, sets, index
        self._keeping, self._now = keeping, now
        self._found: dict[str, list[Delivery]] = {}
        self._chains: dict[str, list[Run]] = {}

    def newest(self) -> Iterator[Delivery]:
        """Every delivery, the newest first; what is not asked for is not read."""
        for reference, record in self._journal.scan():
            if record["kind"] == "delivery":
                yield self._delivery(reference, record)

    def deliveries(self, event_id: str) -> list[Delivery]:
        """The deliveries of an event, the oldest first."""
        if event_id not in self._found:
            self._found[event_id] = self._deliveries(event_id)
        return self._found[event_id]

    def counts(self) -> dict[str, int]:
        """How many deliveries there are, and how they ended; of older ones, how they had ended when indexed."""
        tail = [(line.reference, record) for line in self._tail if (record := line.record)]
        new = deliveries.outcomes([found for found in tail if found[1]["kind"] == "delivery"], self._lanes)
        names = ("deliveries", *map(str, Outcome))
        return {name: self._catalog.counts.get(name, 0) + new.get(name, 0) for name in names}

    def absorbed_as(self, lane: LaneKey, record: JSON) -> Place | None:
        """Where a lane has absorbed the event of a delivery, also when its dedupe row was retired."""
        place = self._lanes.absorbed_as(lane, record["identity"])
        if place is None and self._keeping.late(dt.datetime.fromisoformat(record["received"]), self._now):
            return self._index.retired(self._catalog, lane, record["identity"])
        return place

    def set_of(self, run: Run) -> list[Absorption]:
        """The set of a run's generation, also when its pages were retired."""
        lane = LaneKey(run.route, run.key)
        return self._lanes.events(lane, run.generation) or kept_set(self._lanes, self._sets, lane, run.generation)

    def chain(self, correlation: str) -> list[Run]:
        """The runs of a chain in the order in which they began: those that told their end, and those that are alive."""
        if not correlation:
            return []
        if correlation not in self._chains:
            named = dict.fromkeys((*self._ended(correlation), *self._alive))
            found = [run[0] for name in named if (run := self._lanes.run(*name))]
            chain = [run for run in found if run.correlation == correlation]
            self._chains[correlation] = sorted(chain, key=lambda run: run.created_at)
        return self._chains[correlation]

    def _deliveries(self, event_id: str) -> list[Delivery]:
        references = self._index.find(self._catalog, JOURNAL, event_name(event_id))
        needle = json.dumps(event_id)[1:-1].encode()
        references += [line.reference for line in self._tail if needle in line.text and line.record]
        records = {reference: self._journal.read(reference) for reference in references}
        found = [
            self._delivery(reference, record)
            for reference, record in records.items()
            if record["kind"] == "delivery" and record.get("id") == event_id
        ]
        return sorted(found, key=lambda one: (str(one.record["received"]), len(one.reference), one.reference))

    def _ended(self, correlation: str) -> list[tuple[LaneKey, int]]:
        references = self._index.find(self._catalog, JOURNAL, chain_name(correlation))
        records = [self._journal.read(reference) for reference in references]
        records += [record for line in self._tail if b'"sluice"' in line.text and (record := line.record)]
        ends = [end for record in records if (end := deliveries.end(record))]
        return [(end.lane, end.generation) for end in ends if end.correlation == correlation]

    @functools.cached_property
    def _alive(self) -> list[tuple[LaneKey, int]]:
        """Every run that is not over has a row in the sweep's index."""
        return [(due.lane, due.generation) for due in self._due.overdue(_EVER) if due.generation is not None]

    @functools.cached_property
    def _catalog(self) -> Catalog:
        return self._index.catalog()

    @functools.cached_property
    def _tail(self) -> list[Line]:
        """What the journal has taken in since the index was last built."""
        open_files = self._journal.files(self._catalog.day)
        return [
            line
            for file, length in open_files
            if self._catalog.files.get(file, 0) < length
            for line in self._journal.lines(file, self._catalog.files.get(file, 0))
        ]

    def _delivery(self, reference: str, record: JSON) -> Delivery:
        places: dict[LaneKey, Place] = {}
        for lane in deliveries.lanes(record):
            if place := self.absorbed_as(lane, record):
                places[lane] = place
        return deliveries.derived(reference, record, places)
