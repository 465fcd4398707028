"""How measurements add up to the end of a stage.  Pure: (analysis, state, readings, now) -> state and judgement.

Measuring goes on while a person is asked: more calls may still turn inconclusive into success or failure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from shared.release_checks import Outcome, Reading
from shared.release_stages import Analysis

JSON = Mapping[str, Any]


class End(enum.StrEnum):
    """What the measurements so far say of a stage."""

    UNFINISHED = "unfinished"
    SUCCESS = "success"
    FAILURE = "failure"
    INCONCLUSIVE = "inconclusive"  # a person is asked


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What the measurements so far say of a stage, and why."""

    end: End
    reason: str


def begun(analysis: Analysis, now: dt.datetime) -> JSON:
    """The state of a stage that has been measured nothing of."""
    checks = [{"failures": 0, "row": 0, "last": None} for _ in analysis.checks]
    return {"began": now.isoformat(), "next": (now + analysis.delay).isoformat(), "taken": 0, "checks": checks}


def due(state: JSON | None, now: dt.datetime) -> bool:
    """Whether it is time for the next measurement."""
    return state is not None and bool(state["checks"]) and now >= dt.datetime.fromisoformat(state["next"])


def since(analysis: Analysis, state: JSON, now: dt.datetime) -> dt.datetime:
    """From when on calls are looked at."""
    began = dt.datetime.fromisoformat(state["began"])
    return began if analysis.window is None else max(began, now - analysis.window)


def measured(analysis: Analysis, state: JSON, readings: Sequence[Reading], now: dt.datetime) -> JSON:
    """The state after one measurement of every check."""
    checks = [_counted(known, reading) for known, reading in zip(state["checks"], readings, strict=True)]
    return {**state, "taken": state["taken"] + 1, "next": (now + analysis.interval).isoformat(), "checks": checks}


def judge(analysis: Analysis, state: JSON, now: dt.datetime, hold: dt.timedelta) -> Judgement:
    """What the measurements so far say of a stage that lasts `hold` at least."""
    pairs = list(zip(analysis.checks, state["checks"], strict=True))
    deciding = [(check, known) for check, known in pairs if not check.dry_run]
    failed = [known for _, known in deciding if known["failures"] > analysis.failure_limit]
    if failed:
        return Judgement(End.FAILURE, "; ".join(_told(known) for known in failed))
    waited = now - dt.datetime.fromisoformat(state["began"])
    said = "; ".join(_told(known) for _, known in pairs) or "nothing is checked"
    if waited < hold:
        return Judgement(End.UNFINISHED, f"held for {_seconds(waited)} of {_seconds(hold)}: {said}")
    open_ = [known for _, known in deciding if known["row"] < analysis.count]
    if not open_:
        return Judgement(End.SUCCESS, said)
    patience = hold + analysis.patience
    if waited < patience:
        return Judgement(End.UNFINISHED, said)
    said = "; ".join(_told(known) for known in open_)
    asked = f"inconclusive after {_seconds(patience)}: {said}"
    if waited >= patience + analysis.wait:
        return Judgement(End.FAILURE, f"{asked}; and nobody has decided within {_seconds(analysis.wait)}")
    return Judgement(End.INCONCLUSIVE, asked)


def readings(state: JSON) -> list[JSON]:
    """The last reading of each check with how often it has failed, as the evidence keeps them."""
    return [
        {**known["last"], "failures": known["failures"], "in_a_row": known["row"]}
        for known in state["checks"]
        if known["last"] is not None
    ]


def _counted(known: JSON, reading: Reading) -> JSON:
    failed = reading.outcome is Outcome.FAILURE
    row = known["row"] + 1 if reading.outcome is Outcome.SUCCESS else 0
    return {"failures": known["failures"] + failed, "row": row, "last": reading.facts(), "told": reading.told()}


def _told(known: JSON) -> str:
    return str(known.get("told", "not measured yet"))


def _seconds(span: dt.timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
