"""Placeholders in routes: `{data.modelName}` in a key, `{manifest.url}` in an action's options.

A string that is one placeholder keeps the value's type (a number stays a number); otherwise values become text.
`{{` and `}}` are literal braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

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
    whole = _PLACEHOLDER.fullmatch(template)
    if whole and whole[1] is not None:
        return _value(whole[1].strip(), find)

    def fill(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        value = _value(found[1].strip(), find)
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)

    return _PLACEHOLDER.sub(fill, template)


def _value(name: str, find: Callable[[str], Any]) -> Any:
    value = find(name)
    if value is None:
        raise Missing(name)
    return value
