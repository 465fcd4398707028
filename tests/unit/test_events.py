"""What is read of a delivery, and what is rejected with its reason."""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.events import SOURCE_TYPES, Event, Rejection, lookup, parse

SAMPLES = Path(__file__).resolve().parent.parent / "events"
LAKE = (
    "/subscriptions/5b4b650e-28b9-4790-b3ab-ddbd88d727c4/resourceGroups/rg-forecasting"
    "/providers/Microsoft.Storage/storageAccounts/contosolake"
)

# Of each documented type, one fact that lies deep in its data.
FACTS = {
    "blob_created": ("Microsoft.Storage.BlobCreated", "data.api", "FlushWithClose"),
    "blob_deleted": (
        "Microsoft.Storage.BlobDeleted",
        "data.storageDiagnostics.batchId",
        "b68529f3-68cd-4744-baa4-3c0498ec19f0",
    ),
    "blob_renamed": (
        "Microsoft.Storage.BlobRenamed",
        "data.destinationUrl",
        "https://contosolake.dfs.core.windows.net/bronze/demand/_delta_log/00000000000000000042.json",
    ),
    "directory_created": ("Microsoft.Storage.DirectoryCreated", "data.api", "CreateDirectory"),
    "directory_renamed": (
        "Microsoft.Storage.DirectoryRenamed",
        "data.sourceUrl",
        "https://contosolake.dfs.core.windows.net/bronze/demand",
    ),
    "directory_deleted": ("Microsoft.Storage.DirectoryDeleted", "data.recursive", "true"),
    "image_pushed": ("Microsoft.ContainerRegistry.ImagePushed", "data.target.tag", "12"),
    "image_deleted": ("Microsoft.ContainerRegistry.ImageDeleted", "data.target.repository", "demand-forecast"),
    "chart_pushed": ("Microsoft.ContainerRegistry.ChartPushed", "data.target.version", "0.3.1"),
    "chart_deleted": ("Microsoft.ContainerRegistry.ChartDeleted", "data.action", "chart_delete"),
    "model_registered": (
        "Microsoft.MachineLearningServices.ModelRegistered",
        "data.modelTags.azureml_job",
        "sluice-train-9d1f",
    ),
    "model_deployed": (
        "Microsoft.MachineLearningServices.ModelDeployed",
        "data.modelIds",
        "demand-forecast:11,demand-forecast:12",
    ),
    "run_completed": ("Microsoft.MachineLearningServices.RunCompleted", "data.experimentName", "demand-forecast"),
    "dataset_drift_detected": (
        "Microsoft.MachineLearningServices.DatasetDriftDetected",
        "data.driftCoefficient",
        0.8350349068479208,
    ),
    "run_status_changed": ("Microsoft.MachineLearningServices.RunStatusChanged", "data.runStatus", "Failed"),
}


def sample(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return body


def one(payload: Any) -> Event | Rejection:
    (read,) = parse(payload if isinstance(payload, str | bytes) else json.dumps(payload))
    return read


def event(payload: Any) -> Event:
    read = one(payload)
    assert isinstance(read, Event), read
    return read


def rejection(payload: Any) -> Rejection:
    read = one(payload)
    assert isinstance(read, Rejection), read
    return read


def grid(**changes: Any) -> dict[str, Any]:
    """A small event in Event Grid schema; a change to None takes the field away."""
    whole = {
        "id": "1", "topic": "/t", "subject": "s", "eventType": "Some.Thing", "eventTime": "2024-01-01T00:00:00Z",
        "data": {}, "dataVersion": "1",
    } | changes  # fmt: skip
    return {name: value for name, value in whole.items() if value is not None}


# -- the documented types ------------------------------------------------------------------------------------------


def test_there_is_a_sample_of_every_source_type() -> None:
    assert {type_ for type_, _, _ in FACTS.values()} == set(SOURCE_TYPES)
    assert len(SOURCE_TYPES) == 15


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("suffix", ["event_grid", "cloud_events"])
def test_every_documented_type_is_read_in_both_schemas(name: str, suffix: str) -> None:
    text = (SAMPLES / f"{name}.{suffix}.json").read_text(encoding="utf-8")
    type_, path, value = FACTS[name]
    body, schema = json.loads(text), "EventGridSchema" if suffix == "event_grid" else "CloudEventSchemaV1_0"

    read = event(text)

    assert (read.type, read.schema, read.id) == (type_, schema, body["id"])
    assert (read.source, read.subject) == (body.get("topic") or body.get("source"), body["subject"])
    assert read.value(path) == value
    assert read.time is not None
    assert read.time.utcoffset() == dt.timedelta(0)
    assert read.data == body["data"]
    assert read.raw == text, "the journal keeps what arrived, to the letter"


@pytest.mark.parametrize("name", FACTS)
def test_one_fact_in_both_schemas_is_one_event(name: str) -> None:
    assert event(sample(f"{name}.event_grid")).identity == event(sample(f"{name}.cloud_events")).identity


def test_workspace_events_that_share_an_id_are_still_different_events() -> None:
    names = [name for name, (type_, _, _) in FACTS.items() if "MachineLearning" in type_]
    read = [event(sample(f"{name}.event_grid")) for name in names]
    assert len({found.id for found in read}) == 1
    assert len({found.identity for found in read}) == 5


def test_an_array_of_all_samples_is_read_in_order() -> None:
    files = sorted(SAMPLES.glob("*.json"))
    bodies = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    read = parse(json.dumps(bodies).encode())
    assert [found.id for found in read if isinstance(found, Event)] == [body["id"] for body in bodies]


# -- as real payloads spell them -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("quirk_model_registered_pascal_case_keys_and_a_number", "data.modelVersion", 12),
        ("quirk_model_registered_pascal_case_keys_and_a_number", "data.modelTags.gold_version", "7"),
        ("quirk_run_completed_pascal_case_keys_and_null_run_type", "data.experimentName", "demand-forecast"),
        ("quirk_run_completed_pascal_case_keys_and_null_run_type", "data.runType", None),
        ("quirk_dataset_drift_detected_number_as_a_string", "data.driftCoefficient", "0.835"),
        ("quirk_image_pushed_short_type_and_data_as_a_json_string", "data.target.repository", "demand-forecast"),
        ("quirk_image_pushed_short_type_and_data_as_a_json_string", "type", "Microsoft.ContainerRegistry.ImagePushed"),
        ("quirk_blob_created_misspelt_spec_version_and_unknown_attributes", "source", LAKE),
        ("quirk_blob_created_numbers_as_strings", "data.contentLength", "1873"),
    ],
)
def test_real_spellings_are_read_like_documented_ones(name: str, path: str, value: Any) -> None:
    assert event(sample(name)).value(path) == value


def test_a_misspelt_specversion_is_still_a_cloud_event() -> None:
    read = event(sample("quirk_blob_created_misspelt_spec_version_and_unknown_attributes"))
    assert read.schema == "CloudEventSchemaV1_0"


@pytest.mark.parametrize("type_", ["ImagePushed", "imagepushed", "microsoft.containerregistry.IMAGEPUSHED"])
def test_a_known_type_has_one_spelling(type_: str) -> None:
    assert event(grid(eventType=type_)).type == "Microsoft.ContainerRegistry.ImagePushed"


def test_an_unknown_type_is_kept_as_it_came() -> None:
    assert event(grid(eventType="Contoso.Items.ItemReceived")).type == "Contoso.Items.ItemReceived"


def test_unknown_fields_are_kept_in_the_raw_text_only() -> None:
    text = json.dumps(grid() | {"next": {"deep": [1]}})
    assert event(text) == Event(
        "1", "/t", "Some.Thing", "s", dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {}, "EventGridSchema", text
    )


def test_top_level_keys_are_read_in_any_case() -> None:
    read = event({"ID": "7", "TOPIC": "/t", "Subject": "s", "EVENTTYPE": "A.B", "Data": {"x": 1}})
    assert (read.id, read.source, read.subject, read.type, read.value("data.X")) == ("7", "/t", "s", "A.B", 1)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (None, {}),
        ("", {"value": ""}),
        ("not json", {"value": "not json"}),
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", {"value": [1, 2]}),
        ("null", {}),
        (7, {"value": 7}),
        ([1], {"value": [1]}),
        (False, {"value": False}),
    ],
)
def test_data_is_always_a_mapping(data: Any, value: Any) -> None:
    assert event(grid() | {"data": data}).data == value


def test_an_id_that_is_a_number_is_its_digits() -> None:
    assert event(grid(id=17)).id == "17"


def test_an_event_needs_no_topic_subject_or_time() -> None:
    read = event({"id": "1", "eventType": "A.B"})
    assert (read.source, read.subject, read.time) == ("", "", None)


def test_one_megabyte_is_read_whole() -> None:
    read = event(grid(data={"blob": "x" * 1_048_576}))
    assert len(read.value("data.blob")) == 1_048_576


# -- values by path ------------------------------------------------------------------------------------------------


def test_a_value_is_found_by_its_path_in_any_case() -> None:
    read = event(grid(data={"Target": {"TAG": "v1", "tag": "exact"}, "list": [1]}))
    assert read.value("DATA.target.tag") == "exact"
    assert read.value("data.TARGET.Tag") == "exact"
    assert read.value("eventType") == read.value("type") == "Some.Thing"
    assert read.value("topic") == read.value("source") == "/t"
    assert (read.value("id"), read.value("Subject"), read.value("data")) == ("1", "s", read.data)


@pytest.mark.parametrize("path", ["data.none", "data.list.0", "data.text.more", "subject.more", "nothing", ""])
def test_what_is_not_there_has_no_value(path: str) -> None:
    assert event(grid(data={"list": [1], "text": "t"})).value(path) is None


def test_a_key_that_holds_a_dot_cannot_be_named_as_in_event_grid() -> None:
    assert event(sample("run_completed.event_grid")).value("data.runTags.azureml.nodeid") is None


def test_lookup_walks_mappings_only() -> None:
    assert lookup({"a": {"B": None}}, "A.b") is None
    assert lookup("text", "a") is None


# -- identity ------------------------------------------------------------------------------------------------------


def test_a_redelivery_is_the_same_event_whatever_else_differs() -> None:
    first, again = event(grid(data={"n": 1})), event(grid(data={"n": 2}, eventTime="2025-01-01T00:00:00Z"))
    assert first.identity == again.identity
    assert len(first.identity) == 32


@pytest.mark.parametrize("change", [{"id": "2"}, {"topic": "/u"}, {"subject": "z"}, {"eventType": "Some.Other"}])
def test_source_id_type_and_subject_tell_events_apart(change: dict[str, str]) -> None:
    assert event(grid()).identity != event(grid(**change)).identity


# -- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hour", "microsecond"),
    [
        ("2024-05-13T08:41:00Z", 8, 0),
        ("2024-05-13T08:41:00.9584103Z", 8, 958410),
        ("2024-05-13T10:41:00+02:00", 8, 0),
        ("2024-05-13T02:11:00.5-06:30", 8, 500000),
        ("2024-05-13T08:41:00", 8, 0),
        ("2024-05-13 08:41", 8, 0),
    ],
)
def test_any_iso_time_is_utc_and_one_without_an_offset_is_taken_as_utc(text: str, hour: int, microsecond: int) -> None:
    assert event(grid(eventTime=text)).time == dt.datetime(2024, 5, 13, hour, 41, 0, microsecond, tzinfo=dt.UTC)


def test_an_empty_time_is_no_time() -> None:
    assert event(grid() | {"eventTime": ""}).time is None


@pytest.mark.parametrize(
    "time",
    ["yesterday", "13/05/2024", "2024-13-01T00:00:00Z", 1715589660, {"t": 1}, "0001-01-01T00:00:00+14:00",
     "9999-12-31T23:59:59-01:00"],
)  # fmt: skip
def test_a_time_that_cannot_be_read_is_rejected_with_the_id(time: Any) -> None:
    found = rejection(grid(eventTime=time))
    assert found.reason.startswith("the event's time cannot be read")
    assert found.id == "1"


def test_the_smallest_time_of_dotnet_is_a_time() -> None:
    assert event(grid(eventTime="0001-01-01T00:00:00Z")).time == dt.datetime(1, 1, 1, tzinfo=dt.UTC)


# -- rejections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", '{"id": "1"', "<xml/>", "'", '{"a": 1} {"b": 2}', "\ufeff{}", "nul"])
def test_what_is_not_json_is_rejected_and_kept(text: str) -> None:
    found = rejection(text)
    assert found.reason.startswith("the body is not JSON")
    assert found.raw == text


@pytest.mark.parametrize("body", [b"\xff\xfe{\x00}\x00", b'{"id": "\xe9"}', b"\x80"])
def test_what_is_not_utf8_is_rejected_and_kept_as_base64(body: bytes) -> None:
    found = rejection(body)
    assert "not UTF-8" in found.reason
    assert base64.b64decode(found.raw) == body


@pytest.mark.parametrize("text", ["null", "1", '"text"', "true", "[[]]", "[7]"])
def test_an_event_is_an_object(text: str) -> None:
    assert rejection(text).reason.startswith("an event is a JSON object")


def test_an_empty_array_is_told() -> None:
    assert "empty array" in rejection("[]").reason


@pytest.mark.parametrize("change", [{"id": None}, {"id": ""}, {"id": "  "}, {"id": True}, {"id": ["1"]}, {"id": {}}])
def test_an_event_without_a_usable_id_is_rejected(change: dict[str, Any]) -> None:
    assert "has no id" in rejection(grid(**change)).reason


@pytest.mark.parametrize("type_", ["", " ", 5, [], {"a": 1}])
def test_an_event_without_a_usable_type_is_rejected_with_its_id(type_: Any) -> None:
    found = rejection(grid(eventType=type_))
    assert "has no eventType" in found.reason
    assert found.id == "1"


def test_an_object_of_neither_schema_is_rejected_with_its_id() -> None:
    found = rejection({"id": "abc", "data": {}})
    assert "neither eventType" in found.reason
    assert found.id == "abc"


def test_a_cloud_event_is_held_to_its_own_names() -> None:
    assert "has no type" in rejection({"specversion": "1.0", "id": "1", "eventType": "A.B"}).reason


@pytest.mark.parametrize("field", ["topic", "subject", "eventType"])
def test_a_field_of_a_thousand_characters_and_more_is_rejected_by_name(field: str) -> None:
    found = rejection(grid(**{field: "x" * 1025}))
    assert "1025 characters long" in found.reason


def test_a_path_may_be_four_times_as_long() -> None:
    assert event(grid(subject="/" + "x" * 4095)).subject.endswith("xxx")
    assert "4097 characters" in rejection(grid(subject="/" + "x" * 4096)).reason


@pytest.mark.parametrize("field", ["id", "topic", "subject", "eventType"])
def test_a_lone_surrogate_in_a_name_is_rejected(field: str) -> None:
    found = rejection(grid(**{field: "a\ud800b"}))
    assert "lone surrogate" in found.reason


def test_a_lone_surrogate_in_the_data_is_data() -> None:
    assert event(grid(data={"text": "\ud800"})).value("data.text") == "\ud800"


@pytest.mark.parametrize("field", ["topic", "subject"])
def test_a_name_that_is_not_text_is_rejected(field: str) -> None:
    assert "must be a string, it is list" in rejection(grid(**{field: [1]})).reason


def test_one_bad_event_of_a_batch_leaves_its_neighbours_alone() -> None:
    good, bad = grid(id="good"), {"no": "event"}
    read = parse(json.dumps([good, bad, 7, grid(id="last")]))
    assert [type(found) for found in read] == [Event, Rejection, Rejection, Event]
    assert json.loads(read[1].raw) == bad
    assert json.loads(read[0].raw) == good


@pytest.mark.parametrize("shape", ["[", '{"a":', '{"id":"1","eventType":"A.B","data":{"a":'])
def test_a_body_that_is_nested_too_deeply_is_rejected(shape: str) -> None:
    assert isinstance(parse(shape * 200_000)[0], Rejection)


def test_nesting_just_below_the_limit_is_an_event_or_a_rejection() -> None:
    limit = sys.getrecursionlimit()
    for depth in [*range(limit - 150, limit + 5), 3 * limit, 9_990, 10_000, 60_000]:
        data = '{"a":' * depth + "1" + "}" * depth
        assert len(parse("[" * depth + "]" * depth)) == 1
        assert len(parse('[{"id":"1","eventType":"A","data":' + data + "}]")) == 1


# -- nothing is ever raised ----------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["id", "Id", "topic", "source", "subject", "eventType", "type", "specversion", "eventTime", "time", "data"]
TIMES = st.datetimes().map(str) | st.sampled_from(["", "Z", "0001-01-01T00:00:00+23:59", "24:00", "2024-W01-1"])
NEARLY_EVENTS = st.dictionaries(st.sampled_from(NAMES), st.text(st.characters()) | TIMES | ANY_JSON)


def check(read: list[Event | Rejection]) -> None:
    assert read
    for found in read:
        if isinstance(found, Rejection):
            assert found.reason
            continue
        assert found.id.strip()
        assert found.type.strip()
        assert found.time is None or found.time.utcoffset() == dt.timedelta(0)
        (again,) = parse(found.raw)
        assert isinstance(again, Event)
        assert again.identity == found.identity, "what the journal keeps can be put through again"


@given(st.binary())
def test_any_bytes_are_read_or_rejected(body: bytes) -> None:
    check(parse(body))


@given(st.text(st.characters()))
def test_any_text_is_read_or_rejected(text: str) -> None:
    check(parse(text))


@given(NEARLY_EVENTS | ANY_JSON | st.lists(NEARLY_EVENTS | ANY_JSON, min_size=1))
@example({"id": "1", "eventType": "A.B", "data": {"n": 10**4000}})
def test_any_json_is_read_or_rejected_element_by_element(body: Any) -> None:
    read = parse(json.dumps(body))
    check(read)
    assert len(read) == (len(body) if isinstance(body, list) and body else 1)


def test_each_event_of_a_batch_is_kept_to_the_letter() -> None:
    first = '{"id": "a",  "eventType":"T.X", "data": {"n": 1.50, "s": "],\\u00e4"}}'
    second = '{"id":"b","eventType":"T.X"}'
    read = parse(f" [ {first} ,\n{second}, 7 ]")
    assert [item.raw for item in read] == [first, second, "7"]


WORDS = ("[", "]", ",", " ", "\n", "1", "null", '"x"', "{}", "[]", "[1]", '{"a": [1, 2]}', "\u00a0", "NaN", "x")


@given(st.lists(st.sampled_from(WORDS), max_size=9).map("".join))
def test_what_is_json_is_read_and_nothing_else_is(text: str) -> None:
    read = parse(text)
    try:
        body = json.loads(text)
    except ValueError:
        (only,) = read
        assert isinstance(only, Rejection)
        assert only.reason.startswith("the body is not JSON")
        return
    wanted = body if isinstance(body, list) and body else [body]
    assert repr([json.loads(one.raw) for one in read]) == repr(wanted)
