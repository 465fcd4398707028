"""Which routes want an event, under which key, and why not."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Event, parse
from shared.filters import Filter
from shared.lanes import LaneKey
from shared.routing import MAX_MATCHES, Route, Routes, SubjectPattern, match

COMMIT = "/blobServices/default/containers/bronze/blobs/{table}/_delta_log/{version:20d}.json"


def event(**changes: Any) -> Event:
    body = {"id": "1", "topic": "/t", "subject": "a/b", "eventType": "A.B", "data": {}} | changes
    (read,) = parse(json.dumps(body))
    assert isinstance(read, Event)
    return read


def route(name: str = "r", **changes: Any) -> Route:
    whole = Route(name, frozenset({"A.B"}), "{subject}", "emit", {})
    subject = changes.pop("subject", None)
    return dataclasses.replace(whole, subject=SubjectPattern.compile(subject) if subject else None, **changes)


def matched(read: Event, *routes: Route) -> Any:
    return match(read, Routes(tuple(routes), "digest"))


# -- subject patterns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "subject", "captured"),
    [
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/00000000000000000041.json",
         {"table": "demand", "version": "00000000000000000041"}),
        ("{a}/{b}", "x/y", {"a": "x", "b": "y"}),
        ("{rest:path}.csv", "deep/er/file.csv", {"rest": "deep/er/file"}),
        ("{c}/{rest:path}", "x/y/z", {"c": "x", "rest": "y/z"}),
        ("models/{name}:{version:2d}", "models/m:07", {"name": "m", "version": "07"}),
        ("plain", "plain", {}),
        ("a.b*c[d]({x})+", "a.b*c[d](1)+", {"x": "1"}),
    ],
)  # fmt: skip
def test_a_subject_pattern_captures_what_it_names(pattern: str, subject: str, captured: dict[str, str]) -> None:
    fits = SubjectPattern.compile(pattern).regex.fullmatch(subject)
    assert fits is not None
    assert fits.groupdict() == captured


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/41.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/00000000000000000041.json.tmp"),
        (COMMIT, "/blobServices/default/containers/silver/blobs/demand/_delta_log/00000000000000000041.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/a/b/_delta_log/00000000000000000041.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/0000000000000000004a.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/0000000000000000004٣.json"),
        ("{a}", ""),
        ("{rest:path}", ""),
        ("a.b", "axb"),
        ("Bronze/{t}", "bronze/x"),
        ("{a}/{b}", "x/y/z"),
    ],
)
def test_a_subject_pattern_fits_the_whole_subject_or_not_at_all(pattern: str, subject: str) -> None:
    assert SubjectPattern.compile(pattern).regex.fullmatch(subject) is None


@pytest.mark.parametrize("pattern", ["{a:int}", "{a:d}", "{a:-1d}", "{a:.*}", "{a:}", "{a:path }"])
def test_a_capture_is_of_one_of_three_kinds(pattern: str) -> None:
    with pytest.raises(ValueError, match="a capture is"):
        SubjectPattern.compile(pattern)


@pytest.mark.parametrize(
    "pattern", ["{", "}", "a{b", "{}", "{1a}", "{1bad}/{table}", "{a}/{2}", "{a}}", "{{a}}", "{a b}/{c}"]
)
def test_a_brace_that_names_no_capture_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="brace"):
        SubjectPattern.compile(pattern)


@given(st.text().filter(lambda text: "{" not in text and "}" not in text), st.text())
def test_a_pattern_without_captures_is_literal(pattern: str, subject: str) -> None:
    compiled = SubjectPattern.compile(pattern).regex
    assert compiled.fullmatch(pattern) is not None
    assert (compiled.fullmatch(subject) is not None) is (subject == pattern)


# -- matching ------------------------------------------------------------------------------------------------------


def test_an_event_of_a_type_that_no_route_listens_to_is_told_so() -> None:
    found = matched(event(eventType="C.D"), route())
    assert found.matches == ()
    assert found.reason == "no route listens to C.D"


def test_a_match_names_the_lane_and_what_was_captured() -> None:
    found = matched(event(subject="gold/demand"), route("train", subject="{layer}/{table}", key="{table}"))
    (only,) = found.matches
    assert only.lane == LaneKey("train", "demand")
    assert only.bindings == {"layer": "gold", "table": "demand"}
    assert found.reason == "matches train"


def test_every_route_that_wants_an_event_gets_it_and_the_others_say_why_not() -> None:
    found = matched(
        event(subject="x/y", data={"n": 5}),
        route("one"),
        route("two", subject="{a}-{b}"),
        route("three", where=(Filter("data.n", "NumberGreaterThan", (9,)),)),
        route("four", key="{data.nothing}"),
        route("five", types=frozenset({"C.D"})),
        route("six"),
    )
    assert [only.lane.route for only in found.matches] == ["one", "six"]
    assert found.reason == (
        "matches one, six; two: the subject does not fit {a}-{b}; "
        "three: data.n does not satisfy NumberGreaterThan [9]; four: its key needs data.nothing, which the event lacks"
    )


def test_all_filters_must_accept() -> None:
    where = (Filter("data.a", "NumberIn", (1,)), Filter("data.b", "IsNotNull"))
    assert matched(event(data={"A": 1, "B": 0}), route(where=where)).matches
    assert not matched(event(data={"A": 1}), route(where=where)).matches
    assert not matched(event(data={"A": 2, "B": 0}), route(where=where)).matches


@pytest.mark.parametrize(
    ("key", "data", "made"),
    [
        ("{data.name}:{data.version}", {"Name": "m", "Version": 20}, "m:20"),
        ("{data.version}", {"version": 20}, "20"),
        ("{data.flag}", {"flag": True}, "true"),
        ("{data.map}", {"map": {"b": 1, "a": "x"}}, '{"a": "x", "b": 1}'),
        ("fixed", {}, "fixed"),
        ("{type}|{source}|{id}", {}, "A.B|/t|1"),
    ],
)
def test_a_key_is_text_made_of_the_events_values(key: str, data: dict[str, Any], made: str) -> None:
    (only,) = matched(event(data=data), route(key=key)).matches
    assert only.lane.key == made


def test_a_capture_goes_before_a_field_of_the_same_name() -> None:
    (only,) = matched(event(subject="x/y"), route(subject="{subject}/{id}", key="{subject}-{id}")).matches
    assert only.lane.key == "x-y"


@pytest.mark.parametrize(
    ("value", "said"),
    [("", "0 characters"), ("x" * 513, "513 characters"), ("a\ud800b", "lone surrogate"), (None, "lacks")],
)
def test_a_key_that_no_lane_can_have_is_no_match(value: Any, said: str) -> None:
    found = matched(event(data={"k": value}), route(key="{data.k}"))
    assert found.matches == ()
    assert said in found.reason


def test_the_longest_key_has_512_characters() -> None:
    assert matched(event(data={"k": "x" * 512}), route(key="{data.k}")).matches


def test_captured_values_are_kept_up_to_four_kilobytes() -> None:
    subject = "/" + "x" * 4000
    assert matched(event(subject=subject), route(subject="{all:path}", key="k")).matches
    wide = matched(event(subject="/" + "ü" * 2500), route(subject="{all:path}", key="k"))
    assert wide.matches == ()
    assert "over 4096" in wide.reason


def test_an_event_matches_at_most_32_routes_and_says_so() -> None:
    found = matched(event(), *(route(f"r{number}") for number in range(40)))
    assert MAX_MATCHES == 32
    assert [only.lane.route for only in found.matches] == [f"r{number}" for number in range(32)]
    assert "only the first 32 of 40" in found.reason


def test_a_route_is_found_by_name() -> None:
    routes = Routes((route("a"), route("b")), "digest")
    assert routes.named("b") == route("b")
    assert routes.named("c") is None


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "K"]), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({"k": ANY, "n": ANY}))
def test_matching_any_data_raises_nothing_and_gives_storable_lanes(data: dict[str, Any]) -> None:
    wants = (Filter("data.n", "NumberNotIn", (5,)),)
    found = matched(event(data=data), route("a", key="{data.k}"), route("b", key="x{data.k.a}", where=wants))
    assert found.reason
    for only in found.matches:
        assert 1 <= len(only.lane.key) <= 512
        assert len(only.lane.partition) == 32
