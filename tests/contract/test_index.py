"""What the id index promises: what was journalled is found by its id, once, whoever builds it and however often."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.errors import Conflict, NotFound
from shared.event_index import JOURNAL, event_name
from shared.routing import Route
from shared.segments import FAN
from tests.contract.conftest import Store
from tests.contract.plants import FIVE_MINUTES, Plant, payload

CURATE = Route("curate", frozenset({"A.B"}), "demand", "work", {})


@pytest.fixture
def plant(fresh: Store) -> Plant:
    return Plant(fresh, CURATE)


# -- its blobs -----------------------------------------------------------------------------------------------------


def test_a_blob_is_replaced_only_as_it_was_read(fresh: Store) -> None:
    blobs = fresh.index
    assert blobs.read("catalog") is None
    first = blobs.replace("catalog", b"1", None)
    with pytest.raises(Conflict):
        blobs.replace("catalog", b"2", None)
    assert blobs.read("catalog") == (b"1", first)
    second = blobs.replace("catalog", b"2", first)
    with pytest.raises(Conflict):
        blobs.replace("catalog", b"3", first)
    assert blobs.read("catalog") == (b"2", second)
    blobs.delete("catalog")
    with pytest.raises(Conflict):
        blobs.replace("catalog", b"3", second)


def test_parts_names_and_deletes_of_blobs(fresh: Store) -> None:
    blobs = fresh.index
    for name in ("b/2", "a/1", "b/1"):
        blobs.write(name, b"0123456789")
    assert [name for name, _ in blobs.names("b/")] == ["b/1", "b/2"]
    assert all(at.tzinfo is not None for _, at in blobs.names(""))
    assert blobs.part("a/1", 2, 3) == b"234"
    assert blobs.part("a/1", 8, 100) == b"89"
    blobs.delete("a/1")
    blobs.delete("a/1")
    with pytest.raises(NotFound):
        blobs.part("a/1", 0, 1)


# -- the journal as files ------------------------------------------------------------------------------------------


def test_files_are_read_from_any_position_on(fresh: Store) -> None:
    records = [{"kind": "mark", "number": number} for number in range(5)]
    references = fresh.wait(fresh.journal.append(records[:2])) + fresh.wait(fresh.journal.append(records[2:]))
    ((file, length),) = fresh.journal.files("")
    lines = list(fresh.journal.lines(file, 0))
    assert [line.reference for line in lines] == references
    assert lines[-1].end == length
    assert [line.reference for line in fresh.journal.lines(file, lines[1].end)] == references[2:]
    assert list(fresh.journal.lines(file, length)) == []


def test_files_of_days_before_are_left_out(fresh: Store) -> None:
    fresh.wait(fresh.journal.append([{"kind": "mark"}]))
    (written,) = fresh.journal.files("")
    assert fresh.journal.files("2026/02/27") == [written]
    assert fresh.journal.files("2026/03/02") == [written]


def test_a_scan_meets_the_newest_first_also_over_hours_and_ranges(fresh: Store) -> None:
    for number in range(6):
        text = "y" * 900_000
        fresh.wait(fresh.journal.append([{"kind": "mark", "number": number, "raw": text}] * 2))
        fresh.clock.pass_(900)
    assert [record["number"] for _, record in fresh.journal.scan()] == [n for n in range(5, -1, -1) for _ in range(2)]


# -- building ------------------------------------------------------------------------------------------------------


def test_an_event_is_found_by_its_id_before_and_after_it_is_indexed(plant: Plant) -> None:
    plant.receive([payload(plant, f"e{number}") for number in range(200)])
    plant.receive([payload(plant, "e7")])
    before = plant.operations.explain("e7")
    assert [row["outcome"] for row in before["deliveries"]] == ["routed", "duplicate"]
    assert plant.tick().indexed == 201
    assert plant.operations.explain("e7") == before
    assert len(plant.index.find(plant.index.catalog(), JOURNAL, event_name("e7"))) == 2
    with pytest.raises(NotFound):
        plant.operations.explain("e200")


def test_what_has_just_come_is_left_for_the_next_time_and_found_all_the_same(plant: Plant) -> None:
    plant.receive([payload(plant, "old")])
    plant.clock.time += FIVE_MINUTES
    plant.receive([payload(plant, "young"), payload(plant, "other", "C.D")])
    assert plant.tick(dt.timedelta(0)).indexed == 1
    assert plant.operations.explain("young")["deliveries"][0]["outcome"] == "routed"
    assert plant.operations.counts() == {"deliveries": 3, "routed": 2, "ignored": 1, "duplicate": 0, "rejected": 0}


def test_nothing_is_indexed_twice(plant: Plant) -> None:
    plant.receive([payload(plant, "e1"), payload(plant, "e2", "C.D"), "{"])
    assert plant.tick().indexed == 3
    assert not plant.tick()
    assert plant.operations.counts() == {"deliveries": 3, "routed": 1, "ignored": 1, "duplicate": 0, "rejected": 1}


def test_of_two_that_build_at_once_one_loses_and_nothing_is_counted_twice(plant: Plant) -> None:
    plant.receive([payload(plant, "e1")])
    catalog = plant.index.catalog()
    plant.tick()
    with pytest.raises(Conflict):
        plant.index.save(catalog, JOURNAL, [(event_name("e1"), "elsewhere")])
    assert plant.operations.counts()["deliveries"] == 1
    assert len(plant.operations.explain("e1")["deliveries"]) == 1


def test_many_small_segments_become_one_and_what_was_merged_is_deleted_an_hour_later(plant: Plant) -> None:
    for number in range(FAN):
        plant.receive([payload(plant, f"e{number}")])
        kept = plant.tick()
    assert kept.merged == FAN
    (segment,) = plant.index.catalog().of(JOURNAL)
    assert segment.lines == FAN
    assert all(plant.operations.explain(f"e{number}")["deliveries"] for number in range(FAN))
    names = [name for name, _ in plant.store.index.names("segments/")]
    assert len(names) == FAN + 1
    an_hour_hence = max(at for _, at in plant.store.index.names("segments/")) + dt.timedelta(minutes=61)
    assert plant.index.tidy(an_hour_hence) == FAN
    assert plant.operations.explain("e0")["deliveries"]


def test_a_reader_whose_catalog_is_out_of_date_finds_what_was_merged(plant: Plant) -> None:
    plant.receive([payload(plant, "e0")])
    plant.tick()
    stale = plant.index.catalog()
    for number in range(1, FAN):
        plant.receive([payload(plant, f"e{number}")])
        plant.tick()
    newest = max(at for _, at in plant.store.index.names("segments/"))
    assert plant.index.tidy(newest + dt.timedelta(hours=2)) == FAN
    assert len(plant.index.find(stale, JOURNAL, event_name("e0"))) == 1


def test_files_of_days_that_are_over_are_not_looked_at_again(plant: Plant) -> None:
    plant.receive([payload(plant, "first")])
    plant.tick()
    plant.tick(dt.timedelta(days=2))
    plant.receive([payload(plant, "second")])
    plant.tick()
    catalog = plant.index.catalog()
    assert catalog.day == "2026/03/04"
    assert all(file >= catalog.day for file in catalog.files)
    assert plant.operations.counts()["deliveries"] == 2
    assert plant.operations.explain("first")["deliveries"]


def test_a_run_is_found_by_its_name(plant: Plant) -> None:
    plant.receive([payload(plant, "e1")])
    plant.work()
    (run,) = plant.store.lanes.all_runs()
    assert plant.store.lanes.named(run.id) == run
    for other in (f"x{run.id}", run.id.replace("curate", "train"), f"{run.id}7", "nobody", "", "a-b-c", "é-1"):
        assert plant.store.lanes.named(other) is None
