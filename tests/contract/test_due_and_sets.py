"""What the sweep's index and the manifests promise."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.errors import NotFound
from shared.lanes import LaneKey
from shared.ports import Due
from tests.contract.conftest import NOON, Store


def test_only_what_is_overdue_is_found_until_it_is_deleted(store: Store, key: str) -> None:
    lane = LaneKey("curate", key)
    store.due.insert(Due(NOON, lane))
    store.due.insert(Due(NOON + dt.timedelta(seconds=10), lane, 3))

    def found(seconds: int) -> list[Due]:
        return [due for due in store.due.overdue(NOON + dt.timedelta(seconds=seconds)) if due.lane == lane]

    assert [(due.at, due.generation) for due in found(1)] == [(NOON, None)]
    assert len(found(11)) == 2
    store.due.delete(found(1)[0])
    store.due.delete(found(11)[0])
    assert found(11) == []


def test_deleting_a_row_that_is_gone_is_fine(store: Store, key: str) -> None:
    store.due.insert(Due(NOON, LaneKey("curate", key)))
    (due,) = [due for due in store.due.overdue(NOON + dt.timedelta(1)) if due.lane.key == key]
    store.due.delete(due)
    store.due.delete(due)


def test_a_manifest_is_written_once_and_never_changed(store: Store, key: str) -> None:
    address, _ = store.sets.write(f"{key}/1.json", b"first")
    assert store.sets.write(f"{key}/1.json", b"second") == (address, b"first")
    assert store.sets.read(f"{key}/1.json") == b"first"
    assert address.endswith(f"sets/{key}/1.json")


def test_a_manifest_that_was_never_written_is_not_found(store: Store, key: str) -> None:
    with pytest.raises(NotFound):
        store.sets.read(f"{key}/none.json")
