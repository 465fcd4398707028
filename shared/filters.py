"""Event Grid's advanced filter operators, with Event Grid's semantics.  Pure."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from operator import ge, gt, le, lt
from typing import Any

Test = Callable[[float], bool]
Bits = dict[Any, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """One condition: the value at `key` satisfies `operator` with any of `values` (a Not… operator: with none)."""

    key: str
    operator: str
    values: tuple[Any, ...] = ()


class Filters:
    """The conditions on one key, each with a bit of its own, asked together.

    Whole texts, beginnings and ends are looked up, so that it matters little how many conditions there are.
    """

    def __init__(self) -> None:
        self._all = self._missing = self._there = self._negated = 0
        self._numbers: list[tuple[Test, int]] = []
        self._contains: list[tuple[str, int]] = []
        self._flags, self._equal = Bits(), Bits()
        self._begins: dict[int, Bits] = collections.defaultdict(Bits)
        self._ends: dict[int, Bits] = collections.defaultdict(Bits)

    def add(self, condition: Filter, bit: int) -> None:
        """One more condition, whose values have no `fault`."""
        positive = _NONE.get(condition.operator, condition.operator)
        self._all |= bit
        self._negated |= bit if condition.operator in _NONE else 0
        self._missing |= bit if condition.operator in _MATCH_MISSING else 0
        self._there |= bit if condition.operator == "IsNotNull" else 0
        if positive in _NUMBERS:
            self._numbers.append((_NUMBERS[positive](condition.values), bit))
            return
        for value in condition.values:
            if positive == "BoolEquals":
                _add(self._flags, value, bit)
            else:
                self._add_text(positive, str(value).lower(), bit)

    def _add_text(self, kind: str, text: str, bit: int) -> None:
        if kind == "StringContains":
            self._contains.append((text, bit))
        elif kind == "StringIn":
            _add(self._equal, text, bit)
        else:
            _add((self._begins if kind == "StringBeginsWith" else self._ends)[len(text)], text, bit)

    def refused(self, seen: Any) -> int:
        """The bits of the conditions that a value does not satisfy; None is a missing key."""
        if seen is None:
            return self._all ^ self._missing
        found = self._there
        if isinstance(seen, list):
            for one in seen:
                found |= self._satisfied(one)
        else:
            found |= self._satisfied(seen)
        return self._all ^ found ^ self._negated

    def _satisfied(self, seen: Any) -> int:
        """The bits of the positive operators that one value satisfies."""
        found = 0
        if isinstance(seen, str):
            found = self._texts(seen.lower())
        elif isinstance(seen, bool):
            found = self._flags.get(seen, 0)
        if self._numbers and (number := _number(seen)) is not None:
            for test, bit in self._numbers:
                if test(number):
                    found |= bit
        return found

    def _texts(self, low: str) -> int:
        found = self._equal.get(low, 0)
        for length, known in self._begins.items():
            found |= known.get(low[:length], 0)
        for length, known in self._ends.items():
            found |= known.get(low[-length:] if length else "", 0)
        for text, bit in self._contains:
            if text in low:
                found |= bit
        return found


def _add(bits: Bits, value: Any, bit: int) -> None:
    bits[value] = bits.get(value, 0) | bit


def _number(value: Any) -> float | None:
    """Numbers also arrive as strings in real payloads."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _numbers(values: Sequence[Any]) -> list[float]:
    return [number for number in map(_number, values) if number is not None and number == number]


def _bounded(test: Callable[[float, float], bool], bound: Callable[..., float]) -> Callable[[Sequence[Any]], Test]:
    """The bound that lets in most is the only one that matters; without a number there is none."""
    return lambda values: functools.partial(test, bound(_numbers(values), default=math.nan))


def _in_range(values: Sequence[Any]) -> Test:
    ranges = [(float(low), float(high)) for low, high in values]
    return lambda seen: any(low <= seen <= high for low, high in ranges)


_NUMBERS: dict[str, Callable[[Sequence[Any]], Test]] = {
    "NumberIn": lambda values: frozenset(_numbers(values)).__contains__,
    "NumberLessThan": _bounded(gt, max),
    "NumberGreaterThan": _bounded(lt, min),
    "NumberLessThanOrEquals": _bounded(ge, max),
    "NumberGreaterThanOrEquals": _bounded(le, min),
    "NumberInRange": _in_range,
}
_ANY = frozenset(_NUMBERS) | {"BoolEquals", "StringIn", "StringContains", "StringBeginsWith", "StringEndsWith"}
_NONE = {
    "NumberNotIn": "NumberIn",
    "NumberNotInRange": "NumberInRange",
    "StringNotIn": "StringIn",
    "StringNotContains": "StringContains",
    "StringNotBeginsWith": "StringBeginsWith",
    "StringNotEndsWith": "StringEndsWith",
}
_MATCH_MISSING = frozenset({"NumberNotIn", "StringNotIn", "IsNullOrUndefined"})
_NO_VALUES = frozenset({"IsNullOrUndefined", "IsNotNull"})

OPERATORS = _ANY | frozenset(_NONE) | _NO_VALUES


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
