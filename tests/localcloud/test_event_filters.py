"""Event Grid's documented filter semantics."""

from __future__ import annotations

import pytest

from localcloud.event_filters import OPERATORS, matches

EVENT = {
    "id": "1",
    "topic": "/t",
    "subject": "/blobServices/default/containers/Bronze/blobs/demand/_delta_log/7.json",
    "eventType": "Microsoft.Storage.BlobCreated",
    "dataVersion": "",
    "data": {
        "api": "PutBlob",
        "contentLength": 10,
        "last": True,
        "tags": ["Red", "blue"],
        "deep": {"er": "x"},
        "no": None,
    },
}


def advanced(operator: str, key: str, *, arrays: bool = False, **wanted: object) -> bool:
    one = {"operatorType": operator, "key": key, **wanted}
    return matches({"advancedFilters": [one], "enableAdvancedFilteringOnArrays": arrays}, EVENT)


def test_no_filter_wants_everything() -> None:
    assert matches({}, EVENT)
    assert matches({"includedEventTypes": None, "subjectBeginsWith": "", "advancedFilters": []}, EVENT)


def test_event_types_are_a_choice() -> None:
    assert matches({"includedEventTypes": ["x", "microsoft.storage.blobcreated"]}, EVENT)
    assert not matches({"includedEventTypes": ["Microsoft.Storage.BlobDeleted"]}, EVENT)


def test_cloud_events_are_matched_by_their_type() -> None:
    assert matches({"includedEventTypes": ["A.B"]}, {"type": "A.B", "specversion": "1.0", "id": "1", "source": "s"})


def test_subjects_are_compared_without_case_unless_asked() -> None:
    begin = "/blobservices/default/containers/bronze/"
    assert matches({"subjectBeginsWith": begin, "subjectEndsWith": ".JSON"}, EVENT)
    assert not matches({"subjectBeginsWith": begin, "isSubjectCaseSensitive": True}, EVENT)
    assert not matches({"subjectEndsWith": ".parquet"}, EVENT)


@pytest.mark.parametrize(
    ("operator", "key", "wanted", "expected"),
    [
        ("StringIn", "data.api", {"values": ["putblob", "x"]}, True),
        ("StringNotIn", "data.api", {"values": ["putblob"]}, False),
        ("StringContains", "Subject", {"values": ["_DELTA_LOG"]}, True),
        ("StringNotContains", "Subject", {"values": ["_delta_log"]}, False),
        ("StringBeginsWith", "data.deep.er", {"values": ["X"]}, True),
        ("StringNotBeginsWith", "data.deep.er", {"values": ["y", "z"]}, True),
        ("StringEndsWith", "EventType", {"values": ["created"]}, True),
        ("StringNotEndsWith", "EventType", {"values": ["created"]}, False),
        ("NumberIn", "data.contentLength", {"values": [1, 10]}, True),
        ("NumberNotIn", "data.contentLength", {"values": [1, 10]}, False),
        ("NumberInRange", "data.contentLength", {"values": [[10, 20]]}, True),
        ("NumberNotInRange", "data.contentLength", {"values": [[11, 20]]}, True),
        ("NumberLessThan", "data.contentLength", {"value": 10}, False),
        ("NumberLessThanOrEquals", "data.contentLength", {"value": 10}, True),
        ("NumberGreaterThan", "data.contentLength", {"value": 9}, True),
        ("NumberGreaterThanOrEquals", "data.contentLength", {"value": 11}, False),
        ("BoolEquals", "data.last", {"value": True}, True),
        ("IsNullOrUndefined", "data.no", {}, True),
        ("IsNullOrUndefined", "data.nowhere", {}, True),
        ("IsNotNull", "data.api", {}, True),
        ("IsNotNull", "data.no", {}, False),
    ],
)
def test_each_operator(operator: str, key: str, wanted: dict[str, object], expected: bool) -> None:
    assert advanced(operator, key, **wanted) is expected


@pytest.mark.parametrize("operator", sorted(OPERATORS - {"IsNullOrUndefined", "IsNotNull"}))
def test_a_missing_key_matches_only_the_two_not_in_operators(operator: str) -> None:
    wanted = {"values": [[1, 2]]} if "Range" in operator else {"values": [1]}
    assert advanced(operator, "data.nowhere", **wanted) is (operator in {"NumberNotIn", "StringNotIn"})


def test_arrays_match_by_element_only_when_enabled() -> None:
    assert not advanced("StringIn", "data.tags", values=["red"])
    assert advanced("StringIn", "data.tags", arrays=True, values=["red"])
    assert not advanced("StringNotIn", "data.tags", arrays=True, values=["BLUE"])


def test_filters_are_anded_and_values_ored() -> None:
    one = {"operatorType": "StringIn", "key": "data.api", "values": ["a", "PutBlob"]}
    two = {"operatorType": "NumberGreaterThan", "key": "data.contentLength", "value": 99}
    assert matches({"advancedFilters": [one]}, EVENT)
    assert not matches({"advancedFilters": [one, two]}, EVENT)
