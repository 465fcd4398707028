"""A failing seed's schedule, made shorter: leave out events and faults as long as something is still not true."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.simulation.scenario import PUSHES
from tests.simulation.simulation import simulate

_EVENTS = (*range(12), *range(PUSHES + 1, PUSHES + 4))


@dataclasses.dataclass(frozen=True)
class Shortened:
    """What is left of a failing schedule, and what it shows."""

    seed: int
    faults: tuple[str, ...]
    events: tuple[int, ...]
    said: str
    trace: tuple[str, ...]

    @property
    def command(self) -> str:
        """Replays it."""
        keep = ",".join(self.faults) or "none"
        numbers = ",".join(map(str, self.events)) or "none"
        return f".venv/bin/python -m tests.simulation --seed {self.seed} --events {numbers} --keep '{keep}'"


def shorten(seed: int, faults: list[str], most: int = 400) -> Shortened:
    """Greedily drop halves, quarters, … and single faults and events; at most so many replays."""
    left = most

    def fails(kept: list[str], events: list[int]) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and simulate(seed, frozenset(kept), frozenset(events))[0] is not None

    kept, events = list(faults), list(_EVENTS)
    while left > 0:
        before = len(kept), len(events)
        events = _dropped(events, lambda rest: fails(kept, rest))  # noqa: B023
        kept = _dropped(kept, lambda rest: fails(rest, events))  # noqa: B023
        if before == (len(kept), len(events)):
            break
    said, played = simulate(seed, frozenset(kept), frozenset(events))
    return Shortened(seed, tuple(kept), tuple(events), said or "", tuple(played.trace))


def _dropped(things: list, fails: Callable[[list], bool]) -> list:  # type: ignore[type-arg]
    size = max(1, len(things) // 2)
    while things:
        at = 0
        while at < len(things):
            rest = things[:at] + things[at + size :]
            if fails(rest):
                things = rest
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return things
