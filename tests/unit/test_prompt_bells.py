"""A process that answers its own wake-ups, and the message that is the net under them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from shared.adapters.memory import MemoryBells
from shared.errors import Unavailable
from shared.lanes import LaneKey
from shared.ports import Ring
from shared.prompt_bells import MOST_IN_HAND, PromptBells
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


def test_a_lane_that_is_rung_for_now_is_woken_here_and_no_message_is_sent(porch: Porch) -> None:
    porch.bells.ring_lane(RING)
    (begun,) = porch.begun
    begun()
    assert porch.woken == [RING]
    assert porch.sent() == []


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


def test_a_process_that_has_much_in_hand_leaves_the_next_to_others(porch: Porch) -> None:
    for _ in range(MOST_IN_HAND + 2):
        porch.bells.ring_lane(RING)
    assert porch.sent() == [dt.timedelta(0)] * 2
    assert len(porch.begun) == MOST_IN_HAND
    porch.begun[0]()
    porch.bells.ring_lane(RING)
    assert len(porch.begun) == MOST_IN_HAND + 1


def test_what_cannot_be_begun_is_told_and_occupies_nothing(porch: Porch) -> None:
    def ended(_: Callable[[], None]) -> None:
        raise RuntimeError("the process ends")

    bells = PromptBells(porch.queue, ended)
    bells.answer(porch.woken.append)
    for _ in range(2 * MOST_IN_HAND):
        with pytest.raises(RuntimeError):
            bells.ring_lane(RING)


def test_a_wake_up_that_fails_is_left_to_the_queue(porch: Porch) -> None:
    def fails(_: Ring) -> None:
        raise RuntimeError("a fault")

    porch.bells.answer(fails)
    for _ in range(2 * MOST_IN_HAND):
        porch.bells.ring_lane(RING)
        porch.begun.pop()()
    assert porch.sent() == [dt.timedelta(0)] * 2 * MOST_IN_HAND


def test_a_wake_up_that_fails_while_the_queue_is_away_is_left_to_the_sweep(
    porch: Porch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise Unavailable("away")

    porch.bells.answer(lost)
    monkeypatch.setattr(porch.queue, "ring_lane", lost)
    porch.bells.ring_lane(RING)
    porch.begun[0]()
    assert porch.sent() == []
