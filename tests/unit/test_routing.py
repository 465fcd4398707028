"""Which routes want an event, under which key, and why not."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Event, parse
from shared.filters import OPERATORS, Filter
from shared.lanes import LaneKey
from shared.routing import MAX_MATCHES, Route, Routes, match
from shared.subject_pattern import SubjectPattern


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
        "matches one, six; three: data.n does not satisfy NumberGreaterThan [9]; "
        "four: its key needs data.nothing, which the event lacks; two: the subject does not fit {a}-{b}"
    )


def test_of_many_routes_that_do_not_take_an_event_five_are_told_those_first_whose_subject_fits() -> None:
    others = [route(f"o{number}", subject="{a}-{b}") for number in range(50)]
    found = matched(event(subject="x/y"), *others, route("near", key="{data.nothing}"))
    told = [f"o{number}: the subject does not fit {{a}}-{{b}}" for number in range(4)]
    near = "near: its key needs data.nothing, which the event lacks"
    assert found.reason == "; ".join([near, *told, "46 more do not take it"])
    nearer = matched(event(subject="x/y"), *others, *(route(f"n{n}", key="{data.nothing}") for n in range(7)))
    assert [part.partition(":")[0] for part in nearer.reason.split("; ")[:-1]] == ["n0", "n1", "n2", "n3", "n4"]
    assert nearer.reason.endswith("; 52 more do not take it")


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


def test_what_is_said_of_events_that_are_refused_alike_holds_for_each_of_them() -> None:
    other = route("b", where=(Filter("data.n", "NumberIn", (1,)),))
    routes = Routes((route("a", key="{data.k}"), other), "digest")
    found = [match(event(data=data), routes) for data in ({"k": "x"}, {}, {"k": "y"}, {"k": "x", "n": 1})]
    assert [[only.lane.key for only in one.matches] for one in found] == [["x"], [], ["y"], ["x", "a/b"]]
    assert found[0].reason == found[2].reason == "matches a; b: data.n does not satisfy NumberIn [1]"
    assert found[1].reason.startswith("a: its key needs data.k, which the event lacks; b: ")
    assert found[3].reason == "matches a, b"


def test_a_route_is_found_by_name() -> None:
    routes = Routes((route("a"), route("b")), "digest")
    assert routes.named("b") == route("b")
    assert routes.named("c") is None


# -- matching by prepared rules is matching by the definition -------------------------------------------------------


def wanted(read: Event, route: Route) -> tuple[LaneKey, dict[str, str]] | None:
    """The definition, without any preparation: type, subject, each filter by its documentation, then the key."""
    fits = re.fullmatch(route.subject.regex, read.subject) if route.subject else None
    if read.type not in route.types or (route.subject and not fits):
        return None
    if not all(satisfied(one, read.value(one.key)) for one in route.where):
        return None
    captured = fits.groupdict() if fits else {}
    parts = re.split(r"\{([\w.]+)\}", route.key)
    found = [captured.get(part, read.value(part)) if number % 2 else part for number, part in enumerate(parts)]
    key = "".join(part if isinstance(part, str) else json.dumps(part, sort_keys=True) for part in found)
    return (LaneKey(route.name, key), captured) if None not in found and 1 <= len(key) <= 512 else None


def satisfied(one: Filter, seen: Any) -> bool:
    if seen is None or "Null" in one.operator:
        return (seen is None) is (one.operator in {"NumberNotIn", "StringNotIn", "IsNullOrUndefined"})
    positive = TESTS[one.operator.replace("Not", "")]
    hit = any(positive(each, value) for each in (seen if isinstance(seen, list) else [seen]) for value in one.values)
    return hit is ("Not" not in one.operator)


def number(value: Any) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def text(test: Any) -> Any:
    return lambda seen, value: isinstance(seen, str) and test(seen.lower(), str(value).lower())


TESTS: dict[str, Any] = {
    "NumberIn": lambda seen, value: number(seen) == number(value),
    "NumberLessThan": lambda seen, value: number(seen) < number(value),
    "NumberGreaterThan": lambda seen, value: number(seen) > number(value),
    "NumberLessThanOrEquals": lambda seen, value: number(seen) <= number(value),
    "NumberGreaterThanOrEquals": lambda seen, value: number(seen) >= number(value),
    "NumberInRange": lambda seen, value: number(value[0]) <= number(seen) <= number(value[1]),
    "BoolEquals": lambda seen, value: seen is value,
    "StringIn": text(lambda seen, value: seen == value),
    "StringContains": text(lambda seen, value: value in seen),
    "StringBeginsWith": text(lambda seen, value: seen.startswith(value)),
    "StringEndsWith": text(lambda seen, value: seen.endswith(value)),
}
NUMBERS = st.sampled_from([0, 1, 2.5, 7, "1", "x", math.nan, True])
TEXTS = st.sampled_from(["", "a", "A", "ab", "b/c", "ü", "1"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
PATHS = st.sampled_from(["subject", "data.n", "data.t", "data.deep.t", "type", "data.none", "data"])


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    operator = draw(st.sampled_from(sorted(OPERATORS)))
    pair = st.tuples(*[NUMBERS.filter(lambda value: not math.isnan(number(value)))] * 2)
    kind = (
        pair if "Range" in operator
        else NUMBERS if operator.startswith("Number")
        else st.booleans() if operator == "BoolEquals"
        else TEXTS
    )  # fmt: skip
    values = () if "Null" in operator else tuple(draw(st.lists(kind, min_size=1, max_size=3)))
    return Filter(draw(PATHS), operator, values)


@st.composite
def rules(draw: st.DrawFn) -> list[Route]:
    patterns = st.sampled_from([None, "a/{t}", "{t}/b", "a/{t}/{u}", "{all:path}", "a/b", "{v:2d}", "a{t}a", "{t}"])
    keys = st.sampled_from(["{t}", "{subject}", "k-{data.n}", "{data.deep.t}/{type}", "fixed", "{data}"])
    found = draw(st.lists(st.tuples(patterns, keys, st.lists(filters(), max_size=2)), min_size=1, max_size=8))
    types = st.sampled_from([frozenset({"A.B"}), frozenset({"C.D"}), frozenset({"A.B", "C.D"})])
    return [
        route(f"r{place}", subject=subject, key=key, where=tuple(where), types=draw(types))
        for place, (subject, key, where) in enumerate(found)
    ]


@given(
    rules(),
    st.sampled_from(["a/b", "a/b/b", "x/b", "a/", "12", "aa", "aba", "a", "ü/b", ""]),
    st.sampled_from(["A.B", "C.D", "E.F"]),
    st.fixed_dictionaries(
        {}, optional={"n": SCALARS | st.lists(SCALARS, max_size=3), "T": SCALARS, "deep": SCALARS | st.just({"t": "q"})}
    ),
)
def test_prepared_rules_match_what_their_definition_matches(
    routes: list[Route], subject: str, type_: str, data: dict[str, Any]
) -> None:
    read = event(subject=subject, eventType=type_, data=data)
    found = matched(read, *routes)
    expected = [wanted(read, one) for one in routes]
    assert [(only.lane, dict(only.bindings)) for only in found.matches] == [one for one in expected if one is not None]
    for told in re.findall(r"r(\d): ", found.reason):
        assert expected[int(told)] is None
        assert type_ in routes[int(told)].types


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
