"""ASP.NET route templates, as far as the host uses them: constraints, defaults, optional and catch-all parameters.

The most literal route wins.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote

_RULE = r":\w+(?:\((?:[^()]|\([^()]*\))*\))?"
_PARAMETER = re.compile(
    rf"\{{(?P<star>\*{{0,2}})(?P<name>\w+)(?P<rules>(?:{_RULE})*)(?:=(?P<default>[^{{}}?]*))?(?P<optional>\?)?\}}"
)


class RouteError(ValueError):
    """A route template that cannot be read."""


def _number(text: str, kind: type) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


_PLAIN: Mapping[str, Callable[[str], bool]] = {
    "int": lambda text: re.fullmatch(r"[+-]?\d+", text) is not None and -(2**31) <= int(text) < 2**31,
    "long": lambda text: re.fullmatch(r"[+-]?\d+", text) is not None and -(2**63) <= int(text) < 2**63,
    "decimal": lambda text: _number(text, float),
    "double": lambda text: _number(text, float),
    "float": lambda text: _number(text, float),
    "bool": lambda text: text.lower() in {"true", "false"},
    "guid": lambda text: re.fullmatch(r"\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?", text) is not None,
    "alpha": lambda text: re.fullmatch(r"[A-Za-z]*", text) is not None,
    "required": bool,
}


def constraint(rule: str) -> Callable[[str], bool]:
    """The test behind a constraint like `int`, `length(2,4)` or `regex(^a+$)`."""
    if rule in _PLAIN:
        return _PLAIN[rule]
    match = re.fullmatch(r"(\w+)\((.*)\)", rule)
    if match is None:
        raise RouteError(f"unknown route constraint {rule!r}")
    name, argument = match.groups()
    if name == "regex":
        return lambda text: re.search(argument, text, re.IGNORECASE) is not None
    numbers = [int(part) for part in argument.split(",") if _number(part, int)]
    low, high = (numbers * 2)[:2] if numbers else (0, 0)
    tests: Mapping[str, Callable[[str], bool]] = {
        "min": lambda text: _PLAIN["long"](text) and int(text) >= low,
        "max": lambda text: _PLAIN["long"](text) and int(text) <= low,
        "range": lambda text: _PLAIN["long"](text) and low <= int(text) <= high,
        "minlength": lambda text: len(text) >= low,
        "maxlength": lambda text: len(text) <= low,
        "length": lambda text: low <= len(text) <= high,
    }
    if name not in tests or not numbers:
        raise RouteError(f"unknown route constraint {rule!r}")
    return tests[name]


@dataclasses.dataclass(frozen=True)
class _Parameter:
    name: str
    tests: tuple[Callable[[str], bool], ...]
    default: str | None
    catch_all: bool


@dataclasses.dataclass(frozen=True)
class Route:
    """One function's route: what it matches, and how literal it is (`order`: less goes first)."""

    function: str
    template: str
    methods: frozenset[str]
    pattern: re.Pattern[str]
    parameters: tuple[_Parameter, ...]
    order: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """The route values of `path` (without slashes at its ends), or None."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for parameter in self.parameters:
            text = found.group(parameter.name)
            value = parameter.default if not text else unquote(text)
            if value is None:
                continue
            if text and not all(test(value) for test in parameter.tests):
                return None
            values[parameter.name] = value
        return values


def compile_route(function: str, prefix: str, template: str, methods: Iterable[str]) -> Route:
    """The route of `function`; raises RouteError when the template cannot be read."""
    whole = "/".join(part.strip("/") for part in (prefix, template) if part.strip("/"))
    parameters: list[_Parameter] = []
    pattern, order = "", []
    for place, segment in enumerate(whole.split("/") if whole else []):
        expression, rank, optional = _segment(segment, parameters)
        slash = "/" if place else ""
        pattern += f"(?:{slash}{expression})?" if optional else slash + expression
        order.append(rank)
    allowed = frozenset(str(method).upper() for method in methods)
    return Route(function, whole, allowed, re.compile(pattern, re.IGNORECASE), tuple(parameters), tuple(order))


def _segment(segment: str, parameters: list[_Parameter]) -> tuple[str, int, bool]:
    expression, position, found = "", 0, []
    for match in _PARAMETER.finditer(segment):
        expression += re.escape(segment[position : match.start()])
        parameter = _parameter(match)
        text = ".*" if parameter.catch_all else "[^/]+" if segment == match.group() else "[^/]+?"
        expression += f"(?P<{parameter.name}>{text})"
        position = match.end()
        found.append((parameter, match["optional"] is not None or parameter.default is not None))
    rest = segment[position:]
    if "{" in rest or "}" in rest:
        raise RouteError(f"cannot read the route segment {segment!r}")
    parameters.extend(parameter for parameter, _ in found)
    if not found:
        return re.escape(segment), 1, False
    alone = len(found) == 1 and _PARAMETER.fullmatch(segment) is not None
    parameter, optional = found[0]
    rank = (5 if parameter.catch_all else 3) - (1 if parameter.tests or not alone else 0)
    return expression + re.escape(rest), rank, alone and (optional or parameter.catch_all)


def _parameter(match: re.Match[str]) -> _Parameter:
    tests = tuple(constraint(rule[1:]) for rule in re.findall(_RULE, match["rules"]))
    return _Parameter(match["name"], tests, match["default"], bool(match["star"]))


class Routes:
    """All routes of the app."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: (route.order, route.template))

    def find(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """The function that answers, and its route values; None is a 404, also for a wrong method."""
        for route in self._routes:
            if route.methods and method.upper() not in route.methods:
                continue
            values = route.match(path.strip("/"))
            if values is not None:
                return route.function, values
        return None
