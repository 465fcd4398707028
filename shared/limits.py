"""How many runs of a route may work at a time over all its lanes, and who is next.  Pure.

Lanes that find no place wait in the order in which they came.  A place that becomes free is reserved for the first of
them for a while, so that a busy lane cannot overtake a quiet one; a reservation that is not used runs out.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

MOST_WAITERS = 200
"""So many lanes are remembered in order; any more look again by themselves."""

RESERVED = dt.timedelta(seconds=30)
"""How long a place is kept for the lane that is next."""

Holder = tuple[str, int]
"""A lane's key and the generation whose run works."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """Who holds the places of a route, for whom places are reserved and until when, and who waits."""

    holders: tuple[Holder, ...] = ()
    reserved: tuple[tuple[str, dt.datetime], ...] = ()
    waiters: tuple[str, ...] = ()


def taken(limit: Limit, holder: Holder, most: int, now: dt.datetime) -> tuple[Limit, bool]:
    """Take a place, or wait for one; whether it was taken.  Who holds one already has it."""
    if holder in limit.holders:
        return limit, True
    key = holder[0]
    others = tuple(entry for entry in limit.reserved if entry[0] != key and entry[1] > now)
    if len(limit.holders) + len(others) >= most:
        known = key in limit.waiters or len(limit.waiters) >= MOST_WAITERS
        return dataclasses.replace(limit, waiters=limit.waiters if known else (*limit.waiters, key)), False
    waiters = tuple(waiter for waiter in limit.waiters if waiter != key)
    return Limit((*limit.holders, holder), others, waiters), True


def without(limit: Limit, holders: tuple[Holder, ...]) -> Limit:
    """Take the places of these away."""
    return dataclasses.replace(limit, holders=tuple(other for other in limit.holders if other not in holders))


def returned(limit: Limit, holder: Holder, most: int, now: dt.datetime) -> tuple[Limit, tuple[str, ...]]:
    """Give a place back, reserve what is free for who is next; answers their keys, to be rung."""
    holders = tuple(other for other in limit.holders if other != holder)
    live = tuple(entry for entry in limit.reserved if entry[1] > now)
    free = max(0, most - len(holders) - len(live))
    following = limit.waiters[:free]
    reserved = (*live, *((key, now + RESERVED) for key in following))
    return Limit(holders, reserved, limit.waiters[free:]), following
