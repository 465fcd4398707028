"""Placeholders in routes: `{data.modelName}` in a key, `{manifest.url}` in an action's options.

A string that is one placeholder keeps the value's type (a number stays a number); otherwise values become text.
`{{` and `}}` are literal braces.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")


class Missing(LookupError):
    """A placeholder names something that is not there; `name` is the placeholder."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{{{name}}} has no value")


def names(template: Any) -> set[str]:
    """Every placeholder in a template, at any depth."""
    if isinstance(template, str):
        return {found[1].strip() for found in _PLACEHOLDER.finditer(template) if found[1] is not None}
    if isinstance(template, Mapping):
        return set().union(*(names(value) for value in template.values()))
    if isinstance(template, list | tuple):
        return set().union(*(names(value) for value in template))
    return set()


def faults(template: Any) -> list[str]:
    """What is wrong with the placeholders of a template, one sentence each."""
    wrong = sorted(name for name in names(template) if not _NAME.fullmatch(name))
    found = [f"placeholder {{{name}}} is not a dotted name" for name in wrong]
    return found + [f"{text!r} has a brace that opens or closes nothing" for text in _unbalanced(template)]


def _unbalanced(template: Any) -> list[str]:
    if isinstance(template, str):
        return [template] if re.search(r"[{}]", _PLACEHOLDER.sub("", template)) else []
    inner = template.values() if isinstance(template, Mapping) else template
    return (
        [text for value in inner for text in _unbalanced(value)] if isinstance(template, Mapping | list | tuple) else []
    )


def render(template: Any, find: Callable[[str], Any]) -> Any:
    """Fill a template at any depth; `find` answers a placeholder's value, None when there is none.

    Raises `Missing` for the first placeholder without a value.
    """
    if isinstance(template, str):
        return _text(template, find)
    if isinstance(template, Mapping):
        return {key: render(value, find) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [render(value, find) for value in template]
    return template


def _text(template: str, find: Callable[[str], Any]) -> Any:
    parts = _parts(template)
    if len(parts) == 1 and parts[0].names:
        return _value(parts[0].text, find)
    return "".join(_written(_value(part.text, find)) if part.names else part.text for part in parts)


class _Part(NamedTuple):
    """A piece of a template: text as it stands, or what `names` a value."""

    text: str
    names: bool


@functools.lru_cache(maxsize=4096)
def _parts(template: str) -> tuple[_Part, ...]:
    """The pieces of a template; routes are few, and what is filled in for every event is read once."""
    parts, at = [], 0
    for found in _PLACEHOLDER.finditer(template):
        literal = template[at : found.start()] + ("" if found[1] is not None else found[0][0])
        parts += [_Part(literal, False)] * bool(literal)
        parts += [_Part(found[1].strip(), True)] if found[1] is not None else []
        at = found.end()
    return (*parts, *[_Part(template[at:], False)] * (at < len(template)))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _value(name: str, find: Callable[[str], Any]) -> Any:
    value = find(name)
    if value is None:
        raise Missing(name)
    return value
