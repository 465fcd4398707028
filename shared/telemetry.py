"""The seam to Application Insights: what the product says of itself, and two listeners that need nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

JSON = Mapping[str, Any]


def trace_id(correlation: str) -> str:
    """The 32 hexadecimal digits under which everything of one chain is found."""
    if re.fullmatch(r"[0-9a-f]{32}", correlation):
        return correlation
    return hashlib.sha256(correlation.encode()).hexdigest()[:32]


class Silence:
    """Tells nobody."""

    def event(self, name: str, correlation: str, facts: JSON) -> None:
        """Something happened."""

    def metric(self, name: str, value: float, facts: Mapping[str, str]) -> None:
        """A number was measured."""

    @contextmanager
    def span(self, name: str, correlation: str, facts: JSON) -> Iterator[None]:  # noqa: ARG002
        """Something takes time."""
        yield


@dataclasses.dataclass
class Recording:
    """Remembers what was said, for tests and for the console's dry runs."""

    events: list[tuple[str, str, JSON]] = dataclasses.field(default_factory=list)
    metrics: list[tuple[str, float, Mapping[str, str]]] = dataclasses.field(default_factory=list)
    spans: list[tuple[str, str, JSON]] = dataclasses.field(default_factory=list)

    def event(self, name: str, correlation: str, facts: JSON) -> None:
        """Something happened."""
        self.events.append((name, correlation, dict(facts)))

    def metric(self, name: str, value: float, facts: Mapping[str, str]) -> None:
        """A number was measured."""
        self.metrics.append((name, value, dict(facts)))

    @contextmanager
    def span(self, name: str, correlation: str, facts: JSON) -> Iterator[None]:
        """Something took time, whether it ended well or not."""
        try:
            yield
        finally:
            self.spans.append((name, correlation, dict(facts)))
