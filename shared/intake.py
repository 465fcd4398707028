"""From a raw delivery to an acknowledgement: journal first, then the lanes, both in groups.

Receives that are in flight at the same time in a process share one journal append and one transaction per lane.  A
delivery is answered only when the journal has it and every lane that it matched has absorbed it, whatever its
neighbours did.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.errors import Closed, SluiceError, Unavailable
from shared.events import Event, Rejection, parse
from shared.lanes import LaneKey
from shared.ports import ANY, JSON, Absorbed, Absorption, Bells, Clock, Due, DueIndex, Journal, LaneIntake, Ring
from shared.routing import Matched, Routes, match

GRACE = dt.timedelta(seconds=60)
"""How long after the last expected move the sweep looks whether something has stalled."""

LONGEST_HOP = dt.timedelta(days=6)
"""A message is seen again after so long at most: seven days is the queue's limit."""

_MOST_IN_A_GROUP = 5_000
_MOST_REMEMBERED = 100_000
_TRIES = 20


class Outcome(enum.StrEnum):
    """How a delivery ends."""

    ROUTED = "routed"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """The acknowledgement of one event: where the journal has it, how it ended, and why."""

    reference: str
    outcome: Outcome
    reason: str
    lanes: tuple[LaneKey, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    """One event, or what could not be read as one, of one delivery."""

    origin: str
    received: dt.datetime
    read: Event | Rejection
    matched: Matched

    def record(self, digest: str) -> JSON:
        base = {"kind": "delivery", "origin": self.origin, "received": self.received.isoformat(), "raw": self.read.raw}
        if isinstance(self.read, Rejection):
            return base | {"id": self.read.id, "rejected": self.read.reason}
        matches = [
            {"route": found.lane.route, "key": found.lane.key, "bindings": dict(found.bindings)}
            for found in self.matched.matches
        ]
        named = {"id": self.read.id, "source": self.read.source, "type": self.read.type, "subject": self.read.subject}
        decided = {"identity": self.read.identity, "matches": matches, "reason": self.matched.reason, "routes": digest}
        return base | named | decided


class Answer(Protocol):
    """Where the receipts of a receive, or its error, are put: a future, here or on another loop."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, receipts: list[Receipt], /) -> None:
        """Acknowledge."""

    def set_exception(self, error: BaseException, /) -> None:
        """Refuse: the sender keeps it and sends it again."""


@dataclasses.dataclass(slots=True)
class _Receive:
    items: list[_Item]
    answer: Answer


class Intake:
    """Receives deliveries on one event loop and commits them in groups.

    `longest_pause` is how many seconds a group may wait for the senders of the one before it; see `_gather`.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        journal: Journal,
        lanes: LaneIntake,
        due: DueIndex,
        bells: Bells,
        clock: Clock,
        longest_pause: float = 0.0,
    ) -> None:
        self._routes, self._journal, self._lanes = routes, journal, lanes
        self._due, self._bells, self._clock = due, bells, clock
        self._longest_pause, self._expected, self._gathered = longest_pause, 0, asyncio.Event()
        self._pending: collections.deque[_Receive] = collections.deque()
        self._committing: asyncio.Task[None] | None = None
        self._joins = frozenset(route.name for route in routes.routes if route.flow.wait_for)
        self._looks = {route.name: min(route.flow.first_look, LONGEST_HOP) for route in routes.routes}
        self._open: dict[LaneKey, int] = {}
        self._rung: dict[LaneKey, int] = {}

    async def receive(self, origin: str, payloads: Sequence[str | bytes]) -> list[Receipt]:
        """Take in raw deliveries; answers one receipt per event in them, in order.

        Raises Unavailable when one of them could not be stored: the sender keeps it and sends it again.
        """
        answer = asyncio.get_running_loop().create_future()
        self.take(origin, payloads, answer)
        receipts: list[Receipt] = await answer
        return receipts

    def take(self, origin: str, payloads: Sequence[str | bytes], answer: Answer) -> None:
        """`receive` for a sender that waits elsewhere."""
        now = self._clock.now()
        items = [self._item(origin, now, read) for payload in payloads for read in parse(payload)]
        if not items:
            return answer.set_result([])
        self._pending.append(_Receive(items, answer))
        if len(self._pending) == self._expected:
            self._gathered.set()
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all())
        return None

    def _item(self, origin: str, now: dt.datetime, read: Event | Rejection) -> _Item:
        matched = Matched((), read.reason) if isinstance(read, Rejection) else match(read, self._routes)
        return _Item(origin, now, read, matched)

    async def _commit_all(self) -> None:
        while self._pending:
            group: list[_Receive] = []
            size = 0
            while self._pending and (not group or size + len(self._pending[0].items) <= _MOST_IN_A_GROUP):
                group.append(self._pending.popleft())
                size += len(group[-1].items)
            try:
                absorbing = await self._commit(group)
            except Exception as error:  # every sender must hear of it, whatever it was
                for receive in group:
                    if not receive.answer.done():
                        receive.answer.set_exception(error)
            else:
                await self._gather(len(group), absorbing / 2)

    async def _gather(self, answered: int, pause: float) -> None:
        """Wait for the senders that were just answered: together with those that wait, each lane is written once.

        A lane costs a transaction a group, however many of its events are in it; a group that met no lane waits for
        nobody.
        """
        pause = min(pause, self._longest_pause)
        if pause > 0 and answered > 1:
            self._expected = len(self._pending) + answered
            self._gathered.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gathered.wait(), pause)
            self._expected = 0

    async def _commit(self, group: list[_Receive]) -> float:
        """Journal, absorb, answer; answers how many seconds the lanes took."""
        items = [item for receive in group for item in receive.items]
        references = await self._journal.append([item.record(self._routes.digest) for item in items])
        by_lane: dict[LaneKey, dict[str, Absorption]] = {}
        for item, reference in zip(items, references, strict=True):
            if isinstance(item.read, Event):
                for found in item.matched.matches:
                    absorption = _absorption(item.read, found.bindings, reference, item.received)
                    by_lane.setdefault(found.lane, {}).setdefault(item.read.identity, absorption)
        lanes, began = list(by_lane), self._clock.now()
        answers = await asyncio.gather(
            *(self._absorb(lane, list(by_lane[lane].values())) for lane in lanes), return_exceptions=True
        )
        absorbed = dict(zip(lanes, answers, strict=True))
        placed = iter(zip(items, references, strict=True))
        for receive in group:
            _answer(receive, [next(placed) for _ in receive.items], absorbed, by_lane)
        return (self._clock.now() - began).total_seconds() if lanes else 0.0

    async def _absorb(self, lane: LaneKey, events: Sequence[Absorption]) -> Absorbed:
        for _ in range(_TRIES):
            generation = self._open.get(lane) or await self._lanes.open_generation(lane)
            _remember(self._open, lane, generation)
            first, look = self._rung.get(lane) != generation, self._looks[lane.route]
            if first:
                await asyncio.to_thread(self._due.insert, Due(self._clock.now() + look + GRACE, lane, generation))
            try:
                absorbed = await self._lanes.absorb(lane, generation, events)
            except Closed:
                self._open.pop(lane, None)
                continue
            joins = lane.route in self._joins
            if first or joins:
                await asyncio.to_thread(self._bells.ring_lane, Ring(lane, generation, ANY if joins else 0), look)
            if absorbed.fresh:
                _remember(self._rung, lane, generation)
            return absorbed
        raise Unavailable(f"lane {lane.route}/{lane.key} was closed {_TRIES} times while absorbing; send again")


def _absorption(event: Event, bindings: Mapping[str, str], reference: str, received: dt.datetime) -> Absorption:
    return Absorption(event.identity, event.id, event.type, bindings, reference, received, event.time)


def _remember(known: dict[LaneKey, int], lane: LaneKey, generation: int) -> None:
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known[lane] = generation


def _answer(
    receive: _Receive,
    placed: list[tuple[_Item, str]],
    absorbed: Mapping[LaneKey, Absorbed | BaseException],
    winners: Mapping[LaneKey, Mapping[str, Absorption]],
) -> None:
    if receive.answer.done():  # the sender has gone away; what it sent is stored all the same
        return
    receipts = []
    for item, reference in placed:
        for found in item.matched.matches:
            answer = absorbed[found.lane]
            if isinstance(answer, BaseException):
                receive.answer.set_exception(
                    answer if isinstance(answer, SluiceError) else Unavailable(f"the lane store failed: {answer!r}")
                )
                return
        receipts.append(_receipt(item, reference, absorbed, winners))
    receive.answer.set_result(receipts)


def _receipt(
    item: _Item,
    reference: str,
    absorbed: Mapping[LaneKey, Absorbed | BaseException],
    winners: Mapping[LaneKey, Mapping[str, Absorption]],
) -> Receipt:
    if isinstance(item.read, Rejection):
        return Receipt(reference, Outcome.REJECTED, item.read.reason)
    if not item.matched.matches:
        return Receipt(reference, Outcome.IGNORED, item.matched.reason)
    identity, reasons, routed, refused = item.read.identity, [], False, False
    for found in item.matched.matches:
        answer = absorbed[found.lane]
        if isinstance(answer, BaseException):  # excluded by the caller
            continue
        winner = winners[found.lane][identity].reference
        if identity in answer.refused:
            refused = True
            reasons.append(f"{found.lane.route}: {answer.refused[identity]}")
        elif winner == reference and (identity in answer.fresh or answer.duplicates.get(identity) == reference):
            routed = True
            reasons.append(f"{found.lane.route}: absorbed into lane {found.lane.key}")
        else:
            reasons.append(f"{found.lane.route}: duplicate of {answer.duplicates.get(identity, winner)}")
    outcome = Outcome.ROUTED if routed else Outcome.REJECTED if refused else Outcome.DUPLICATE
    return Receipt(reference, outcome, "; ".join(reasons), tuple(found.lane for found in item.matched.matches))
