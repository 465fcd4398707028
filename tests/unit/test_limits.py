"""The places of a route with a limit: never more than it says, and first come, first served."""

from __future__ import annotations

import dataclasses
import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from shared.limits import MOST_WAITERS, RESERVED, Limit, returned, taken, without

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def held(*keys: str) -> Limit:
    return Limit(tuple((key, 1) for key in keys))


def test_a_place_is_taken_while_there_is_one() -> None:
    limit, had = taken(held("a"), ("b", 4), 2, NOON)
    assert (had, limit.holders) == (True, (("a", 1), ("b", 4)))


def test_who_finds_none_stands_in_line_once() -> None:
    limit, had = taken(held("a", "b"), ("c", 1), 2, NOON)
    assert (had, limit.waiters) == (False, ("c",))
    assert taken(limit, ("c", 1), 2, NOON) == (limit, False)


def test_taking_what_one_holds_already_changes_nothing() -> None:
    full = held("a", "b")
    assert taken(full, ("a", 1), 2, NOON) == (full, True)


def test_a_place_that_is_given_back_is_kept_for_who_is_next() -> None:
    waiting = dataclasses.replace(held("a", "b"), waiters=("c", "d"))
    limit, following = returned(waiting, ("a", 1), 2, NOON)
    assert following == ("c",)
    assert limit.waiters == ("d",)
    assert not taken(limit, ("a", 2), 2, at(1))[1], "the busy lane does not overtake"
    limit, had = taken(limit, ("c", 1), 2, at(1))
    assert (had, limit.reserved, limit.holders) == (True, (), (("b", 1), ("c", 1)))


def test_a_reservation_that_is_not_used_runs_out() -> None:
    limit, _ = returned(dataclasses.replace(held("a"), waiters=("gone",)), ("a", 1), 1, NOON)
    assert not taken(limit, ("b", 1), 1, NOON + RESERVED / 2)[1]
    assert taken(limit, ("b", 1), 1, NOON + RESERVED)[1]


def test_giving_back_twice_is_giving_back_once() -> None:
    once, first = returned(dataclasses.replace(held("a"), waiters=("b", "c")), ("a", 1), 1, NOON)
    assert first == ("b",)
    assert returned(once, ("a", 1), 1, at(1)) == (once, ())


def test_a_limit_that_was_lowered_lets_nobody_in_until_enough_have_ended() -> None:
    limit, following = returned(dataclasses.replace(held("a", "b", "c"), waiters=("d",)), ("a", 1), 1, NOON)
    assert following == ()
    assert not taken(limit, ("e", 1), 1, NOON)[1]


def test_a_place_that_was_left_behind_can_be_taken_away() -> None:
    assert without(held("a", "b"), (("a", 1), ("c", 1))) == held("b")


def test_the_line_that_is_remembered_is_bounded() -> None:
    limit = held("a")
    for number in range(MOST_WAITERS + 50):
        limit, _ = taken(limit, (f"k{number}", 1), 1, NOON)
    assert len(limit.waiters) == MOST_WAITERS


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.floats(0, 60)), max_size=60))
def test_there_are_never_more_holders_than_places(most: int, moves: list[tuple[bool, int, float]]) -> None:
    limit, now, holding = Limit(), NOON, set()
    for takes, number, passes in moves:
        now += dt.timedelta(seconds=passes)
        holder = (f"k{number}", 1)
        if takes:
            limit, had = taken(limit, holder, most, now)
            holding |= {holder} if had else set()
        else:
            limit, _ = returned(limit, holder, most, now)
            holding.discard(holder)
        assert set(limit.holders) == holding
        assert len(holding) <= most
        assert len(set(limit.waiters)) == len(limit.waiters)
