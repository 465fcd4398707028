"""Whether a cause to train is reason enough, given what the model's lane has trained already.  Pure.

(cause, data, past trainings, limits, now) -> ruling.  Causes are new data, drift, and an operator's request.  One lane
holds all trainings of a model, so no two are ever under way at once, and what a lane's runs say is the whole history.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from shared.drift import Level, Signal, signal
from shared.events import Event
from shared.phases import Phase
from shared.runs import Run

PUBLISHED = "Sluice.DatasetPublished"
REQUESTED = "Sluice.TrainingRequested"
FACTS = "guard"
"""Where a run's request keeps what its ruling was based on."""


class Outcome(enum.StrEnum):
    """What became of a training."""

    RUNNING = "running"
    REGISTERED = "registered"  # a model that is better than the champion, on its way to production
    RETAINED = "retained"  # the champion stays: the new model was not better beyond noise
    FAILED = "failed"
    CANCELLED = "cancelled"


_FUTILE = frozenset({Outcome.RETAINED, Outcome.FAILED})
_FOR_DRIFT = frozenset({"drift", "unmended"})
"""Rules that let a training through because of drift."""
_TRAINED = frozenset({Outcome.REGISTERED, Outcome.RETAINED})


@dataclasses.dataclass(frozen=True, slots=True)
class Training:
    """A run that was let through: on which version of the data, when, by which rule, and what became of it."""

    run: str
    outcome: Outcome
    started: dt.datetime
    ended: dt.datetime | None = None
    version: int | None = None
    rows: int | None = None
    rule: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """What would be trained on: a version of a table, and how many rows it has where that is known."""

    version: int
    rows: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a model may cost, and what a training must promise.

    After `futile` trainings in a row that released nothing a person must look; `budget` trainings at most are started
    `within` a time; `cooldown` passes after one has ended; fewer than `min_new_rows` since the last one are not worth
    another; `refresh_rows` new ones are reason enough without any drift (None: new data alone never is).  Once drift
    has led to a training that released nothing, each new data are reason enough until one does.
    """

    cooldown: dt.timedelta = dt.timedelta(0)
    min_new_rows: int = 0
    refresh_rows: int | None = None
    futile: int = 3
    budget: int | None = None
    within: dt.timedelta = dt.timedelta(days=28)


class Kind(enum.StrEnum):
    """Why somebody wants a training."""

    DATA = "data"
    DRIFT = "drift"
    OPERATOR = "operator"


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """Why a model might have to be trained."""

    kind: Kind
    reason: str
    version: int | None = None
    drift: Signal | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Ruling:
    """Whether to train, by which rule, and why in plain words; `escalate` says that a person must look."""

    proceed: bool
    rule: str
    reason: str
    escalate: bool = False


def cause(event: Event) -> Cause | None:
    """Why this event might ask for a training, None when it does not."""
    drift = signal(event)
    if drift is not None:
        return Cause(Kind.DRIFT, drift.reason, drift.data_version, drift)
    version = event.value("data.gold_version")
    pinned = int(version) if isinstance(version, int | str) and str(version).isdecimal() else None
    if event.type == PUBLISHED:
        return Cause(Kind.DATA, "new data were published", pinned)
    if event.type == REQUESTED:
        return Cause(Kind.OPERATOR, str(event.value("data.reason") or "no reason was given"), pinned)
    return None


def trainings(runs: Iterable[Run]) -> list[Training]:
    """The trainings among a lane's runs, the newest first; runs that were skipped trained nothing."""
    found = [
        Training(
            run=run.id,
            outcome=_outcome(run),
            started=run.created_at,
            ended=run.ended_at,
            version=run.request.get(FACTS, {}).get("data_version"),
            rows=run.request.get(FACTS, {}).get("rows"),
            rule=str(run.request.get(FACTS, {}).get("rule", "")),
        )
        for run in runs
        if run.request is not None and run.phase is not Phase.SKIPPED
    ]
    return sorted(found, key=lambda training: training.started, reverse=True)


def _outcome(run: Run) -> Outcome:
    if run.phase is Phase.SUCCEEDED:
        return Outcome.REGISTERED if run.result.get("model_version") else Outcome.RETAINED
    return {Phase.FAILED: Outcome.FAILED, Phase.CANCELLED: Outcome.CANCELLED}.get(run.phase, Outcome.RUNNING)


def rule(why: Cause, data: Data, past: Sequence[Training], limits: Limits, now: dt.datetime) -> Ruling:
    """The ruling: the first rule that has something to say.  `past` is newest first."""
    asked = _Asked(why, data, past, limits, now)
    for name, judge in _RULES.items():
        found = judge(asked)
        if found is not None:
            return dataclasses.replace(found, rule=name)
    return Ruling(True, str(why.kind), why.reason)


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    why: Cause
    data: Data
    past: Sequence[Training]
    limits: Limits
    now: dt.datetime

    @property
    def last(self) -> Training | None:
        """The newest training that has seen its data."""
        return next((training for training in self.past if training.outcome in _TRAINED), None)

    @property
    def new_rows(self) -> int | None:
        """How many rows more than the last training saw; None where one of the two is not known."""
        seen = self.last.rows if self.last else None
        return None if self.data.rows is None or seen is None else self.data.rows - seen


def _no(reason: str, *, escalate: bool = False) -> Ruling:
    return Ruling(False, "", reason, escalate)


def _level(asked: _Asked) -> Ruling | None:
    drift = asked.why.drift
    if drift is None or drift.level is Level.RETRAIN:
        return None
    if drift.level is Level.INCIDENT:
        return _no(f"an incident to look at, no reason to retrain: {drift.reason}")
    return _no(f"no drift: {drift.reason}")


def _version(asked: _Asked) -> Ruling | None:
    version = asked.data.version
    for training in asked.past:
        if training.version is None or training.outcome in (Outcome.FAILED, Outcome.CANCELLED):
            continue
        if training.version == version:
            under_way = training.outcome is Outcome.RUNNING
            joined = f"joined: run {training.run} is training on version {version}"
            return _no(joined if under_way else f"version {version} is already trained on: run {training.run}")
        if training.version > version:
            return _no(f"version {version} is older than {training.version}, which run {training.run} has trained on")
    return None


def _operator(asked: _Asked) -> Ruling | None:
    if asked.why.kind is not Kind.OPERATOR:
        return None
    return Ruling(True, "", f"an operator asked for it: {asked.why.reason}")


def _futile(asked: _Asked) -> Ruling | None:
    ended = [training for training in asked.past if training.outcome in {*_FUTILE, Outcome.REGISTERED}]
    last = ended[: asked.limits.futile]
    if len(last) < asked.limits.futile or any(training.outcome is Outcome.REGISTERED for training in last):
        return None
    said = ", ".join(f"{training.run} {training.outcome}" for training in last)
    return _no(f"escalated: the last {len(last)} trainings released nothing ({said}): look at them", escalate=True)


def _budget(asked: _Asked) -> Ruling | None:
    budget, within = asked.limits.budget, asked.limits.within
    if budget is None:
        return None
    spent = sum(training.started > asked.now - within for training in asked.past)
    if spent < budget:
        return None
    return _no(f"the budget is spent: {spent} trainings within {within}, {budget} are allowed", escalate=True)


def _first(asked: _Asked) -> Ruling | None:
    return None if asked.last else Ruling(True, "", f"the first model: {asked.why.reason}")


def _cooldown(asked: _Asked) -> Ruling | None:
    ends = [training.ended for training in asked.past if training.ended is not None]
    until = max(ends, default=asked.now) + asked.limits.cooldown
    if not ends or asked.now >= until:
        return None
    return _no(f"cooling down until {until.isoformat(timespec='seconds')} after the last training")


def _new_rows(asked: _Asked) -> Ruling | None:
    new, least = asked.new_rows, asked.limits.min_new_rows
    if new is None or new >= least:
        return None
    return _no(f"{new} new rows since the last training, {least} are needed")


def _unmended(asked: _Asked) -> Ruling | None:
    """Drift that no training has mended: the detector falls quiet when its history has drifted too, the error stays."""
    if asked.why.kind is not Kind.DATA:
        return None
    last = next((training for training in asked.past if training.outcome is not Outcome.CANCELLED), None)
    if last is None or last.rule not in _FOR_DRIFT or last.outcome not in _FUTILE:
        return None
    return Ruling(True, "", f"new data, and drift that is not mended: run {last.run} {last.outcome}")


def _refresh(asked: _Asked) -> Ruling | None:
    if asked.why.kind is not Kind.DATA:
        return None
    wanted, new = asked.limits.refresh_rows, asked.new_rows
    if wanted is None:
        return _no("new data alone are no reason to retrain: drift would be")
    if new is None:
        return Ruling(True, "", "new data; how many rows are new is not known")
    if new < wanted:
        return _no(f"{new} new rows since the last training, a refresh is due after {wanted}")
    return Ruling(True, "", f"{new} new rows since the last training: a refresh is due")


_RULES: Mapping[str, Callable[[_Asked], Ruling | None]] = {
    "level": _level,
    "version": _version,
    "operator": _operator,
    "futile": _futile,
    "budget": _budget,
    "first": _first,
    "cooldown": _cooldown,
    "new rows": _new_rows,
    "unmended": _unmended,
    "refresh": _refresh,
}
"""Asked in this order.  An operator may pass all that follows `operator`, but cannot train twice on one version."""


def facts(why: Cause, data: Data, ruling: Ruling) -> Mapping[str, Any]:
    """What is kept with the run: the version that is pinned, and why it was or was not let through."""
    return {
        "proceed": ruling.proceed,
        "reason": ruling.reason,
        "rule": ruling.rule,
        "escalate": ruling.escalate,
        "cause": str(why.kind),
        "data_version": data.version,
        "rows": data.rows,
    }
