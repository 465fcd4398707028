"""Faults on demand: rules posted to `/_faults` on a service's port, each used up after `count` uses.

A rule is a JSON object.  For requests: `method` and `path` (a regular expression) choose, and `delay` (seconds until
what has arrived takes effect), `status` with `retry_after` or any `headers`, or `lose_response` (the effect happens,
the answer does not arrive) say what happens.  For Event Grid's deliveries: `delivery` is `duplicate`, `late` (with
`delay`), `reorder`, `lose_response` or `drop` (the attempt never arrives), and `match` is a regular expression over
"<event type> <subject>".  For work that goes on after the answer: `operation` is `deployment`, `traffic` or `score`,
`match` is a regular expression over its name ("<endpoint>/<deployment>", for `traffic` "<endpoint>"), `delay` keeps it
from ending for so long, `status` lets it fail.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

_SMALL = 1_000_000
OPERATIONS = frozenset({"deployment", "traffic", "score"})
DELIVERIES = frozenset({"duplicate", "late", "reorder", "lose_response", "drop"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """What goes wrong, where, and how many times."""

    method: str = ""
    path: str = ""
    delay: float = 0.0
    status: int = 0
    retry_after: float | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    lose_response: bool = False
    delivery: str = ""
    operation: str = ""
    match: str = ""
    count: int = 1

    @classmethod
    def read(cls, body: Any) -> Rule:
        """The rule in a posted JSON object; `ValueError` names what is wrong with it."""
        if not isinstance(body, dict):
            raise ValueError("a fault rule is a JSON object")
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(body) - known):
            raise ValueError(f"unknown key {unknown[0]!r} in the fault rule; known are {', '.join(sorted(known))}")
        rule = cls(**body)
        if rule.delivery and rule.delivery not in DELIVERIES:
            raise ValueError(f"delivery {rule.delivery!r} is none of {', '.join(sorted(DELIVERIES))}")
        if rule.operation and rule.operation not in OPERATIONS:
            raise ValueError(f"operation {rule.operation!r} is none of {', '.join(sorted(OPERATIONS))}")
        re.compile(rule.path), re.compile(rule.match)
        return rule

    def hits(self, method: str, path: str) -> bool:
        """Whether this rule is about such a request."""
        return (
            not self.delivery
            and not self.operation
            and self.method.upper() in {"", method}
            and re.search(self.path, path) is not None
        )

    def answer(self) -> web.Response:
        """The failure that the caller sees instead of the service's answer."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        error = {"error": {"code": "InjectedFault", "message": f"fault rule: status {self.status}"}}
        return web.json_response(error, status=self.status, headers=headers)


class Faults:
    """The rules of one service port."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def routes(self) -> list[web.RouteDef]:
        """`POST` adds a rule or a list of them, `GET` shows what is left, `DELETE` clears."""
        return [web.post("/_faults", self._add), web.get("/_faults", self._show), web.delete("/_faults", self._clear)]

    def add(self, rule: Rule) -> None:
        """Put `rule` at the end of the list."""
        self._rules.append(rule)

    def take_request(self, method: str, path: str) -> Rule | None:
        """The first rule about such a request, used up by one."""
        return self._take(lambda rule: rule.hits(method, path))

    def take_delivery(self, event_type: str, subject: str) -> Rule | None:
        """The first rule about a delivery of such an event, used up by one."""
        text = f"{event_type} {subject}"
        return self._take(lambda rule: bool(rule.delivery) and re.search(rule.match, text) is not None)

    async def work(self, operation: str, name: str) -> Rule | None:
        """What goes wrong with such work on this name, after its delay; used up by one."""
        rule = self._take(lambda rule: rule.operation == operation and re.search(rule.match, name) is not None)
        if rule is not None:
            await asyncio.sleep(rule.delay)
        return rule if rule is not None and rule.status else None

    def _take(self, fits: Callable[[Rule], bool]) -> Rule | None:
        for position, rule in enumerate(self._rules):
            if fits(rule):
                left = dataclasses.replace(rule, count=rule.count - 1)
                self._rules[position : position + 1] = [left] if left.count > 0 else []
                return rule
        return None

    async def _add(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            rules = [Rule.read(one) for one in (body if isinstance(body, list) else [body])]
        except (ValueError, TypeError, re.error) as error:
            return web.json_response({"error": {"code": "InvalidFault", "message": str(error)}}, status=400)
        self._rules.extend(rules)
        return web.json_response({"rules": len(self._rules)}, status=201)

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response([dataclasses.asdict(rule) for rule in self._rules])

    async def _clear(self, _: web.Request) -> web.Response:
        self._rules.clear()
        return web.Response(status=204)

    @property
    def middleware(self) -> Any:
        """The aiohttp middleware that applies the request rules."""

        @web.middleware
        async def apply(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path == "/_faults":
                return await handler(request)
            rule = self.take_request(request.method, request.path)
            if rule is None:
                return await handler(request)
            if rule.delay and (request.content_length or 0) < _SMALL:
                await request.read()  # it has arrived: its effect comes also when the caller does not wait for it
            await asyncio.sleep(rule.delay)
            if rule.status:
                return rule.answer()
            response = await handler(request)
            if rule.lose_response and request.transport is not None:
                request.transport.abort()
            return response

        return apply
