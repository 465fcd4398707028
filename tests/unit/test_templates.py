"""Placeholders in routes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.templates import Missing, faults, names, render

KNOWN = {
    "table": "demand", "data.version": 7, "data.ratio": 0.5, "data.flag": False, "data.list": [1, "b"],
    "data.map": {"b": 1, "a": 2}, "zero": 0, "empty": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{table}", "demand"),
        ("{ table }", "demand"),
        ("gold/{table}/v{data.version}", "gold/demand/v7"),
        ("{data.version}", 7),
        ("{data.flag}", False),
        ("{data.list}", [1, "b"]),
        ("{data.map}", {"b": 1, "a": 2}),
        ("{zero}", 0),
        ("{empty}", ""),
        ("[{empty}]", "[]"),
        ("x{data.flag}", "xfalse"),
        ("x{data.ratio}", "x0.5"),
        ("x{data.map}", 'x{"a": 2, "b": 1}'),
        ("{{table}}", "{table}"),
        ("{{{table}}}", "{demand}"),
        ("no placeholder", "no placeholder"),
        ("", ""),
    ],
)
def test_a_string_is_filled_and_one_placeholder_keeps_its_type(template: str, filled: Any) -> None:
    assert render(template, KNOWN.get) == filled
    assert type(render(template, KNOWN.get)) is type(filled)


def test_a_template_is_filled_at_any_depth() -> None:
    template = {"a": ["{table}", {"b": "{data.version}"}], "c": 5, "d": None, "e": True, "{table}": ("x", "{zero}")}
    assert render(template, KNOWN.get) == {
        "a": ["demand", {"b": 7}], "c": 5, "d": None, "e": True, "{table}": ["x", 0],
    }  # fmt: skip


@pytest.mark.parametrize("template", ["{nothing}", "a{nothing}b", {"a": ["{table}", "{nothing}"]}, ("{nothing}",)])
def test_a_placeholder_without_a_value_is_named(template: Any) -> None:
    with pytest.raises(Missing, match=r"^\{nothing\} has no value$") as caught:
        render(template, KNOWN.get)
    assert caught.value.name == "nothing"


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    assert render("{a}{b}", {"a": "{b}", "b": "{a}"}.get) == "{b}{a}"


def test_every_placeholder_is_found_at_any_depth() -> None:
    template = {"a": ["{x}{ y.z }", {"b": "{{no}}"}], "c": 5, "{not-a-value}": "{w}"}
    assert names(template) == {"x", "y.z", "w"}


@pytest.mark.parametrize("template", ["{a b}", "{1a}", "{}", "{a.}", "{.a}", "{a..b}", ["{a/b}"], {"k": "{a|b}"}])
def test_a_placeholder_that_is_not_a_dotted_name_is_a_fault(template: Any) -> None:
    assert len(faults(template)) == 1
    assert "is not a dotted name" in faults(template)[0]


@pytest.mark.parametrize("template", ["{table", "table}", "{a}}", "{{a}", "x{", {"k": ["}"]}, "{a{b}"])
def test_a_brace_that_opens_or_closes_nothing_is_a_fault(template: Any) -> None:
    assert len(faults(template)) == 1
    assert "brace" in faults(template)[0]


@pytest.mark.parametrize("template", ["{table}", "{{", "}}", "{{{a.b-c_d}}}", "{_x}", 5, None, [], {}, "plain"])
def test_what_is_in_order_has_no_fault(template: Any) -> None:
    assert faults(template) == []


@given(st.text())
def test_literal_braces_survive(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert render(doubled, KNOWN.get) == text
    assert names(doubled) == set()
    assert faults(doubled) == []
