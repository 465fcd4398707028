"""What the control plane asks of the world, as narrow protocols.

Every port has an in-memory twin (`shared/adapters/memory.py`) that passes the same contract tests as the real adapter.
The intake's ports are asynchronous, because receives in flight together share one commit; everything else is not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from shared.journal_lines import Line
from shared.lanes import Collected, Lane, LaneKey
from shared.limits import Limit
from shared.observations import Observation, Remote
from shared.runs import Run
from shared.scoring_log import Call, Minute

JSON = Mapping[str, Any]


class Clock(Protocol):
    """Time, as an argument."""

    def now(self) -> dt.datetime:
        """The current time, aware, in UTC."""


@dataclasses.dataclass(frozen=True, slots=True)
class Absorption:
    """One event on its way into a lane: its identity, and all that the lane keeps of it (never the payload).

    `occurred` is the sender's own time, None where it names none; the lane does not keep it.
    """

    identity: str
    id: str
    type: str
    bindings: Mapping[str, str]
    reference: str
    received: dt.datetime
    occurred: dt.datetime | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Absorbed:
    """What became of the events of one absorb, by identity: fresh, duplicate of a record, or refused for a reason."""

    fresh: frozenset[str]
    duplicates: Mapping[str, str]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Journal(Protocol):
    """The append-only log of every delivery, operator command and run fact, in files that only grow."""

    async def append(self, records: Sequence[JSON]) -> list[str]:
        """Store the records, all or none; answers their references in order.  Raises Unavailable."""

    def read(self, reference: str) -> JSON:
        """The record that a reference names.  Raises NotFound."""

    def scan(self) -> Iterator[tuple[str, JSON]]:
        """Every record but the damaged, with its reference, the newest first; what is not asked for is not read."""

    def files(self, day: str) -> list[tuple[str, int]]:
        """Each file of this day (`2026/03/02`) and of later ones by its name, with its length, in order; "" for all."""

    def lines(self, file: str, at: int) -> Iterator[Line]:
        """The records of a file from a position on, in order; a payload that is kept apart is left out of the text."""


class LaneIntake(Protocol):
    """The lane store as the intake sees it."""

    async def open_generation(self, lane: LaneKey) -> int:
        """The number of the generation that is open now; 1 for a new lane, which is created here or by `absorb`."""

    async def absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        """Put events of distinct identity into the open generation, each at most once per lane for ever.

        Raises Closed when that generation is no longer open (nothing was written), Unavailable when the outcome is
        unknown (repeat it).
        """


class Lanes(Protocol):
    """The lane store as the control plane sees it.  `version` is the row's ETag; a lost race raises Conflict."""

    @property
    def store_id(self) -> str:
        """Made with the tables, so that a wiped store never meets old tokens."""

    def lane(self, lane: LaneKey, at: tuple[int, int] | None = None) -> tuple[Lane, str] | None:
        """The lane's row, None when nothing has ever matched it.

        Who was rung `at` a generation and number may be answered from memory when that is where the lane was last seen:
        if it has moved on since, its version says so.
        """

    def touched(self, lane: LaneKey, generation: int) -> dt.datetime | None:
        """When the open generation was last added to, None when it is empty: one point read."""

    def collected(self, lane: LaneKey, generation: int) -> Collected | None:
        """When a generation was first and last added to, None when it is empty."""

    def events(self, lane: LaneKey, generation: int) -> list[Absorption]:
        """Every event of a generation, once each, in the order of receipt."""

    def save_lane(self, lane: Lane, version: str) -> str:
        """Replace the lane's row; answers its new version."""

    def hand_over(self, lane: Lane, version: str, run: Run) -> tuple[str, str]:
        """In one transaction: replace the lane's row, close the run's generation, open the next, insert the run.

        Answers the lane's new version and the run's.
        """

    def run(self, lane: LaneKey, generation: int) -> tuple[Run, str] | None:
        """The run of a generation, None when it was not handed over."""

    def save_run(self, run: Run, version: str) -> str:
        """Replace the run's row; answers its new version."""

    def move(self, lane: Lane, lane_version: str, run: Run, version: str) -> str:
        """In one transaction: replace the lane's row and the row of one of its runs; answers the run's new version."""

    def history(self, lane: LaneKey, most: int) -> list[Run]:
        """The runs of a lane's last `most` generations, the newest first."""

    def absorbed_as(self, lane: LaneKey, identity: str) -> tuple[int, str] | None:
        """Generation and reference under which an event was absorbed, None when it was not, or that was retired."""

    def absorbed(self, lane: LaneKey, identities: Collection[str]) -> dict[str, tuple[int, str]]:
        """`absorbed_as` of many events of a lane at once; those that were not absorbed are left out."""

    def retire(self, lane: LaneKey, generation: int) -> int:
        """Delete the pages of a closed generation and the dedupe rows of their events; answers how many events.

        A page goes with all of its rows or not at all, so that what was interrupted is repeated.
        """

    def named(self, run_id: str) -> Run | None:
        """The run of this name, None when there is none."""

    def all_lanes(self) -> Iterator[Lane]:
        """Every lane."""

    def all_runs(self) -> Iterator[Run]:
        """Every run, in no order."""


ANY = -1
"""The number of a ring that counts whatever number its lane is at: what a join waits for may be there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ring:
    """A wake-up: carries a key and its number, never the truth.  An older number than the truth holds is dropped."""

    lane: LaneKey
    generation: int
    number: int


class Bells(Protocol):
    """The two queues that wake the control plane.  A message may come late, twice, or in another order."""

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """Wake a lane after `delay`.  Raises Unavailable."""

    def ring_run(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        """Wake a run after `delay`.  Raises Unavailable."""


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """One row of the sweep's index: at `at`, look whether this lane has stalled.

    With a generation, whether that has: the run of it, and the lane as long as there is none.
    """

    at: dt.datetime
    lane: LaneKey
    generation: int | None = None
    row: str = ""


class DueIndex(Protocol):
    """What should have moved by when.  A row is inserted before the truth that it guards; only the sweep deletes it."""

    def insert(self, due: Due) -> None:
        """Add a row.  Raises Unavailable."""

    def overdue(self, now: dt.datetime) -> Iterator[Due]:
        """Every row whose time has passed, in no order, with `row` set."""

    def delete(self, due: Due) -> None:
        """Remove a row; one that is gone is fine."""


class Limits(Protocol):
    """The places of routes that have a limit over all their lanes, one row a route."""

    def limit(self, route: str) -> tuple[Limit, str]:
        """The places of a route and their version; empty, with version "", when nobody has ever taken one."""

    def save_limit(self, route: str, limit: Limit, version: str) -> None:
        """Replace the places.  Raises Conflict when they have changed since they were read."""


class Sets(Protocol):
    """Manifests: the whole set of a generation as a blob with its hash."""

    def write(self, name: str, body: bytes) -> tuple[str, bytes]:
        """Write a blob unless it exists; answers its address and its content.  What exists is never changed."""

    def read(self, name: str) -> bytes:
        """The blob's content.  Raises NotFound."""


class IndexBlobs(Protocol):
    """Where the id index is kept.  `version` is the blob's ETag; a lost race raises Conflict."""

    def write(self, name: str, body: bytes) -> None:
        """Write a blob, whole."""

    def read(self, name: str) -> tuple[bytes, str] | None:
        """A blob and its version, None when it does not exist."""

    def part(self, name: str, at: int, length: int) -> bytes:
        """Part of a blob.  Raises NotFound."""

    def replace(self, name: str, body: bytes, version: str | None) -> str:
        """Replace what `read` gave, None for nothing; answers the new version."""

    def names(self, prefix: str) -> list[tuple[str, dt.datetime]]:
        """The blobs below a prefix in the order of their names, with the time when each was last written."""

    def delete(self, name: str) -> None:
        """Remove a blob; one that is gone is fine."""


class ScoringLog(Protocol):
    """What the deployments answered, by the minute.

    Calls of a partition are folded in the order of their sequence numbers; those that come again change nothing.
    """

    def fold(self, partition: str, calls: Sequence[tuple[int, Call]]) -> None:
        """Add calls, each with its sequence number in the partition.  Raises Unavailable (repeat the same calls)."""

    def minutes(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> list[Minute]:
        """The minutes of a deployment that start in [since, until), the oldest first; quiet minutes are left out."""


class ScoringArchive(Protocol):
    """Every message of the scoring log, word for word, as blobs of the lake."""

    def keep(self, name: str, last: int, body: bytes) -> None:
        """Write a blob that ends with sequence number `last`, unless what is there goes as far.  Raises Unavailable."""

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[JSON]:
        """At most so many calls of a deployment that were answered after a time, the oldest first, once each.

        Each is the message that the deployment sent.  Raises Unavailable.
        """


class Action(Protocol):
    """A kind of work.  Raises Unavailable (repeat under the same token) or Refused (nothing started, give up).

    `exclusive`: its calls are not all made safe by a token (traffic, deletes), so they are made under the run's lease.
    """

    exclusive: bool

    def faults(self, options: JSON) -> list[str]:
        """What is wrong with a route's options for this action, one sentence each, naming the option."""

    def start(self, request: JSON) -> Remote:
        """Start the attempt, or find the one that already exists under the request's token.

        `request` holds `token`, `run`, `correlation`, `manifest` and the rendered `options`; it never changes.
        """

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:
        """The attempt's state from the backend itself.  A many-step action takes one idempotent step a call.

        `request` is the frozen one, with `ending` (`kind` and `reason`) where the run is to end early.
        """

    def cancel(self, request: JSON, remote: Remote) -> None:
        """Ask the backend to stop; the end is seen by `observe`.  Cancelling what has ended is fine."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What a guard is asked about: one event of a run's set, as the journal keeps it, with what the route captured."""

    run: Run
    options: JSON
    bindings: Mapping[str, str]
    record: JSON


class Guard(Protocol):
    """Looks up one fact about an event of a set, which is stored with the set."""

    def observe(self, asked: Asked) -> JSON:
        """`{"proceed": bool, "reason": str, …}` for one event.  Raises Unavailable, or Refused: the run fails."""


class Publisher(Protocol):
    """Outside listeners of our own events."""

    def publish(self, event: JSON) -> None:
        """Send one event in Event Grid schema.  Raises Unavailable."""


class Telemetry(Protocol):
    """Custom events, metrics and spans.  Never raises: the work matters more than the word about it."""

    def event(self, name: str, correlation: str, facts: JSON) -> None:
        """Something happened."""

    def metric(self, name: str, value: float, facts: Mapping[str, str]) -> None:
        """A number was measured."""

    def span(self, name: str, correlation: str, facts: JSON) -> AbstractContextManager[None]:
        """Something takes time; everything with one correlation belongs together."""
