"""What the demonstration did: its steps with their evidence, as `.local/<name>/report.json`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class StepFailed(Exception):
    """A step did not happen; the message says why, with the end of the log that tells."""


@dataclasses.dataclass
class Step:
    """One step: what it was, how long it took, and what proves it."""

    name: str
    title: str
    began: float = dataclasses.field(default_factory=time.monotonic)
    seconds: float | None = None
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def elapsed(self) -> float:
        """Seconds so far, or in all when it has ended."""
        return time.monotonic() - self.began if self.seconds is None else self.seconds

    def prove(self, **evidence: Any) -> None:
        """Add to what proves this step."""
        self.evidence |= evidence

    def row(self) -> dict[str, Any]:
        """The step as the report has it."""
        row = {"step": self.name, "seconds": round(self.elapsed, 1), **self.evidence}
        return row | ({"error": self.error} if self.error else {})


@dataclasses.dataclass
class Report:
    """Everything that is said at the end."""

    began: float = dataclasses.field(default_factory=time.monotonic)
    steps: list[Step] = dataclasses.field(default_factory=list)
    effects: dict[str, int] = dataclasses.field(default_factory=dict)
    journal: dict[str, int] = dataclasses.field(default_factory=dict)
    error: str | None = None
    finished: bool = False

    @property
    def ok(self) -> bool:
        """Whether every step happened."""
        return self.finished and self.error is None and all(step.error is None for step in self.steps)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.began

    def evidence(self, step: str) -> Mapping[str, Any]:
        """What proves a step; empty when it did not happen."""
        return next((found.evidence for found in self.steps if found.name == step), {})

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        document = {
            "ok": self.ok,
            "seconds": round(self.seconds, 1),
            "steps": [step.row() for step in self.steps],
            "effects": self.effects,
            "journal": self.journal,
        }
        return document | ({"error": self.error} if self.error else {})

    def write(self, path: Path) -> None:
        """Write the report, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".writing")
        beside.write_text(json.dumps(self.document(), indent=1, default=str) + "\n", encoding="utf-8")
        beside.replace(path)
