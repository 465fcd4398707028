"""The backends: what they really did, for each token, and how long it lives.  Nothing else writes this record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import Refused
from shared.observations import Failure, Observation, Remote, Status
from shared.ports import Asked
from tests.simulation.dice import Dice
from tests.simulation.scheduler import Scheduler

JSON = Mapping[str, Any]
FOREVER = 1e9


@dataclasses.dataclass
class Effect:
    """One piece of remote work."""

    token: str
    run: str
    attempt: int
    number: int
    request: JSON
    ends_at: float
    ends: Status
    failure: Failure | None

    def live(self, now: float) -> bool:
        """Whether it still works."""
        return now < self.ends_at


class SimBackend:
    """Knows its work by the token, as all of ours do; how an attempt goes is drawn by its run and number."""

    def __init__(
        self, name: str, scheduler: Scheduler, dice: Dice, began: Callable[[Effect], None], *, exclusive: bool = False
    ) -> None:
        self.name, self.exclusive = name, exclusive
        self._scheduler, self._dice, self._began = scheduler, dice, began
        self.effects: dict[str, Effect] = {}
        self._plans: dict[tuple[str, int], tuple[float, Status, Failure | None]] = {}

    def faults(self, options: JSON) -> list[str]:  # noqa: ARG002
        """See `ports.Action`."""
        return []

    def start(self, request: JSON) -> Remote:
        """See `ports.Action`."""
        effect = self.effects.get(request["token"])
        if effect is None:
            lasts, ends, failure = self._plan(request["run"], request["attempt"])
            if lasts < 0:
                raise Refused("the request is not acceptable")
            effect = Effect(
                request["token"], request["run"], request["attempt"], len(self.effects), request,
                self._scheduler.now + lasts, ends, failure,
            )  # fmt: skip
            self.effects[effect.token] = effect
            self._began(effect)
        return Remote(f"{self.name}-{effect.number}")

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        """See `ports.Action`."""
        effect = self.effects[request["token"]]
        if effect.live(self._scheduler.now):
            step = int(progress.get("step", 0))
            moved = {"step": step + 1} if self.exclusive and step < 2 else None
            return Observation(Status.ACTIVE, f"{self.name} works", progress=moved)
        failure = effect.failure if effect.ends is Status.FAILED else None
        return Observation(effect.ends, f"{self.name} has {effect.ends}", failure, result={"version": effect.number})

    def cancel(self, request: JSON, remote: Remote) -> None:  # noqa: ARG002
        """See `ports.Action`."""
        effect = self.effects[request["token"]]
        if effect.live(self._scheduler.now):
            effect.ends_at = min(effect.ends_at, self._scheduler.now + 1 + self._dice.number("cancel", 0, 30))
            effect.ends = Status.CANCELLED

    def _plan(self, run: str, attempt: int) -> tuple[float, Status, Failure | None]:
        found = self._plans.get((run, attempt))
        if found is None:
            roll = self._dice.roll(f"plan {run}-{attempt}")
            lasts = 0.5 + 60 * roll.b**2 if roll.c < 0.9 else 60 + 300 * roll.b
            if roll.a < 0.62:
                found = lasts, Status.SUCCEEDED, None
            elif roll.a < 0.87:
                found = lasts, Status.FAILED, Failure.TRANSIENT
            elif roll.a < 0.92:
                found = lasts, Status.FAILED, Failure.PERMANENT
            else:
                found = (FOREVER if roll.a < 0.96 else -1.0), Status.FAILED, None
            self._plans[run, attempt] = found
        return found


class SimGuard:
    """Lets through what is not named a compaction."""

    def observe(self, asked: Asked) -> JSON:
        """See `ports.Guard`."""
        compacts = "compact" in str(asked.record["id"])
        return {"proceed": not compacts, "reason": "tidying" if compacts else "data"}


class SimPublisher:
    """Those who hear our own events from outside; they may hear one twice."""

    def __init__(self, told: Callable[[JSON], None]) -> None:
        self._told = told
        self.heard: list[JSON] = []

    def publish(self, event: JSON) -> None:
        """See `ports.Publisher`."""
        self.heard.append(event)
        self._told(event)
