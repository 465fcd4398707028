"""From a raw delivery to an acknowledgement, in groups."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest

from shared import lanes, runs
from shared.adapters.memory import MemoryBells, MemoryDue, MemoryJournal, MemoryLanes
from shared.errors import Closed, Unavailable
from shared.event_loop import EventLoop
from shared.flow import Flow
from shared.intake import GRACE, LONGEST_HOP, Intake, Outcome, Receipt
from shared.intake_loop import IntakeLoop
from shared.lanes import LaneKey
from shared.ports import JSON, Absorbed, Absorption, Due, Ring
from shared.routing import Route, Routes
from shared.subject_pattern import SubjectPattern
from tests.unit.worlds import NOON, SetClock, event

HOUR = dt.timedelta(hours=1)
A, B = LaneKey("a", "k"), LaneKey("b", "k")


class Journal(MemoryJournal):
    """Counts its appends, may be held up, may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failures: list[Exception] = []

    async def append(self, records: Sequence[JSON]) -> list[str]:
        self.sizes.append(len(records))
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        return await super().append(records)


class Lanes(MemoryLanes):
    """Notes what was absorbed where, may fail for a lane, may close a generation just before an absorb."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__(clock)
        self.absorbs: list[tuple[LaneKey, int, int]] = []
        self.failing: dict[LaneKey, Exception] = {}
        self.refusing: set[str] = set()
        self.close_next = 0

    async def absorb(self, lane: LaneKey, generation: int, events: Sequence[Absorption]) -> Absorbed:
        self.absorbs.append((lane, generation, len(events)))
        if lane in self.failing:
            raise self.failing[lane]
        if self.close_next:
            self.close_next -= 1
            self.close(lane)
        taken = await super().absorb(lane, generation, [item for item in events if item.id not in self.refusing])
        refused = {item.identity: "too large" for item in events if item.id in self.refusing}
        return Absorbed(taken.fresh, taken.duplicates, refused)

    def close(self, lane: LaneKey) -> None:
        """Hand the open generation over, as another instance might."""
        found = self.lane(lane)
        assert found is not None
        run = runs.opened(lane.route, lane.key, found[0].generation, "the test says so", NOON)
        self.hand_over(lanes.handed_over(found[0]), found[1], run)


class Bells(MemoryBells):
    """May be out of order."""

    broken = False

    def ring_lane(self, ring: Ring, delay: dt.timedelta = dt.timedelta(0)) -> None:
        if self.broken:
            raise Unavailable("the queue does not answer")
        super().ring_lane(ring, delay)


class Desk:
    """An intake on ports that can be looked at; `process` makes another one on the same store."""

    def __init__(self, *routes: Route) -> None:
        self.clock = SetClock()
        self.journal, self.lanes = Journal(), Lanes(self.clock)
        self.due, self.bells = MemoryDue(), Bells(self.clock)
        self.routes = Routes(routes or (route("a", "A.B"), route("b", "A.B", "C.D")), "digest-1")
        self.intake = self.process()

    def process(self, longest_pause: float = 0.0) -> Intake:
        return Intake(
            routes=self.routes,
            journal=self.journal,
            lanes=self.lanes,
            due=self.due,
            bells=self.bells,
            clock=self.clock,
            longest_pause=longest_pause,
        )

    async def receive(self, *payloads: str | bytes) -> list[Receipt]:
        return await self.intake.receive("event_grid", payloads)

    def ids(self, lane: LaneKey, generation: int = 1) -> list[str]:
        return [item.id for item in self.lanes.events(lane, generation)]

    def rung(self) -> list[tuple[LaneKey, int, int]]:
        return [(ring.lane, ring.generation, ring.number) for _, ring in self.bells.lanes]

    def overdue(self) -> list[Due]:
        return list(self.due.overdue(NOON + dt.timedelta(days=1)))


def route(name: str, *types: str, key: str = "k", subject: str | None = None) -> Route:
    return Route(name, frozenset(types), key, "work", {}, SubjectPattern.compile(subject) if subject else None)


async def turns(number: int = 2) -> None:
    """Let the loop go round, so that what was begun comes to its first wait."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


# -- what becomes of a delivery ------------------------------------------------------------------------------------


async def test_a_delivery_that_matches_is_absorbed_and_its_receipt_says_where(desk: Desk) -> None:
    (receipt,) = await desk.receive(event("1"))
    assert receipt == Receipt("memory@0", Outcome.ROUTED, "a: absorbed into lane k; b: absorbed into lane k", (A, B))
    assert desk.ids(A) == desk.ids(B) == ["1"]


async def test_the_lane_keeps_captures_and_a_reference_and_never_the_payload() -> None:
    desk = Desk(route("a", "A.B", key="{table}", subject="{dir}/{table}"))
    await desk.receive(event("1", secret="x" * 1000))
    (kept,) = desk.lanes.events(LaneKey("a", "demand"), 1)
    assert (kept.bindings, kept.reference, kept.received) == ({"dir": "x", "table": "demand"}, "memory@0", NOON)
    assert "secret" not in repr(kept)


async def test_the_journal_has_the_delivery_to_the_letter_with_what_was_decided(desk: Desk) -> None:
    payload = event("1", n=1)
    await desk.receive(payload)
    record = desk.journal.read("memory@0")
    assert record["raw"] == payload
    assert record["received"] == NOON.isoformat()
    assert (record["kind"], record["origin"], record["routes"]) == ("delivery", "event_grid", "digest-1")
    assert (record["id"], record["type"], record["subject"]) == ("1", "A.B", "x/demand")
    assert [found["route"] for found in record["matches"]] == ["a", "b"]
    assert record["identity"] == desk.lanes.events(A, 1)[0].identity


async def test_what_matches_nothing_costs_one_append_and_touches_no_lane(desk: Desk) -> None:
    (receipt,) = await desk.receive(event("1", "E.F"))
    assert (receipt.outcome, receipt.reason, receipt.lanes) == (Outcome.IGNORED, "no route listens to E.F", ())
    assert (desk.lanes.absorbs, desk.rung(), desk.overdue()) == ([], [], [])
    assert desk.journal.sizes == [1]


@pytest.mark.parametrize("payload", ["{", b"\xff", "[]", '{"id": "x"}', "7"])
async def test_what_cannot_be_read_is_journalled_with_its_reason_and_acknowledged(
    desk: Desk, payload: str | bytes
) -> None:
    (receipt,) = await desk.receive(payload)
    record = desk.journal.read(receipt.reference)
    assert receipt.outcome is Outcome.REJECTED
    assert record["rejected"] == receipt.reason != ""
    assert record["raw"]


async def test_each_event_of_a_batch_has_its_own_receipt_in_order(desk: Desk) -> None:
    batch = f"[{event('1')}, 7, {event('2', 'E.F')}, {event('1')}]"
    receipts = await desk.receive(batch, "nonsense", event("3", "C.D"))
    assert [receipt.outcome for receipt in receipts] == [
        Outcome.ROUTED, Outcome.REJECTED, Outcome.IGNORED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.ROUTED,
    ]  # fmt: skip
    assert [receipt.reference for receipt in receipts] == [f"memory@{number}" for number in range(6)]
    assert desk.journal.sizes == [6]


async def test_nothing_received_is_nothing_done(desk: Desk) -> None:
    assert await desk.receive() == []
    assert desk.journal.sizes == []


# -- duplicates ----------------------------------------------------------------------------------------------------


async def test_a_redelivery_is_a_duplicate_of_the_record_that_won(desk: Desk) -> None:
    await desk.receive(event("1"))
    (again,) = await desk.receive(event("1", n=2))
    assert again.outcome is Outcome.DUPLICATE
    assert again.reason == "a: duplicate of memory@0; b: duplicate of memory@0"
    assert desk.ids(A) == ["1"]
    assert len(list(desk.journal.scan())) == 2, "the journal has every delivery"


async def test_equal_ids_in_flight_together_are_folded_before_the_store_sees_them(desk: Desk) -> None:
    receipts = await asyncio.gather(desk.receive(event("1")), desk.receive(event("1")), desk.receive(event("2")))
    assert [receipt.outcome for (receipt,) in receipts] == [Outcome.ROUTED, Outcome.DUPLICATE, Outcome.ROUTED]
    assert receipts[1][0].reason == "a: duplicate of memory@0; b: duplicate of memory@0"
    assert desk.ids(A) == ["1", "2"]
    assert [found for found in desk.lanes.absorbs if found[0] == A] == [(A, 1, 2)]


async def test_an_event_that_one_route_has_and_another_lacks_is_routed(desk: Desk) -> None:
    desk.lanes.failing[B] = Unavailable("no answer")
    with pytest.raises(Unavailable):
        await desk.receive(event("1"))
    desk.lanes.failing.clear()
    (again,) = await desk.receive(event("1"))
    assert again.outcome is Outcome.ROUTED
    assert again.reason == "a: duplicate of memory@0; b: absorbed into lane k"


async def test_events_that_share_an_id_and_differ_in_subject_are_both_kept(desk: Desk) -> None:
    other = event("1").replace("x/demand", "x/other")
    receipts = await desk.receive(event("1"), other)
    assert [receipt.outcome for receipt in receipts] == [Outcome.ROUTED, Outcome.ROUTED]


# -- groups --------------------------------------------------------------------------------------------------------


async def test_receives_in_flight_together_share_one_append_and_one_absorb_a_lane(desk: Desk) -> None:
    desk.journal.open.clear()
    first = asyncio.create_task(desk.receive(event("first")))
    await turns()
    more = [asyncio.create_task(desk.receive(event(f"{number}"))) for number in range(20)]
    await turns()
    desk.journal.open.set()
    await asyncio.gather(first, *more)
    assert desk.journal.sizes == [1, 20]
    assert [found for found in desk.lanes.absorbs if found[0] == A] == [(A, 1, 1), (A, 1, 20)]


async def test_a_group_has_at_most_five_thousand_events_and_a_delivery_is_never_split(desk: Desk) -> None:
    sizes = [3000, 2000, 1, 7000, 10]
    batches = [[event(f"{batch}-{number}") for number in range(size)] for batch, size in enumerate(sizes)]
    receipts = await asyncio.gather(*(desk.receive(*batch) for batch in batches))
    assert desk.journal.sizes == [5000, 1, 7000, 10]
    assert [len(found) for found in receipts] == sizes
    assert len(desk.ids(A)) == sum(sizes)


async def test_an_intake_that_has_rested_takes_in_again(desk: Desk) -> None:
    for number in range(3):
        await desk.receive(event(str(number)))
        await turns()
    assert desk.journal.sizes == [1, 1, 1]
    assert desk.ids(A) == ["0", "1", "2"]


# -- failures ------------------------------------------------------------------------------------------------------


async def test_when_the_journal_fails_nobody_is_acknowledged_and_no_lane_is_touched(desk: Desk) -> None:
    desk.journal.failures = [Unavailable("no answer")]
    answers = await asyncio.gather(
        desk.receive(event("1")), desk.receive(event("2", "E.F")), desk.receive("{"), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert (desk.lanes.absorbs, desk.rung()) == ([], [])
    assert (await desk.receive(event("1")))[0].outcome is Outcome.ROUTED, "the next group is a new one"


async def test_an_append_that_fails_fails_its_own_group_only(desk: Desk) -> None:
    desk.journal.open.clear()
    desk.journal.failures = [Unavailable("no answer")]
    first = asyncio.create_task(desk.receive(event("1")))
    await turns()
    second = asyncio.create_task(desk.receive(event("2")))
    await turns()
    desk.journal.open.set()
    with pytest.raises(Unavailable):
        await first
    assert (await second)[0].outcome is Outcome.ROUTED


@pytest.mark.parametrize("error", [Unavailable("no answer"), ValueError("a bug"), Closed("for ever")])
async def test_a_lane_that_fails_fails_only_the_deliveries_that_need_it(desk: Desk, error: Exception) -> None:
    desk.lanes.failing[A] = error
    answers = await asyncio.gather(
        desk.receive(event("1", "A.B")), desk.receive(event("2", "C.D")), desk.receive(event("3", "E.F")),
        desk.receive("{"), desk.receive(event("4", "C.D"), event("5", "A.B")), return_exceptions=True,
    )  # fmt: skip
    assert isinstance(answers[0], Unavailable)
    assert isinstance(answers[4], Unavailable), "a batch is acknowledged whole or not at all"
    outcomes = [answer[0].outcome for answer in answers[1:4] if not isinstance(answer, BaseException)]
    assert outcomes == [Outcome.ROUTED, Outcome.IGNORED, Outcome.REJECTED]
    assert desk.ids(B) == ["1", "2", "4", "5"], "what could be absorbed is; a redelivery finds it there"


async def test_an_event_that_the_store_refuses_is_rejected_and_its_neighbours_are_not(desk: Desk) -> None:
    desk.lanes.refusing = {"bad"}
    receipts = await desk.receive(event("good"), event("bad"))
    assert [receipt.outcome for receipt in receipts] == [Outcome.ROUTED, Outcome.REJECTED]
    assert receipts[1].reason == "a: too large; b: too large"


async def test_a_sender_that_goes_away_harms_nobody_in_its_group(desk: Desk) -> None:
    desk.journal.open.clear()
    impatient = asyncio.create_task(desk.receive(event("1")))
    patient = asyncio.create_task(desk.receive(event("2")))
    await turns()
    impatient.cancel()
    await turns()
    desk.journal.open.set()
    assert (await patient)[0].outcome is Outcome.ROUTED
    assert desk.ids(A) == ["1", "2"], "what the journal has is absorbed all the same"


# -- waking the lane -----------------------------------------------------------------------------------------------


async def test_a_generation_is_rung_once_by_each_process(desk: Desk) -> None:
    for number in range(3):
        await desk.receive(event(str(number), "C.D"))
    other = desk.process()
    for number in range(3, 6):
        await other.receive("event_grid", [event(str(number), "C.D")])
    assert desk.rung() == [(B, 1, 0), (B, 1, 0)]


async def test_a_generation_that_settles_is_rung_for_when_its_first_event_has_and_looked_after_from_then_on() -> None:
    week = dt.timedelta(days=7)
    for settle, look in ((dt.timedelta(minutes=5), dt.timedelta(minutes=5)), (week, LONGEST_HOP)):
        desk = Desk(dataclasses.replace(route("b", "C.D"), flow=Flow(settle, 10 * settle)))
        await desk.receive(event("1", "C.D"))
        assert [at for at, _ in desk.bells.lanes] == [NOON + look]
        assert [due.at for due in desk.due.overdue(NOON + 2 * week)] == [NOON + look + GRACE]


@pytest.mark.parametrize(
    "flow", [Flow(HOUR, 2 * HOUR, batch_max=3), Flow(HOUR, 2 * HOUR, wait_for=frozenset({"C.D", "E.F"}), within=HOUR)]
)
async def test_a_generation_that_may_be_ready_before_it_has_settled_is_rung_at_once(flow: Flow) -> None:
    desk = Desk(dataclasses.replace(route("b", "C.D", "E.F"), flow=flow))
    await desk.receive(event("1", "C.D"))
    assert [at for at, _ in desk.bells.lanes] == [NOON]


async def test_duplicates_ring_too_because_the_first_delivery_may_have_died_before_its_ring(desk: Desk) -> None:
    await desk.lanes.open_generation(B)
    await desk.process().receive("event_grid", [event("1", "C.D")])
    desk.bells.lanes.clear()
    (receipt,) = await desk.receive(event("1", "C.D"))
    assert receipt.outcome is Outcome.DUPLICATE
    assert desk.rung() == [(B, 1, 0)]


async def test_a_ring_for_duplicates_alone_does_not_count_for_the_fresh_events_that_follow(desk: Desk) -> None:
    await desk.process().receive("event_grid", [event("1", "C.D")])
    desk.lanes.close(B)
    desk.bells.lanes.clear()
    await desk.receive(event("1", "C.D"))
    await desk.receive(event("2", "C.D"))
    await desk.receive(event("3", "C.D"))
    assert desk.rung() == [(B, 2, 0), (B, 2, 0)]


async def test_what_should_move_is_in_the_sweeps_index_before_it_is_absorbed(desk: Desk) -> None:
    desk.lanes.failing[B] = Unavailable("no answer")
    with pytest.raises(Unavailable):
        await desk.receive(event("1", "C.D"))
    assert [(due.lane, due.generation, due.at) for due in desk.overdue()] == [(B, 1, NOON + GRACE)]
    assert desk.rung() == []


async def test_a_delivery_whose_ring_was_lost_is_not_acknowledged_and_its_redelivery_rings(desk: Desk) -> None:
    desk.bells.broken = True
    with pytest.raises(Unavailable):
        await desk.receive(event("1", "C.D"))
    desk.bells.broken = False
    (again,) = await desk.receive(event("1", "C.D"))
    assert again.outcome is Outcome.DUPLICATE
    assert desk.rung() == [(B, 1, 0)]
    assert desk.ids(B) == ["1"]


async def test_events_go_into_the_next_generation_when_theirs_was_closed(desk: Desk) -> None:
    await desk.receive(event("1", "C.D"))
    desk.lanes.close_next = 1
    (receipt,) = await desk.receive(event("2", "C.D"))
    assert receipt.outcome is Outcome.ROUTED
    assert (desk.ids(B, 1), desk.ids(B, 2)) == (["1"], ["2"])
    assert desk.rung() == [(B, 1, 0), (B, 2, 0)]


async def test_a_lane_that_is_closed_again_and_again_gives_up_without_acknowledging(desk: Desk) -> None:
    desk.lanes.close_next = 1000
    with pytest.raises(Unavailable, match="send again"):
        await desk.receive(event("1", "C.D"))


async def test_events_of_one_receive_have_one_time_of_receipt(desk: Desk) -> None:
    desk.clock.pass_(5)
    await desk.receive(event("1", "C.D"), event("2", "C.D"))
    held = desk.lanes.collected(B, 1)
    assert held == lanes.Collected(
        NOON + dt.timedelta(seconds=5), NOON + dt.timedelta(seconds=5), 2, frozenset({"C.D"})
    )


# -- from other threads --------------------------------------------------------------------------------------------


def test_the_intake_on_its_own_loop_serves_any_thread() -> None:
    desk = Desk()
    loop = IntakeLoop(desk.intake, EventLoop())
    futures = [loop.submit("event_hub", [event(str(number))]) for number in range(50)]
    outcomes = [future.result(10)[0].outcome for future in futures]
    assert outcomes == [Outcome.ROUTED] * 50
    assert sorted(desk.ids(A), key=int) == [str(number) for number in range(50)]
    assert sum(desk.journal.sizes) == 50


def test_a_record_of_our_own_is_appended_through_the_same_loop() -> None:
    desk = Desk()
    loop = IntakeLoop(desk.intake, EventLoop())
    reference = loop.append(desk.journal, {"kind": "replay", "event": "1"})
    assert desk.journal.read(reference) == {"kind": "replay", "event": "1"}


def test_a_failure_reaches_the_thread_that_asked() -> None:
    desk = Desk()
    desk.journal.failures = [Unavailable("no answer")]
    future: Any = IntakeLoop(desk.intake, EventLoop()).submit("event_hub", [event("1")])
    with pytest.raises(Unavailable):
        future.result(10)


async def test_other_event_loops_await_the_same_groups() -> None:
    desk = Desk()
    loop = IntakeLoop(desk.intake, EventLoop())
    receipts = await asyncio.gather(*(loop.receive("event_grid", [event(str(number))]) for number in range(50)))
    assert [receipt.outcome for (receipt,) in receipts] == [Outcome.ROUTED] * 50
    assert sum(desk.journal.sizes) == 50
    assert len(desk.journal.sizes) < 50


async def test_a_failure_reaches_the_loop_that_awaits() -> None:
    desk = Desk()
    desk.journal.failures = [Unavailable("no answer")]
    with pytest.raises(Unavailable):
        await IntakeLoop(desk.intake, EventLoop()).receive("event_grid", [event("1")])


async def test_a_sender_that_has_gone_away_keeps_nobody_else_waiting() -> None:
    desk = Desk()
    loop = IntakeLoop(desk.intake, EventLoop())
    gone = asyncio.create_task(loop.receive("event_grid", [event("1")]))
    await asyncio.sleep(0)
    gone.cancel()
    (receipt,) = await loop.receive("event_grid", [event("2")])
    assert receipt.outcome is Outcome.ROUTED
    assert desk.ids(A) == ["1", "2"]


class Ticking(SetClock):
    """An hour passes whenever somebody looks at it."""

    def now(self) -> dt.datetime:
        self.pass_(3600)
        return super().now()


async def test_after_a_group_that_met_lanes_the_next_waits_for_its_senders_so_that_each_lane_is_written_once() -> None:
    desk = Desk()
    desk.clock = Ticking()
    intake = desk.process(longest_pause=60.0)

    async def sender(number: int) -> None:
        await intake.receive("event_grid", [event(f"{number}-1")])
        await asyncio.sleep(0.001 * number)
        await intake.receive("event_grid", [event(f"{number}-2")])

    await asyncio.gather(*(sender(number) for number in range(8)))
    assert desk.journal.sizes == [8, 8]


async def test_after_a_group_that_met_no_lane_nobody_waits() -> None:
    desk = Desk()
    desk.clock = Ticking()
    intake = desk.process(longest_pause=3600.0)
    await asyncio.gather(*(intake.receive("event_grid", [event(str(number), "E.F")]) for number in range(8)))
    await asyncio.wait_for(intake.receive("event_grid", [event("last", "E.F")]), 60)
    assert desk.journal.sizes == [8, 1]


async def test_a_sender_that_has_no_more_is_waited_for_no_longer_than_half_of_what_the_lanes_took() -> None:
    desk = Desk()
    desk.clock = Ticking()
    intake = desk.process(longest_pause=0.01)
    await asyncio.gather(*(intake.receive("event_grid", [event(str(number))]) for number in range(8)))
    (receipt,) = await intake.receive("event_grid", [event("last")])
    assert receipt.outcome is Outcome.ROUTED
