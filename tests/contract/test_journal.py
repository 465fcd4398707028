"""What the journal promises."""

from __future__ import annotations

import pytest

from shared.errors import NotFound
from tests.contract.conftest import Store


def test_a_record_is_read_back_by_its_reference_as_it_was_written(store: Store) -> None:
    records = [{"kind": "payload", "raw": text} for text in ('{"a": 1.0}', "ünï\n\u2028code", '"\\ud800"')]
    references = store.wait(store.journal.append(records))
    assert [store.journal.read(reference) for reference in references] == records


def test_a_scan_meets_the_newest_record_first(store: Store) -> None:
    for number in range(3):
        store.wait(store.journal.append([{"kind": "mark", "number": number}]))
    seen = [record["number"] for _, record in store.journal.scan() if record["kind"] == "mark"]
    assert seen[:3] == [2, 1, 0]


def test_a_scan_gives_the_references_that_append_gave(store: Store) -> None:
    references = store.wait(store.journal.append([{"kind": "a"}, {"kind": "b"}]))
    assert set(references) <= {reference for reference, _ in store.journal.scan()}


def test_a_large_payload_is_kept_whole(store: Store) -> None:
    raw = "x" * 1_500_000
    (reference,) = store.wait(store.journal.append([{"kind": "payload", "raw": raw}]))
    assert store.journal.read(reference)["raw"] == raw


def test_many_records_of_one_append_may_be_larger_than_a_block(store: Store) -> None:
    references = store.wait(store.journal.append([{"kind": "payload", "raw": "y" * 900_000} for _ in range(6)]))
    assert all(len(str(store.journal.read(reference)["raw"])) == 900_000 for reference in references)


@pytest.mark.parametrize("reference", ["", "memory@99999999", "2026/01/01/00/none-000001@0+10", "../secret@0+1", "x"])
def test_a_reference_to_nothing_is_not_found(store: Store, reference: str) -> None:
    with pytest.raises(NotFound):
        store.journal.read(reference)


@pytest.mark.parametrize("letter", ["x", "ü", "\x01", "\ud800", "𝄞"])
def test_a_payload_just_below_the_limit_is_kept_whatever_its_letters(store: Store, letter: str) -> None:
    """Escaped, a letter takes up to twelve bytes: the line is far longer than the payload."""
    raw = letter * 999_999
    (reference,) = store.wait(store.journal.append([{"kind": "payload", "raw": raw}]))
    assert store.journal.read(reference)["raw"] == raw


def test_a_large_payload_may_hold_a_lone_surrogate(store: Store) -> None:
    raw = "\ud800" * 1_200_000
    (reference,) = store.wait(store.journal.append([{"kind": "payload", "raw": raw}]))
    assert store.journal.read(reference)["raw"] == raw


def test_a_reference_behind_the_end_of_a_file_is_not_found(store: Store) -> None:
    (reference,) = store.wait(store.journal.append([{"kind": "mark"}]))
    file, _, _ = reference.partition("@")
    with pytest.raises(NotFound):
        store.journal.read(f"{file}@{10**9}+10")
