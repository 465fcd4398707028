"""Event Grid's filters: which events a subscription wants.  Pure; checked against the service's documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

MISSING = object()

_ALIASES = {
    "id": ("id",),
    "topic": ("topic",),
    "source": ("source",),
    "subject": ("subject",),
    "eventtype": ("eventType", "type"),
    "type": ("type", "eventType"),
    "dataversion": ("dataVersion",),
    "specversion": ("specversion",),
}


def matches(filters: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether `event` (either schema) passes a subscription's `properties.filter`."""
    return (
        _type_included(filters.get("includedEventTypes"), str(event.get("eventType", event.get("type", ""))))
        and _subject_fits(filters, str(event.get("subject", "")))
        and all(
            _advanced(one, event, bool(filters.get("enableAdvancedFilteringOnArrays")))
            for one in filters.get("advancedFilters") or ()
        )
    )


def _type_included(included: Iterable[str] | None, event_type: str) -> bool:
    names = {name.lower() for name in included or ()}
    return not names or "all" in names or event_type.lower() in names


def _subject_fits(filters: Mapping[str, Any], subject: str) -> bool:
    begins, ends = filters.get("subjectBeginsWith") or "", filters.get("subjectEndsWith") or ""
    if not filters.get("isSubjectCaseSensitive"):
        subject, begins, ends = subject.lower(), begins.lower(), ends.lower()
    return subject.startswith(begins) and subject.endswith(ends)


def value_at(key: str, event: Mapping[str, Any]) -> Any:
    """The value that a filter's key means in `event`, or `MISSING`."""
    first, *rest = key.split(".")
    found: Any = MISSING
    for name in _ALIASES.get(first.lower(), (first,)):
        if name in event:
            found = event[name]
            break
    for name in rest:
        found = found.get(name, MISSING) if isinstance(found, Mapping) else MISSING
    return found


def _advanced(one: Mapping[str, Any], event: Mapping[str, Any], arrays: bool) -> bool:
    operator = one["operatorType"]
    value = value_at(one["key"], event)
    if operator == "IsNullOrUndefined":
        return value is MISSING or value is None
    if operator == "IsNotNull":
        return value is not MISSING and value is not None
    negated = "Not" in operator
    if value is MISSING or value is None:
        # Of the negated operators only these two match a missing key.
        return operator in {"NumberNotIn", "StringNotIn"}
    test = _TESTS[operator.replace("Not", "", 1)]
    wanted = one["values"] if one.get("values") is not None else [one.get("value")]
    elements = value if isinstance(value, list) and arrays else [value]
    found = any(test(element, want) for element in elements for want in wanted)
    return found != negated


def _text(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, want: isinstance(value, str) and test(value.lower(), str(want).lower())


def _number(test: Callable[[float, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, want: isinstance(value, int | float) and not isinstance(value, bool) and test(value, want)


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "BoolEquals": lambda value, want: isinstance(value, bool) and value is want,
    "NumberIn": _number(lambda value, want: value == want),
    "NumberInRange": _number(lambda value, want: want[0] <= value <= want[1]),
    "NumberLessThan": _number(lambda value, want: value < want),
    "NumberLessThanOrEquals": _number(lambda value, want: value <= want),
    "NumberGreaterThan": _number(lambda value, want: value > want),
    "NumberGreaterThanOrEquals": _number(lambda value, want: value >= want),
    "StringIn": _text(lambda value, want: value == want),
    "StringContains": _text(lambda value, want: want in value),
    "StringBeginsWith": _text(lambda value, want: value.startswith(want)),
    "StringEndsWith": _text(lambda value, want: value.endswith(want)),
}

OPERATORS = frozenset(
    {"IsNullOrUndefined", "IsNotNull", "NumberNotIn", "NumberNotInRange", *_TESTS}
    | {f"StringNot{name}" for name in ("In", "Contains", "BeginsWith", "EndsWith")}
)
"""Every operator type that a subscription may use."""
