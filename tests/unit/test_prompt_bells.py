"""A process that answers its own wake-ups, and the message that is the net under them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from shared.adapters.memory import MemoryBells
from shared.errors import Unavailable
from shared.lanes import LaneKey
from shared.ports import Ring
from shared.prompt_bells import MOST_AT_ONCE, NET, PromptBells
from tests.unit.worlds import NOON, SetClock

RING = Ring(LaneKey("curate", "demand"), 1, 0)
LATER = dt.timedelta(seconds=3)


class Porch:
    """Prompt bells whose work is begun when the test says so."""

    def __init__(self) -> None:
        self.queue = MemoryBells(SetClock())
        self.begun: list[Callable[[], None]] = []
        self.woken: list[Ring] = []
        self.bells = PromptBells(self.queue, self.begun.append)
        self.bells.answer(self.woken.append)

    def sent(self) -> list[dt.timedelta]:
        """How much later than now each message to a lane is seen."""
        return [at - NOON for at, _ in self.queue.lanes]


@pytest.fixture
def porch() -> Porch:
    return Porch()


def test_a_lane_that_is_rung_for_now_is_woken_here_and_its_message_is_taken_back(porch: Porch) -> None:
    porch.bells.ring_lane(RING)
    assert porch.sent() == [NET]
    (begun,) = porch.begun
    begun()
    assert porch.woken == [RING]
    assert porch.sent() == []


def test_the_message_is_sent_before_the_lane_is_woken(porch: Porch) -> None:
    porch.bells.answer(lambda _: pytest.fail("woken without a message") if not porch.queue.lanes else None)
    porch.bells.ring_lane(RING)
    porch.begun[0]()


def test_what_waits_is_left_to_its_message(porch: Porch) -> None:
    porch.bells.ring_lane(RING, LATER)
    porch.bells.ring_run(RING, LATER)
    porch.bells.ring_run(RING)
    assert porch.sent() == [LATER]
    assert [at - NOON for at, _ in porch.queue.runs] == [LATER, dt.timedelta(0)]
    assert porch.begun == []


def test_a_process_that_takes_no_events_in_wakes_nobody(porch: Porch) -> None:
    silent = PromptBells(porch.queue, porch.begun.append)
    silent.ring_lane(RING)
    assert porch.sent() == [dt.timedelta(0)]
    assert porch.begun == []


def test_a_process_that_is_busy_waking_leaves_the_next_to_others_at_once(porch: Porch) -> None:
    for _ in range(MOST_AT_ONCE + 2):
        porch.bells.ring_lane(RING)
    assert porch.sent() == [NET] * MOST_AT_ONCE + [dt.timedelta(0)] * 2
    porch.begun[0]()
    porch.bells.ring_lane(RING)
    assert porch.sent()[-1] == NET
    assert len(porch.begun) == MOST_AT_ONCE + 1


def test_a_message_that_cannot_be_sent_is_told_and_wakes_nobody(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise Unavailable("the queue does not answer")

    for _ in range(2 * MOST_AT_ONCE):
        with monkeypatch.context() as broken:
            broken.setattr(porch.queue, "ring_lane_unless", lost)
            with pytest.raises(Unavailable):
                porch.bells.ring_lane(RING)
    assert porch.begun == []
    porch.bells.ring_lane(RING)
    assert porch.sent() == [NET], "nothing was left occupied"


def test_a_wake_up_that_fails_is_left_to_its_message(porch: Porch) -> None:
    def fails(_: Ring) -> None:
        raise RuntimeError("a fault")

    porch.bells.answer(fails)
    for _ in range(2 * MOST_AT_ONCE):
        porch.bells.ring_lane(RING)
        porch.begun.pop()()
    assert porch.sent() == [NET] * 2 * MOST_AT_ONCE
