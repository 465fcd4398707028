"""Routes as data: what the shipped file says, and what is said about a faulty one."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared import wiring
from shared.actions.azureml_pipeline import AzureMLPipeline
from shared.actions.databricks_job import DatabricksJob
from shared.actions.drift import Drift
from shared.actions.emit import Emit
from shared.actions.release import Release
from shared.adapters import yaml_file
from shared.durations import duration
from shared.errors import ConfigurationError
from shared.events import SOURCE_TYPES, Event, parse
from shared.filters import Filter
from shared.flow import Busy
from shared.observations import Failure
from shared.route_file import read
from shared.routing import Emits, Routes, match

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "tests" / "events"
KINDS = {"databricks_job": DatabricksJob, "azureml_pipeline": AzureMLPipeline, "release": Release, "drift": Drift,
         "emit": Emit}  # fmt: skip
GUARDS = {"delta_data_change": lambda options: [f"option {name} is not known" for name in options]}

# What a faulty action says of its options is up to the action; this one wants an option `job`.
CHECKS = {"emit": lambda _: [], "work": lambda options: [] if "job" in options else ["option job is missing"]}


def shipped() -> Routes:
    checks = {name: kind.__new__(kind).faults for name, kind in KINDS.items()}  # type: ignore[misc]
    return read(yaml_file.load(ROOT / "routes.yaml"), "routes.yaml", checks, wiring.GUARDS)


def body(**changes: Any) -> dict[str, Any]:
    """A route in order; a change to None takes the key away."""
    whole = {"events": ["A.B"], "key": "{subject}", "action": "work", "with": {"job": "j"}} | changes
    return {key: value for key, value in whole.items() if value is not None}


def load(**routes: Any) -> Routes:
    return read({"routes": routes}, "rules.yaml", CHECKS, GUARDS)


def faults(**routes: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(**routes)
    return list(caught.value.faults)


def fault(**changes: Any) -> str:
    (only,) = faults(r=body(**changes))
    return only


# -- the shipped file ----------------------------------------------------------------------------------------------


def test_the_shipped_routes_load() -> None:
    assert [route.name for route in shipped().routes] == [
        "curate", "served", "drift", "model-monitor", "dataset-monitor", "train", "registered", "packaged", "release",
    ]  # fmt: skip


def test_the_shipped_routes_settle_and_retry_as_the_file_says() -> None:
    curate = shipped().named("curate")
    assert curate is not None
    assert (curate.flow.settle, curate.flow.settle_max) == (dt.timedelta(seconds=2), dt.timedelta(seconds=30))
    assert (curate.retry.attempts, curate.retry.delay) == (3, dt.timedelta(seconds=30))
    assert curate.retry.failures == {Failure.TRANSIENT, Failure.TIMEOUT}
    assert (curate.timeout, curate.guard) == (dt.timedelta(hours=1), "delta_data_change")
    assert curate.emits is not None
    assert curate.emits.type == "Sluice.DatasetPublished"


@pytest.mark.parametrize(
    ("sample", "lanes"),
    [
        ("blob_created", [("curate", "demand")]),
        ("blob_renamed", [("curate", "demand")]),
        ("blob_deleted", []),
        ("directory_created", []),
        ("directory_renamed", []),
        ("directory_deleted", []),
        ("image_pushed", [("packaged", "demand-forecast:12"), ("release", "demand-forecast")]),
        ("image_deleted", []),
        ("chart_pushed", []),
        ("chart_deleted", []),
        ("model_registered", [("registered", "demand-forecast:12"), ("packaged", "demand-forecast:12")]),
        ("model_deployed", []),
        ("run_completed", []),
        ("dataset_drift_detected", [("dataset-monitor", "demand")]),
        ("run_status_changed", []),
    ],
)
@pytest.mark.parametrize("schema", ["event_grid", "cloud_events"])
def test_the_four_reacting_types_react_and_the_rest_is_ignored_with_a_reason(
    sample: str, schema: str, lanes: list[tuple[str, str]]
) -> None:
    (event,) = parse((EVENTS / f"{sample}.{schema}.json").read_bytes())
    assert isinstance(event, Event)
    found = match(event, shipped())
    assert [(only.lane.route, only.lane.key) for only in found.matches] == lanes
    assert found.reason


def test_a_status_that_tells_of_a_breach_of_a_model_monitor_reacts() -> None:
    document = json.loads((EVENTS / "run_status_changed.event_grid.json").read_text(encoding="utf-8"))
    (body_,) = document if isinstance(document, list) else [document]
    body_["data"]["RunTags"] = {
        "azureml_modelmonitor_threshold_breached": "drift has failed due to one or more "
        "features violating metric thresholds"
    }
    body_["data"].pop("runTags", None)
    (event,) = parse(json.dumps(body_))
    assert isinstance(event, Event)
    (only,) = match(event, shipped()).matches
    assert (only.lane.route, only.lane.key) == ("model-monitor", "demand")


@pytest.mark.parametrize(
    ("sample", "lane"),
    [
        ("quirk_model_registered_pascal_case_keys_and_a_number", ("registered", "demand-forecast:12")),
        ("quirk_image_pushed_short_type_and_data_as_a_json_string", ("release", "demand-forecast")),
        ("quirk_dataset_drift_detected_number_as_a_string", ("dataset-monitor", "demand")),
        ("quirk_blob_created_misspelt_spec_version_and_unknown_attributes", ("curate", "demand")),
        ("quirk_blob_created_numbers_as_strings", ("curate", "demand")),
    ],
)
def test_real_spellings_react_like_documented_ones(sample: str, lane: tuple[str, str]) -> None:
    (event,) = parse((EVENTS / f"{sample}.json").read_bytes())
    assert isinstance(event, Event)
    assert lane in [(found.lane.route, found.lane.key) for found in match(event, shipped()).matches]


# -- a route in order ----------------------------------------------------------------------------------------------


def test_a_short_route_has_the_documented_defaults() -> None:
    (route,) = load(r=body()).routes
    assert route.types == {"A.B"}
    assert (route.subject, route.where, route.guard, route.emits) == (None, (), None, None)
    assert (route.flow.settle, route.flow.settle_max) == (dt.timedelta(0), dt.timedelta(0))
    assert (route.retry.attempts, route.retry.delay) == (3, dt.timedelta(seconds=30))
    assert route.retry.failures == {Failure.TRANSIENT}
    assert route.timeout == dt.timedelta(hours=1)


def test_a_long_route_is_read_key_by_key() -> None:
    (route,) = load(
        r=body(
            events="A.B", subject="{table}/{rest:path}", key="{table}-{data.x}", guard="delta_data_change",
            where=[{"key": "data.n", "operator": "NumberIn", "values": [1, 2]}, {"key": "id", "operator": "IsNotNull"},
                   {"key": "data.s", "operator": "StringIn", "values": "one"}],
            settle="5s", concurrency=1, when_busy="collect", timeout="2h",
            retry={"attempts": 5, "delay": "1m", "failures": ["timeout"]},
            emits={"type": "Sluice.X", "subject": "{key}", "data": {"v": "{result.v}"}},
            **{"with": {"job": "{table}-{event.data.n}-{settings.account}"}},
        )
    ).routes  # fmt: skip
    assert route.subject is not None
    assert route.subject.text == "{table}/{rest:path}"
    assert route.where == (
        Filter("data.n", "NumberIn", (1, 2)), Filter("id", "IsNotNull"), Filter("data.s", "StringIn", ("one",)),
    )  # fmt: skip
    assert (route.flow.settle, route.flow.settle_max) == (dt.timedelta(seconds=5), dt.timedelta(seconds=50))
    assert (route.retry.attempts, route.retry.delay.total_seconds()) == (5, 60)
    assert route.retry.failures == {Failure.TIMEOUT}
    assert route.emits == Emits("Sluice.X", "{key}", {"v": "{result.v}"})
    assert route.options == {"job": "{table}-{event.data.n}-{settings.account}"}


def test_a_join_fires_once_unless_the_file_says_otherwise() -> None:
    keys = {"A.B": "{data.name}/{data.version}", "C.D": "{data.repository}/{data.tag}"}
    (joined,) = load(r=body(**JOINS, key=keys)).routes
    assert (joined.flow.wait_for, joined.flow.once, joined.keys) == (frozenset(JOINS["events"]), True, keys)
    (again,) = load(r=body(**JOINS, once=False)).routes
    assert not again.flow.once


def test_the_digest_changes_with_the_rules_and_with_nothing_else() -> None:
    same = read({"routes": {"r": dict(reversed(body().items()))}}, "other.yaml", CHECKS, GUARDS)
    assert load(r=body()).digest == same.digest
    assert load(r=body()).digest != load(r=body(settle="1s")).digest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1.5m", 90), ("1h", 3600), ("1d", 86400), (" 3s ", 3), ("0s", 0)],
)
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["5", "s", "", "-1s", "1 s", "1w", 5, None, "1e3s", "9" * 30 + "d", "9" * 400 + "s"])
def test_what_is_no_duration_is_named(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


# -- each fault names file, route and key --------------------------------------------------------------------------

JOINS = {"events": ["A.B", "C.D"], "wait_for": ["A.B", "C.D"], "within": "1h"}


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("events", {"events": None}, "needs an event type or a list"),
        ("events", {"events": []}, "needs an event type or a list"),
        ("events", {"events": [5]}, "needs an event type or a list"),
        ("events", {"events": "BlobCreated"}, "'BlobCreated' is not a full event type, Microsoft.Storage.BlobCreated"),
        ("events", {"events": ["Unheard"]}, "'Unheard' is not a full event type"),
        ("subject", {"subject": "{a:int}"}, "a capture is"),
        ("subject", {"subject": "{a}/{a}"}, "redefinition"),
        ("subject", {"subject": "a}"}, "brace"),
        ("key", {"key": None}, "needs a template"),
        ("key", {"key": 5}, "needs a template"),
        ("key", {"key": "{table}"}, "{table} is none of"),
        ("key", {"key": "{data.x}-{a b}"}, "not a dotted name"),
        ("key", {"key": "{subject"}, "brace"),
        ("where", {"where": 5}, "a filter has key, operator and values"),
        ("where", {"where": {"key": "a"}}, "a filter has key, operator and values"),
        ("where", {"where": ["x"]}, "a filter has key, operator and values"),
        ("where", {"where": [{"key": "a", "operator": "IsNotNull", "value": 1}]}, "a filter has key, operator"),
        ("where", {"where": [{"key": "a", "operator": "Like", "values": ["x"]}]}, "'Like' is not one of BoolEquals"),
        ("where", {"where": [{"key": "a", "operator": ["x"], "values": ["x"]}]}, "is not one of"),
        ("where", {"where": [{"key": "a", "operator": "NumberInRange", "values": [1, 5]}]}, "pairs of numbers"),
        ("where", {"where": [{"key": "a", "operator": "StringIn"}]}, "at least one value"),
        ("guard", {"guard": "sleepy"}, "'sleepy' is none of delta_data_change"),
        ("guard", {"guard": ["sleepy"]}, "is none of delta_data_change"),
        ("guard", {"guard": {"sleepy": {}}}, "'sleepy' is none of delta_data_change"),
        ("guard", {"guard": {"delta_data_change": 5}}, "the options of delta_data_change are a mapping"),
        ("guard", {"guard": {"delta_data_change": {"x": 1}}}, "option x is not known"),
        ("settle", {"settle": "5"}, "not a duration"),
        ("settle_max", {"settle": "1m", "settle_max": "5s"}, "shorter than settle"),
        ("timeout", {"timeout": 60}, "not a duration"),
        ("timeout", {"timeout": "0s"}, "longer than nothing"),
        ("timeout", {"timeout": {"queue": "1m"}}, "has start and finish"),
        ("timeout", {"timeout": {"start": "soon"}}, "'soon' is not a duration"),
        ("concurrency", {"concurrency": 0}, "0 is not a whole number from 1 to 1000"),
        ("concurrency", {"concurrency": True}, "True is not a whole number"),
        ("concurrency", {"concurrency": 5, "limit": 3}, "5 is above the route's limit, 3"),
        ("limit", {"limit": "many"}, "'many' is not a whole number"),
        ("when_busy", {"when_busy": "supersede", "concurrency": 2}, "no one run that the next could replace"),
        ("cooldown", {"cooldown": "1m", "concurrency": 2}, "makes no sense with concurrency above 1"),
        ("wait_for", {"wait_for": ["A.B"], "within": "1h"}, "at least two of the types in events"),
        ("wait_for", {**JOINS, "wait_for": ["A.B", "E.F"]}, "at least two of the types in events"),
        ("within", {"events": ["A.B", "C.D"], "wait_for": ["A.B", "C.D"]}, "is needed with wait_for"),
        ("within", {"within": "1h"}, "makes no sense without wait_for"),
        ("batch_max", {**JOINS, "settle": "1s", "batch_max": 3}, "makes no sense with wait_for"),
        ("once", {"once": "always"}, "'always' is neither true nor false"),
        ("when_busy", {"once": True, "when_busy": "skip"}, "skip makes no sense with once"),
        ("cooldown", {"once": True, "cooldown": "1m"}, "makes no sense with once"),
        ("concurrency", {"once": True, "concurrency": 2}, "makes no sense with once"),
        ("approval", {"approval": True}, "says how long a person has to decide"),
        ("approval", {"approval": {"within": "0s"}}, "longer than nothing"),
        ("key", {"key": {"C.D": "{subject}"}}, "a template for each type in events"),
        ("key", {"key": {"A.B": "{nothing}"}}, "{nothing} is none of"),
        ("when_busy", {"when_busy": "queue"}, "'queue' is none of collect, supersede, skip"),
        ("when_busy", {"when_busy": []}, "[] is none of collect"),
        ("batch_max", {"batch_max": 0, "settle": "1s"}, "0 is not a whole number, at least 1"),
        ("batch_max", {"batch_max": 5}, "makes no sense without settle"),
        ("settle_max", {"settle_max": "5s"}, "makes no sense without settle"),
        ("cooldown", {"cooldown": "soon"}, "'soon' is not a duration"),
        ("retry", {"retry": 3}, "has attempts, delay and failures"),
        ("retry", {"retry": {"times": 3}}, "has attempts, delay and failures"),
        ("retry", {"retry": {"attempts": 0}}, "attempts: 0 is not a whole number"),
        ("retry", {"retry": {"attempts": True}}, "attempts: True is not a whole number"),
        ("retry", {"retry": {"attempts": 2.5}}, "attempts: 2.5 is not a whole number"),
        ("retry", {"retry": {"delay": "soon"}}, "not a duration"),
        ("retry", {"retry": {"failures": "transient"}}, "is not a list of"),
        ("retry", {"retry": {"failures": ["bad luck"]}}, "is not a list of permanent, timeout, transient"),
        ("action", {"action": "dance"}, "'dance' is none of emit, work"),
        ("action", {"action": None}, "is none of emit, work"),
        ("with", {"with": ["job"]}, "a mapping"),
        ("with", {"with": {"jobs": 1}}, "option job is missing"),
        ("with", {"with": {"job": "{nothing}"}}, "{nothing} is none of"),
        ("with", {"with": {"job": "{result.x}"}}, "{result.x} is none of"),
        ("emits", {"emits": "Sluice.X"}, "has type"),
        ("emits", {"emits": {"subject": "x"}}, "has type"),
        ("emits", {"emits": {"type": "Sluice.X", "date": {}}}, "has type"),
        ("emits", {"emits": {"type": "Sluice.X", "data": "text"}}, "data"),
        ("emits", {"emits": {"type": "Sluice.X", "data": {"a": "{event.id}"}}}, "{event.id} is none of"),
        ("emits", {"emits": {"type": "Sluice.X", "subject": "{table}"}, "subject": "{table}"}, "{table} is none of"),
        ("settle-max", {"settle-max": "5s"}, "there is no such key; the keys are action, approval, batch_max"),
        ("5", {5: "x"}, "there is no such key"),  # type: ignore[dict-item]
    ],
)  # fmt: skip
def test_a_fault_names_file_route_and_key(key: str, change: Mapping[str, Any], said: str) -> None:
    route = {name: value for name, value in {**body(), **change}.items() if value is not None}
    (only,) = faults(r=route)
    assert only.startswith(f"rules.yaml: route r: {key}: ")
    assert said in only


@pytest.mark.parametrize("name", ["", "Train", "1st", "a_b", "a" * 41, "a b", "-a"])
def test_a_name_that_no_table_or_backend_could_keep_is_a_fault(name: str) -> None:
    (only,) = faults(**{name: body()})
    assert only.startswith(f"rules.yaml: route {name}: name: ")


@pytest.mark.parametrize("route", [None, 5, "x", []])
def test_a_route_that_is_no_mapping_is_a_fault(route: Any) -> None:
    assert any(only == "rules.yaml: route r: body: a route is a mapping of keys" for only in faults(r=route))


@pytest.mark.parametrize(
    "document", [None, [], "x", {}, *({"routes": nothing} for nothing in (None, [], {}, 5)), {"r": {}}]
)
def test_a_file_without_routes_is_a_fault(document: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^rules.yaml: needs a key `routes`"):
        read(document, "rules.yaml", CHECKS, GUARDS)


def test_every_fault_of_every_route_is_reported_at_once() -> None:
    found = faults(
        one=body(settle="x", timeout="y", key="{nope}"),
        two=body(action="dance", concurrency="lots"),
        three=body(),
        four="text",
    )
    places = [re.match(r"rules.yaml: route (\w+): (\w+): ", fault) for fault in found]
    named = {(place[1], place[2]) for place in places if place}
    assert named >= {("one", "settle"), ("one", "timeout"), ("one", "key"), ("two", "action"), ("two", "concurrency"),
                     ("four", "body")}  # fmt: skip
    assert all(places)
    assert "three" not in {route for route, _ in named}


# -- the file itself -----------------------------------------------------------------------------------------------


def yaml_fault(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        yaml_file.load(path)
    (only,) = caught.value.faults
    return only


def test_a_key_that_is_there_twice_is_named_with_its_line(tmp_path: Path) -> None:
    said = yaml_fault(tmp_path, "routes:\n  one:\n    key: a\n    settle: 1s\n    key: b\n")
    assert said == "rules.yaml: not YAML: line 5: the key 'key' is there twice"


def test_a_route_that_is_there_twice_is_named(tmp_path: Path) -> None:
    assert "the key 'one' is there twice" in yaml_fault(tmp_path, "routes:\n  one: {}\n  one: {}\n")


@pytest.mark.parametrize("text", ["routes: [", "a: b: c", "\t", "r: !!python/object:os.system {}", "? {a: 1}\n: 2"])
def test_what_is_not_plain_yaml_is_an_error_that_names_the_file(text: str, tmp_path: Path) -> None:
    assert yaml_fault(tmp_path, text).startswith("rules.yaml: not YAML: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^none.yaml: there is no such file at "):
        yaml_file.load(tmp_path / "none.yaml")


def test_a_file_that_is_not_utf8_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"routes: \xff")
    with pytest.raises(ConfigurationError, match=r"^rules.yaml: "):
        yaml_file.load(path)


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", encoding="utf-8")
    assert yaml_file.load(path) == {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}}


# -- whatever the file says ----------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(
    ["", "1s", "{subject}", "{", "work", "emit", "A.B", "IsNotNull", "NumberInRange", "transient", "{a:path}", "{a b}"]
)  # fmt: skip
KEYS = ["events", "subject", "where", "key", "guard", "settle", "settle_max", "concurrency", "when_busy", "retry",
        "timeout", "action", "with", "emits", "attempts", "delay", "failures", "type", "data", "operator", "values",
        "job"]  # fmt: skip
NAMES = st.sampled_from(KEYS) | st.integers(0, 2)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
ROUTES = st.dictionaries(
    st.sampled_from(["r", "two", "Bad"]) | st.integers(0, 1), st.dictionaries(st.sampled_from(KEYS), ANY) | ANY
)


@settings(max_examples=100, deadline=None)
@given(ROUTES)
@example({"r": {"events": ["A.B"], "key": "k", "action": "work", "with": {"job": {1: "x", "a": "y"}}}})
def test_any_document_is_read_or_refused_with_faults_that_name_the_route(routes: dict[Any, Any]) -> None:
    said: tuple[str, ...] = ()
    found = Routes((), "")
    try:
        found = read({"routes": routes}, "rules.yaml", CHECKS, GUARDS)
    except ConfigurationError as error:
        said = error.faults
    assert all(fault.startswith("rules.yaml: ") for fault in said)
    assert bool(said) is not bool(found.routes)
    (event,) = parse('{"id": "1", "eventType": "A.B", "subject": "s", "data": {"a": 10}}')
    assert isinstance(event, Event)
    assert match(event, found).reason


def test_every_source_type_can_be_routed() -> None:
    (route,) = load(r=body(events=list(SOURCE_TYPES))).routes
    assert route.types == set(SOURCE_TYPES)


def test_yaml_and_its_plain_reading_agree_on_the_shipped_file() -> None:
    text = (ROOT / "routes.yaml").read_text(encoding="utf-8")
    assert yaml_file.load(ROOT / "routes.yaml") == yaml.safe_load(text)


def test_a_guard_may_have_options() -> None:
    (route,) = load(r=body(guard={"delta_data_change": {}})).routes
    assert (route.guard, route.guard_options) == ("delta_data_change", {})


def test_a_start_and_an_attempt_may_have_timeouts_of_their_own() -> None:
    (both,) = load(r=body(timeout="2h")).routes
    assert (both.start_timeout, both.timeout) == (dt.timedelta(hours=2), dt.timedelta(hours=2))
    (each,) = load(r=body(timeout={"start": "5m", "finish": "3h"})).routes
    assert (each.start_timeout, each.timeout) == (dt.timedelta(minutes=5), dt.timedelta(hours=3))


def test_a_lane_may_supersede_cool_down_and_start_early() -> None:
    (route,) = load(r=body(settle="5s", batch_max=10, cooldown="1h", when_busy="supersede")).routes
    assert (route.flow.batch_max, route.flow.cooldown) == (10, dt.timedelta(hours=1))
    assert route.flow.when_busy is Busy.SUPERSEDE


# -- the schema for editors ----------------------------------------------------------------------------------------

SCHEMA = json.loads((ROOT / "docs" / "routes.schema.json").read_text(encoding="utf-8"))


def test_the_shipped_file_fits_the_schema_that_editors_use() -> None:
    jsonschema.validate(yaml_file.load(ROOT / "routes.yaml"), SCHEMA)


def test_the_schema_knows_the_keys_of_the_loader_and_no_others() -> None:
    route = SCHEMA["properties"]["routes"]["additionalProperties"]
    said = fault(bogus=1)
    assert set(route["properties"]) == set(said.split("the keys are ")[1].split(", "))
    assert route["additionalProperties"] is False


@pytest.mark.parametrize("change", [{"when_busy": "queue"}, {"settle": "soon"}, {"retry": {"on": []}}, {"bogus": 1}])
def test_what_the_loader_refuses_the_schema_underlines(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"routes": {"r": body(**change)}}, SCHEMA)
