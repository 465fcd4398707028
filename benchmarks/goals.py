"""The goals as ratios, and whether this run met them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.systems.dbos import DBOS, DBOSPostgres
from benchmarks.systems.prefect import Prefect
from benchmarks.systems.restate import Restate
from benchmarks.systems.sluice import Sluice

Facts = Mapping[str, float]

_MIX, _TWENTY = "accept single, 99 of 100 match nothing, 32", "accept single, all match, 20 lanes, 32"
_LOW = "cost low: a lake's mix, one event at a time"
_HIGH = "cost high: a lake's mix, batches of 64, 32 in flight"


@dataclasses.dataclass(frozen=True)
class Goal:
    """A fact, or the ratio of two, and the bound that it is to keep."""

    name: str
    least: float | None
    most: float | None
    fact: str
    to: str = ""
    unit: str = ""

    def row(self, facts: Facts) -> str:
        """Its row of the table."""
        bound = f"≥ {self.least:g}{self.unit}" if self.least is not None else f"≤ {self.most:g}{self.unit}"
        value = self._value(facts)
        if value is None:
            return f"| {self.name} | {bound} | – | not measured |"  # noqa: RUF001 an empty cell
        good = value >= self.least if self.least is not None else value <= (self.most or 0.0)
        shown = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return f"| {self.name} | {bound} | {shown}{self.unit} | {'met' if good else '**missed**'} |"

    def _value(self, facts: Facts) -> float | None:
        value = facts.get(self.fact)
        if value is None or not self.to:
            return value
        base = facts.get(self.to)
        return value / base if base else None


def _ends(system: str, work: str = "SINGLE") -> str:
    return f"{work} {system}"


OURS, PYTHON = Sluice.name, Restate.name
X = " ×"  # noqa: RUF001 a times sign
GOALS: Sequence[Goal] = (
    Goal("lake mix, accepted, to Restate", 1.5, None, _MIX, f"accept {PYTHON}", X),
    Goal("lake mix, accepted, to azure-data-tables' own inserts", 3, None, _MIX, "inserts", X),
    Goal("all match, 20 lanes, accepted, to those inserts", 1.5, None, _TWENTY, "inserts", X),
    Goal("the same in batches of 64", 4, None, "accept batches of 64, all match, 20 lanes, 32", "inserts", X),
    Goal("end to end, a run an event", 300, None, _ends(OURS), "", " runs/s"),
    Goal("end to end, lanes of 50, to Restate's Python SDK", 3, None, _ends(OURS, "LANES"), _ends(PYTHON, "LANES"), X),
    Goal("end to end, a run an event, to DBOS on SQLite", 2, None, _ends(OURS), _ends(DBOS.name), X),
    Goal("end to end, a run an event, to DBOS on PostgreSQL", 2, None, _ends(OURS), _ends(DBOSPostgres.name), X),
    Goal("end to end, a run an event, to Prefect", 40, None, _ends(OURS), _ends(Prefect.name), X),
    Goal("storm through the hub, runs too many or too few", None, 0, "storm hub runs off"),
    Goal("storm as deliveries, runs too many or too few", None, 0, "storm deliveries runs off"),
    Goal("storm through the hub, storage operations an event", None, 0.05, "storm hub operations"),
    Goal("storm as deliveries, storage operations an event", None, 0.6, "storm deliveries operations"),
    Goal("idle, event to backend call, p50", None, 150, f"idle {OURS}", "", " ms"),
    Goal("saturated p99 of an accept, lake mix, 32 in flight", None, 100, f"{_MIX} p99", "", " ms"),
    Goal("saturated p99 of an accept, 20 lanes, 32 in flight", None, 100, f"{_TWENTY} p99", "", " ms"),
    Goal("match of 50 rules, an event", None, 15, "match", "", " µs"),
    Goal("growth of accept's p50", None, 0.1, "growth"),
    Goal("index of `function_app.py` to an empty app", None, 1.2, "index of `function_app.py`", "", X),
    Goal("own memory (the whole Functions host) to Restate's", None, 0.2, f"memory {OURS}", f"memory {PYTHON}", X),
    Goal("storage cost to Event Grid's own, at high load", None, 0.15, _HIGH, "", X),
    Goal("storage cost to Event Grid's own, at low load", None, 0.15, _LOW, "", X),
)


def table(facts: Facts) -> list[str]:
    """All of them."""
    return ["| goal | bound | this run | |", "|---|---|---|---|", *(goal.row(facts) for goal in GOALS)]
