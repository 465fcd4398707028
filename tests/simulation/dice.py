"""Chance from one seed, by name: the n-th roll for a name is the same whatever is rolled for other names.

So a fault can be dropped from a failing run without moving the others, which is what makes schedules shorter.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import struct
import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

Thing = TypeVar("Thing")
_WORDS, _WORD = struct.Struct(">4I"), float(1 << 32)

KINDS = (
    "lost", "after", "late", "conflict", "landed_conflict", "partial", "throttled", "odd", "slow",
    "crash_before", "crash_after", "twice", "delayed", "never", "unacknowledged", "resent",
    "stops", "abandons", "repeats", "renews",
)  # fmt: skip
"""What can go wrong; each seed draws how often each does, some never."""
_SELDOM_ASKED = frozenset(KINDS[KINDS.index("twice") :]) - {"delayed"}


@dataclasses.dataclass(frozen=True, slots=True)
class Roll:
    """Four numbers in [0, 1) under a name."""

    name: str
    a: float
    b: float
    c: float
    d: float

    def between(self, low: float, high: float) -> float:
        """A number between two others."""
        return low + self.b * (high - low)


class Dice:
    """All chance of one simulation, and the faults that it chose."""

    def __init__(self, seed: int, keep: frozenset[str] | None = None, *, calm: bool = False) -> None:
        self.seed, self.calm = seed, calm
        self._keep, self._counts = keep, collections.Counter[str]()
        self.faults: list[str] = []
        self.observer: Callable[[str], None] = lambda _: None
        self._rates = {kind: self._rate(kind) for kind in KINDS}

    def _rate(self, kind: str) -> float:
        roll = self.roll(f"rate {kind}")
        return 0.0 if roll.a < 0.35 else (5 if kind in _SELDOM_ASKED else 1) * (0.01 + 0.07 * roll.b**2)

    def roll(self, name: str) -> Roll:
        """The next roll for a name."""
        self._counts[name] += 1
        full = f"{name}#{self._counts[name]}"
        a, b, c, d = _WORDS.unpack(hashlib.blake2b(f"{self.seed}|{full}".encode(), digest_size=16).digest())
        return Roll(full, a / _WORD, b / _WORD, c / _WORD, d / _WORD)

    def fault(self, roll: Roll, kinds: Sequence[str]) -> str | None:
        """What goes wrong here, None for nothing."""
        if self.calm:
            return None
        left = roll.a
        for kind in kinds:
            rate = self._rates[kind]
            if left < rate:
                name = f"{roll.name}={kind}".replace(" ", "_")
                if self._keep is not None and name not in self._keep:
                    return None
                self.faults.append(name)
                self.observer(name)
                return kind
            left -= rate
        return None

    def pick(self, name: str, things: Sequence[Thing]) -> Thing:
        """One of several things."""
        return things[int(self.roll(name).a * len(things))]

    def number(self, name: str, low: float, high: float) -> float:
        """A number between two others."""
        return low + self.roll(name).a * (high - low)

    def uuid(self) -> uuid.UUID:
        """The next id that the product draws: the names of blobs and rows, which decide an order, are the seed's."""
        self._counts["uuid"] += 1
        drawn = hashlib.blake2b(f"{self.seed}|uuid#{self._counts['uuid']}".encode(), digest_size=16).digest()
        return uuid.UUID(bytes=drawn, version=4)
