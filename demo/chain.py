"""One chain through the control plane as a watcher follows it: by the app's HTTP API and the services' records."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping
from typing import Any

from demo.progress import Progress
from demo.report import StepFailed
from demo.stage import Stage, tail

Row = Mapping[str, Any]

EVERY = 0.5
WITHIN: Mapping[str, float] = {"curate": 400.0, "drift": 400.0, "train": 600.0, "release": 600.0}
"""Seconds that each run may take: room for a slow machine, and for a host that is killed and its lease run out."""

_SERVICE = {"curate": "Databricks", "drift": "drift", "train": "Azure ML", "release": "release"}
_ENDED = frozenset({"succeeded", "failed", "skipped", "cancelled"})


@dataclasses.dataclass
class Chain:
    """The runs that follow from one landed commit."""

    stage: Stage
    progress: Progress
    since: str
    """When the commit was about to be landed: runs from before belong to other chains."""

    correlation: str = ""

    def wait(self, route: str, number: int = 1, ends: Collection[str] = ("succeeded",)) -> Row:
        """The run of this chain on a route, its first or a later one, once it has ended in one of these ways.

        Raises StepFailed with the run's reason and the ends of the logs when it ends otherwise or takes too long.
        """
        deadline = time.monotonic() + WITHIN[route]
        seen: Row | None = None
        while time.monotonic() < deadline:
            self.stage.check()
            seen = self.find(route, number) or seen
            self.say(route, seen)
            if seen and seen["phase"] in _ENDED:
                if seen["phase"] not in ends:
                    raise StepFailed(self._explained(f"run {seen['run']} {seen['phase']}: {seen['reason']}"))
                self.correlation = seen["correlation"]
                return seen
            time.sleep(EVERY)
        stands = f"run {seen['run']} is {seen['phase']}: {seen['reason']}" if seen else f"no run of {route} began"
        raise StepFailed(self._explained(f"not finished within {WITHIN[route]:.0f} s; {stands}"))

    def find(self, route: str, number: int = 1) -> Row | None:
        """The run of this chain on a route, its first or a later one; None while there is none."""
        rows = [row for row in self.stage.ask("runs") or () if row["route"] == route and row["created"] >= self.since]
        if self.correlation:
            rows = [row for row in rows if row["correlation"] == self.correlation]
        # Rows are newest first.  The chain's first is the oldest: a skipped compaction comes after it.
        return rows[-number] if len(rows) >= number else None

    def say(self, route: str, run: Row | None) -> None:
        """Tell the watcher where a run stands."""
        if run is None:
            self.progress.doing("Sluice", f"no run of {route} yet")
        elif run["phase"] == "running" and route == "train":
            self.progress.doing("Azure ML", self._pipeline_step() or run["reason"])
        elif run["phase"] == "running":
            self.progress.doing(_SERVICE[route], str(run["reason"]))
        else:
            self.progress.doing("Sluice", f"{run['phase']}: {run['reason']}")

    def _pipeline_step(self) -> str:
        started = self.stage.cloud.records("azure_ml", "step_started")
        recent = [row for row in started if row["at"] >= self.since]
        return f"step {str(recent[-1]['step']).rpartition('.')[2]} of the pipeline" if recent else ""

    def _explained(self, reason: str) -> str:
        return "\n".join([reason, *(tail(log) for log in self.stage.newest_logs())])
