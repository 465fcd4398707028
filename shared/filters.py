"""Event Grid's advanced filter operators, with Event Grid's semantics.  Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

Test = Callable[[Any], bool]
Prepare = Callable[[Sequence[Any]], Test]


def _number(value: Any) -> float | None:
    """Numbers also arrive as strings in real payloads."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _numeric(test: Callable[[float, Sequence[float]], bool]) -> Prepare:
    def prepare(values: Sequence[Any]) -> Test:
        bounds = sorted(number for number in map(_number, values) if number is not None and number == number)

        def check(seen: Any) -> bool:
            number = _number(seen)
            return number is not None and bool(bounds) and test(number, bounds)

        return check

    return prepare


def _in_range(values: Sequence[Any]) -> Test:
    ranges = [(float(low), float(high)) for low, high in values]

    def check(seen: Any) -> bool:
        number = _number(seen)
        return number is not None and any(low <= number <= high for low, high in ranges)

    return check


def _lower(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value).lower() for value in values)


def _string_in(values: Sequence[Any]) -> Test:
    wanted = frozenset(_lower(values))
    return lambda seen: isinstance(seen, str) and seen.lower() in wanted


def _contains(values: Sequence[Any]) -> Test:
    wanted = _lower(values)
    return lambda seen: isinstance(seen, str) and any(map(seen.lower().__contains__, wanted))


def _begins_with(values: Sequence[Any]) -> Test:
    wanted = _lower(values)
    return lambda seen: isinstance(seen, str) and seen.lower().startswith(wanted)


def _ends_with(values: Sequence[Any]) -> Test:
    wanted = _lower(values)
    return lambda seen: isinstance(seen, str) and seen.lower().endswith(wanted)


_ANY: dict[str, Prepare] = {
    "NumberIn": _numeric(lambda seen, bounds: seen in bounds),
    "NumberLessThan": _numeric(lambda seen, bounds: seen < bounds[-1]),
    "NumberGreaterThan": _numeric(lambda seen, bounds: seen > bounds[0]),
    "NumberLessThanOrEquals": _numeric(lambda seen, bounds: seen <= bounds[-1]),
    "NumberGreaterThanOrEquals": _numeric(lambda seen, bounds: seen >= bounds[0]),
    "NumberInRange": _in_range,
    "BoolEquals": lambda values: lambda seen: isinstance(seen, bool) and any(seen is wanted for wanted in values),
    "StringIn": _string_in,
    "StringContains": _contains,
    "StringBeginsWith": _begins_with,
    "StringEndsWith": _ends_with,
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

    def test(self) -> Test:
        """The condition as a function of the value at the key, None for a missing key; made once, asked often."""
        if self.operator == "IsNullOrUndefined":
            return lambda seen: seen is None
        if self.operator == "IsNotNull":
            return lambda seen: seen is not None
        positive = _ANY[_NONE.get(self.operator, self.operator)](self.values)
        wanted, missing = self.operator not in _NONE, self.operator in _MATCH_MISSING

        def accepts(seen: Any) -> bool:
            if seen is None:
                return missing
            return (any(map(positive, seen)) if isinstance(seen, list) else positive(seen)) is wanted

        return accepts
