"""Event Grid's advanced filter operators, with Event Grid's semantics.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

Test = Callable[[Any, Any], bool]


def _number(value: Any) -> float | None:
    """Numbers also arrive as strings in real payloads."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) else None


def _numeric(test: Callable[[float, float], bool]) -> Test:
    def check(seen: Any, wanted: Any) -> bool:
        number, bound = _number(seen), _number(wanted)
        return number is not None and bound is not None and test(number, bound)

    return check


def _textual(test: Callable[[str, str], bool]) -> Test:
    def check(seen: Any, wanted: Any) -> bool:
        text = _text(seen)
        return text is not None and test(text, str(wanted).lower())

    return check


def _in_range(seen: Any, wanted: Any) -> bool:
    number = _number(seen)
    return number is not None and float(wanted[0]) <= number <= float(wanted[1])


_ANY: dict[str, Test] = {
    "NumberIn": _numeric(lambda seen, wanted: seen == wanted),
    "NumberLessThan": _numeric(lambda seen, wanted: seen < wanted),
    "NumberGreaterThan": _numeric(lambda seen, wanted: seen > wanted),
    "NumberLessThanOrEquals": _numeric(lambda seen, wanted: seen <= wanted),
    "NumberGreaterThanOrEquals": _numeric(lambda seen, wanted: seen >= wanted),
    "NumberInRange": _in_range,
    "BoolEquals": lambda seen, wanted: isinstance(seen, bool) and seen is wanted,
    "StringIn": _textual(lambda seen, wanted: seen == wanted),
    "StringContains": _textual(lambda seen, wanted: wanted in seen),
    "StringBeginsWith": _textual(lambda seen, wanted: seen.startswith(wanted)),
    "StringEndsWith": _textual(lambda seen, wanted: seen.endswith(wanted)),
}
_NONE = {
    "NumberNotIn": "NumberIn",
    "NumberNotInRange": "NumberInRange",
    "StringNotIn": "StringIn",
    "StringNotContains": "StringContains",
    "StringNotBeginsWith": "StringBeginsWith",
    "StringNotEndsWith": "StringEndsWith",
}
_MATCH_MISSING = frozenset({"NumberNotIn", "StringNotIn"})

_NO_VALUES = frozenset({"IsNullOrUndefined", "IsNotNull"})

OPERATORS = frozenset(_ANY) | frozenset(_NONE) | _NO_VALUES


def fault(operator: Any, values: Sequence[Any]) -> str | None:
    """Why a condition with this operator and these values makes no sense, None when it does."""
    if not isinstance(operator, str) or operator not in OPERATORS:
        return f"{operator!r} is not one of {', '.join(sorted(OPERATORS))}"
    if operator in _NO_VALUES:
        return f"{operator} takes no values" if values else None
    if not values:
        return f"{operator} needs at least one value"
    fits, wanted = _wanted(_NONE.get(operator, operator))
    wrong = [value for value in values if not fits(value)]
    return f"{operator} needs {wanted}, not {wrong[0]!r}" if wrong else None


def _wanted(operator: str) -> tuple[Callable[[Any], bool], str]:
    """What the values of a positive operator must be."""
    if operator == "NumberInRange":
        return _is_range, "pairs of numbers, such as [1, 5]"
    if operator == "BoolEquals":
        return lambda value: isinstance(value, bool), "true or false"
    if operator.startswith("Number"):
        return lambda value: _number(value) is not None, "numbers"
    return lambda value: isinstance(value, str | int | float), "strings"


def _is_range(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_number(bound) is not None for bound in value)


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """One condition: the value at `key` satisfies `operator` with any of `values` (a Not… operator: with none)."""

    key: str
    operator: str
    values: tuple[Any, ...] = ()

    def accepts(self, seen: Any) -> bool:
        """Whether the value at the key satisfies the condition; None stands for a missing key."""
        if self.operator == "IsNullOrUndefined":
            return seen is None
        if self.operator == "IsNotNull":
            return seen is not None
        if seen is None:
            return self.operator in _MATCH_MISSING
        candidates: Sequence[Any] = seen if isinstance(seen, list) else (seen,)
        positive = _ANY[_NONE.get(self.operator, self.operator)]
        hit = any(positive(candidate, wanted) for candidate in candidates for wanted in self.values)
        return hit is (self.operator not in _NONE)
