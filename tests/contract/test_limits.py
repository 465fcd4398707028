"""What the places of routes with a limit promise."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.errors import Conflict
from shared.limits import MOST_WAITERS, Limit
from tests.contract.conftest import NOON, Store


def test_a_route_that_nobody_has_used_has_no_holders(store: Store, key: str) -> None:
    assert store.limits.limit(key) == (Limit(), "")


def test_places_are_kept_whole_however_many_wait(store: Store, key: str) -> None:
    waiters = tuple(f"{number}-" + "k" * 500 for number in range(MOST_WAITERS))
    full = Limit((("demand", 3), ("wäter", 1)), (("next", NOON + dt.timedelta(seconds=30)),), waiters)
    store.limits.save_limit(key, full, "")
    assert store.limits.limit(key)[0] == full


def test_who_read_an_older_version_overwrites_nothing(store: Store, key: str) -> None:
    store.limits.save_limit(key, Limit((("a", 1),)), "")
    with pytest.raises(Conflict):
        store.limits.save_limit(key, Limit((("b", 1),)), "")
    _, version = store.limits.limit(key)
    store.limits.save_limit(key, Limit((("c", 1),)), version)
    with pytest.raises(Conflict):
        store.limits.save_limit(key, Limit((("d", 1),)), version)
    assert store.limits.limit(key)[0] == Limit((("c", 1),))
