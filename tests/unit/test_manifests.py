"""The set of a generation, written down once."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import pytest

from shared import manifests, runs
from shared.manifests import Manifest
from shared.ports import Absorption

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
RUN = runs.opened("curate", "demand", 41, "quiet", NOON)


def absorbed(name: str, seconds: int = 0) -> Absorption:
    received = NOON + dt.timedelta(seconds=seconds)
    return Absorption(name * 4, name, "A.B", {"version": f"0{seconds}"}, f"file@{seconds}+9", received)


def build(*events: Absorption, **seen: Any) -> Manifest:
    return manifests.build(RUN, events, {name * 4: facts for name, facts in seen.items()})


def test_a_manifest_holds_every_event_with_all_that_is_known_of_it() -> None:
    document = json.loads(build(absorbed("a", 1), absorbed("b", 2)).body)
    assert {name: document[name] for name in ("route", "key", "generation", "run")} == {
        "route": "curate", "key": "demand", "generation": 41, "run": RUN.id,
    }  # fmt: skip
    assert document["events"][1] == {
        "id": "b", "identity": "bbbb", "type": "A.B", "received": "2026-03-02T12:00:02+00:00",
        "bindings": {"version": "02"}, "journal": "file@2+9",
    }  # fmt: skip


def test_entries_keep_the_order_that_they_are_given_in() -> None:
    assert [entry["id"] for entry in build(absorbed("b"), absorbed("a"), absorbed("c")).events] == ["b", "a", "c"]


def test_the_same_set_is_the_same_bytes_and_the_hash_is_over_them() -> None:
    manifest = build(absorbed("a", 1), a={"proceed": True, "reason": "x"})
    assert manifest == build(absorbed("a", 1), a={"reason": "x", "proceed": True})
    assert manifest.sha256 == hashlib.sha256(manifest.body).hexdigest()
    assert manifest.sha256 != build(absorbed("a", 2)).sha256


def test_without_a_guard_every_event_proceeds() -> None:
    assert [entry["id"] for entry in build(absorbed("a"), absorbed("b")).proceeds()] == ["a", "b"]


def test_a_guard_lets_events_through_one_by_one_and_its_facts_stay_in_the_set() -> None:
    no, yes = {"proceed": False, "reason": "compaction"}, {"proceed": True, "reason": "data", "files": 3}
    manifest = build(absorbed("a"), absorbed("b"), absorbed("c"), a=no, b=yes, c=no)
    assert [entry["id"] for entry in manifest.proceeds()] == ["b"]
    assert [entry["guard"] for entry in manifest.events] == [no, yes, no]


def test_a_manifest_that_was_read_back_is_the_one_that_was_written() -> None:
    manifest = build(absorbed("a", 1))
    assert Manifest(manifest.body).events == manifest.events


@pytest.mark.parametrize(("generation", "expected"), [(41, "00000041"), (123_456_789, "123456789")])
def test_a_manifest_is_kept_below_its_route_and_lane(generation: int, expected: str) -> None:
    run = runs.opened("curate", "demand", generation, "quiet", NOON)
    assert manifests.name(run, "f00") == f"curate/f00/{expected}.json"
