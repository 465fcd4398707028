"""Event Grid's advanced filter operators, as its documentation describes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.filters import OPERATORS, Filter, Filters, fault

DOCUMENTED = {
    "NumberIn", "NumberNotIn", "NumberLessThan", "NumberGreaterThan", "NumberLessThanOrEquals",
    "NumberGreaterThanOrEquals", "NumberInRange", "NumberNotInRange", "BoolEquals", "StringContains",
    "StringNotContains", "StringBeginsWith", "StringNotBeginsWith", "StringEndsWith", "StringNotEndsWith", "StringIn",
    "StringNotIn", "IsNullOrUndefined", "IsNotNull",
}  # fmt: skip

# Values that each operator is given where the test is about something else.
VALUES: dict[str, tuple[Any, ...]] = {
    operator: ((1, 5),) if "Range" in operator
    else (1, 5) if operator.startswith("Number")
    else (True,) if operator == "BoolEquals"
    else () if "Null" in operator
    else ("ab", "CD")
    for operator in DOCUMENTED
}  # fmt: skip
POSITIVE_NUMBERS = [name for name in sorted(DOCUMENTED) if name.startswith("Number") and "Not" not in name]
NEGATIVE = [name for name in sorted(DOCUMENTED) if "Not" in name and "Null" not in name]


def accepts(operator: str, seen: Any, *values: Any) -> bool:
    asked = Filters()
    asked.add(Filter("data.x", operator, values), 1)
    return asked.refused(seen) == 0


def test_the_operators_are_the_documented_ones() -> None:
    assert OPERATORS == DOCUMENTED


@pytest.mark.parametrize(
    ("operator", "values", "accepted", "refused"),
    [
        ("NumberIn", (3, 21), [3, 21, 3.0], [4, 0, -3]),
        ("NumberNotIn", (3, 21), [4, 0], [3, 21]),
        ("NumberLessThan", (100,), [99, -1, 99.9], [100, 101]),
        ("NumberGreaterThan", (20,), [21, 20.1], [20, -20]),
        ("NumberLessThanOrEquals", (100,), [99, 100], [100.5, 101]),
        ("NumberGreaterThanOrEquals", (30,), [30, 31], [29.9, 0]),
        ("NumberInRange", ((3.14159, 999.95), (3000, 4000)), [3.14159, 999.95, 3000, 4000, 500], [3, 1000, 4001]),
        ("NumberNotInRange", ((3.14159, 999.95), (3000, 4000)), [3, 1000, 4001], [3.14159, 999.95, 3500]),
        ("BoolEquals", (True,), [True], [False]),
        ("BoolEquals", (False,), [False], [True]),
        ("StringContains", ("microsoft", "azure"), ["a Microsoft b", "AZURE"], ["micro soft", ""]),
        ("StringNotContains", ("contoso", "fabrikam"), ["azure", ""], ["xContosox", "FABRIKAM"]),
        ("StringBeginsWith", ("event", "message"), ["Eventgrid", "MESSAGE"], ["an event", ""]),
        ("StringNotBeginsWith", ("event", "message"), ["an event", ""], ["eventgrid", "Messages"]),
        ("StringEndsWith", ("jpg", "png"), ["a.JPG", "png"], ["jpg.a", ""]),
        ("StringNotEndsWith", ("jpg", "png"), ["a.gif", ""], ["a.jpg", "a.PNG"]),
        ("StringIn", ("exact", "string matches"), ["EXACT", "string matches"], ["exact ", "string"]),
        ("StringNotIn", ("aws", "bridge"), ["azure", ""], ["AWS", "bridge"]),
        ("IsNullOrUndefined", (), [None], ["", 0, False, [], {}]),
        ("IsNotNull", (), ["", 0, False, [], {}], [None]),
    ],
)
def test_an_operator_accepts_and_refuses_what_the_documentation_says(
    operator: str, values: tuple[Any, ...], accepted: list[Any], refused: list[Any]
) -> None:
    assert [seen for seen in accepted if not accepts(operator, seen, *values)] == []
    assert [seen for seen in refused if accepts(operator, seen, *values)] == []


@pytest.mark.parametrize("operator", sorted(DOCUMENTED))
def test_a_missing_key_matches_only_the_documented_three(operator: str) -> None:
    expected = operator in {"NumberNotIn", "StringNotIn", "IsNullOrUndefined"}
    assert accepts(operator, None, *VALUES[operator]) is expected


@pytest.mark.parametrize("operator", ["NumberIn", "NumberGreaterThanOrEquals", "NumberLessThanOrEquals"])
@pytest.mark.parametrize("seen", ["5", "5.0", " 5 ", 5, 5.0])
def test_numbers_also_arrive_as_strings(operator: str, seen: Any) -> None:
    assert accepts(operator, seen, 5)
    assert accepts("NumberInRange", seen, (5, 5))


@pytest.mark.parametrize("operator", POSITIVE_NUMBERS)
@pytest.mark.parametrize("seen", ["five", "", True, False, [], {}, {"5": 5}])
def test_what_is_not_a_number_satisfies_no_positive_number_operator(operator: str, seen: Any) -> None:
    assert not accepts(operator, seen, *VALUES[operator])


@pytest.mark.parametrize("seen", ["true", "True", 1, 0, "false", []])
def test_only_a_boolean_equals_a_boolean(seen: Any) -> None:
    assert not accepts("BoolEquals", seen, True)
    assert not accepts("BoolEquals", seen, False)


@pytest.mark.parametrize("seen", [5, True, {}, {"ab": "ab"}])
def test_what_is_not_text_satisfies_no_positive_string_operator(seen: Any) -> None:
    for operator in ("StringIn", "StringContains", "StringBeginsWith", "StringEndsWith"):
        assert not accepts(operator, seen, "ab", "5", "True")


def test_any_element_of_an_array_is_enough() -> None:
    assert accepts("StringIn", ["x", "AB"], "ab")
    assert accepts("NumberInRange", [9, 3], (1, 5))
    assert not accepts("StringIn", ["x", 5], "ab")


def test_a_not_operator_wants_none_of_an_array() -> None:
    assert accepts("StringNotIn", ["x", "y"], "ab")
    assert not accepts("StringNotIn", ["x", "AB"], "ab")
    assert not accepts("NumberNotIn", [9, 3], 3)


def test_elements_of_another_type_are_left_out() -> None:
    assert accepts("NumberIn", [{}, "x", None, 3], 3)
    assert accepts("StringNotContains", [5, None, "y"], "ab")


def test_a_number_too_large_for_a_float_is_only_unequal() -> None:
    assert not accepts("NumberIn", 10**400, 5)
    assert not accepts("NumberInRange", 10**400, (1, 5))
    assert accepts("NumberNotIn", 10**400, 5)


# What any JSON can hold, next to every operator.
SEEN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(SEEN, st.sampled_from(sorted(DOCUMENTED)))
def test_no_value_makes_a_filter_raise(seen: Any, operator: str) -> None:
    seen = json.loads(json.dumps(seen))
    assert accepts(operator, seen, *VALUES[operator]) in (True, False)


@given(SEEN.filter(lambda seen: seen is not None), st.sampled_from(NEGATIVE))
def test_a_not_operator_is_the_opposite_of_its_operator_wherever_the_key_exists(seen: Any, operator: str) -> None:
    positive = operator.replace("Not", "")
    assert accepts(operator, seen, *VALUES[operator]) is not accepts(positive, seen, *VALUES[positive])


@given(st.lists(st.sampled_from(sorted(DOCUMENTED)), min_size=1, max_size=8), SEEN)
def test_conditions_that_are_asked_together_answer_as_each_alone(operators: list[str], seen: Any) -> None:
    together = Filters()
    for number, operator in enumerate(operators):
        together.add(Filter("data.x", operator, VALUES[operator]), 1 << number)
    alone = [accepts(operator, seen, *VALUES[operator]) for operator in operators]
    assert [not together.refused(seen) & 1 << number for number in range(len(operators))] == alone


# -- what a rule may ask for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", sorted(DOCUMENTED))
def test_fitting_values_are_no_fault(operator: str) -> None:
    assert fault(operator, VALUES[operator]) is None


@pytest.mark.parametrize(
    ("operator", "values", "said"),
    [
        ("NumberInRange", (1, 5), "pairs of numbers"),
        ("NumberInRange", ((1, 5, 9),), "pairs of numbers"),
        ("NumberInRange", ((1, "b"),), "pairs of numbers"),
        ("NumberIn", ("five",), "numbers"),
        ("NumberLessThan", (True,), "numbers"),
        ("NumberNotIn", ([1],), "numbers"),
        ("BoolEquals", ("true",), "true or false"),
        ("StringIn", ({"a": 1},), "strings"),
        ("StringContains", (None,), "strings"),
        ("StringIn", (), "at least one value"),
        ("NumberNotIn", (), "at least one value"),
        ("IsNotNull", ("x",), "no values"),
        ("Like", ("x",), "is not one of"),
    ],
)
def test_values_that_an_operator_cannot_use_are_a_fault(operator: str, values: tuple[Any, ...], said: str) -> None:
    assert said in str(fault(operator, values))


@given(st.sampled_from(sorted(DOCUMENTED)), st.lists(SEEN, max_size=3), SEEN)
def test_values_without_a_fault_never_make_a_filter_raise(operator: str, values: list[Any], seen: Any) -> None:
    if fault(operator, tuple(values)) is None:
        assert accepts(operator, seen, *values) in (True, False)
