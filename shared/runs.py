"""One execution of an action for one generation.  Pure: (run, what happened, now) -> run.

Every move carries its reason in plain words.  An attempt number grows only when the previous attempt is known final,
or known never to have started; a call whose answer was lost is repeated under the same token.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

from shared.observations import Failure, Observation, Remote, Status
from shared.phases import APPROVE, MOVES, Decision, Ending, EndingKind, Phase, Step

JSON = Mapping[str, Any]

_FIRST_PAUSE = dt.timedelta(seconds=1)
_LONGEST_PAUSE = dt.timedelta(seconds=30)
_LONGEST_DELAY = dt.timedelta(hours=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """Which failures get another attempt, how many in all, and the pause before the next.

    It is doubled each time, up to an hour (or to `delay`, where that is longer).
    """

    attempts: int = 3
    delay: dt.timedelta = dt.timedelta(seconds=30)
    failures: frozenset[Failure] = frozenset({Failure.TRANSIENT})


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One execution of an action for one generation.

    `carries` are earlier generations whose sets are in its manifest, `failed` those that wait to be worked on again.
    `limited`: it holds a place of the route's limit.  `ends` counts how often it has ended: each end is told once.
    """

    route: str
    key: str
    generation: int
    phase: Phase
    reason: str
    created_at: dt.datetime
    next_at: dt.datetime
    attempt: int = 1
    ring_no: int = 0
    correlation: str = ""
    manifest: JSON | None = None
    request: JSON | None = None
    remote: Remote | None = None
    progress: JSON = dataclasses.field(default_factory=dict)
    result: JSON = dataclasses.field(default_factory=dict)
    phase_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    ending: Ending | None = None
    carries: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    limited: bool = False
    asked_by: str = ""
    decisions: tuple[Decision, ...] = ()
    ends: int = 0
    event_due: bool = False
    leased_by: str = ""
    leased_until: dt.datetime | None = None
    history: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The run's name for people and backends: route, eight digits of the lane, generation."""
        return run_id(self.route, self.key, self.generation)

    @property
    def alive(self) -> bool:
        """Whether something is still owed: a move, or the telling of its end."""
        return self.event_due or not self.phase.final


def run_id(route: str, key: str, generation: int) -> str:
    """The name of the run of one generation of a lane."""
    return f"{route}-{hashlib.sha256(f'{route}|{key}'.encode()).hexdigest()[:8]}-{generation}"


def token(store_id: str, route: str, key: str, generation: int, attempt: int) -> str:
    """The 64 hexadecimal digits under which a backend knows one attempt; at most one effect exists for it."""
    return hashlib.sha256(f"{store_id}|{route}|{key}|{generation}|{attempt}".encode()).hexdigest()


def step(run: Run, now: dt.datetime, timeout: dt.timedelta) -> Step:
    """What to do next for this run at this time."""
    if run.phase.final:
        return Step.EMIT if run.event_due else Step.REST
    if run.phase in (Phase.PREPARING, Phase.QUEUED):
        return Step.PREPARE if run.phase is Phase.PREPARING else Step.REST
    if run.phase is Phase.RUNNING and run.ending is None and run.started_at and now >= run.started_at + timeout:
        return Step.CANCEL
    if now < run.next_at:
        return Step.SLEEP
    if run.phase in (Phase.WAITING, Phase.APPROVAL):
        return Step.RETRY if run.phase is Phase.WAITING else Step.EXPIRE
    return Step.START if run.phase is Phase.STARTING else Step.OBSERVE


def opened(route: str, key: str, generation: int, reason: str, now: dt.datetime, **facts: Any) -> Run:
    """The run of a generation that has just been closed; `facts` are what its lane says of it."""
    return Run(route, key, generation, Phase.PREPARING, reason, now, now, phase_at=now, **facts)


def prepared(
    run: Run, manifest: JSON, request: JSON, correlation: str, now: dt.datetime, approval: dt.timedelta | None = None
) -> Run:
    """The set is written and the request frozen: every call from here on sends the same.

    With `approval` a person must approve it within that time before it starts.
    """
    _check(run, "prepared")
    reason = f"{manifest.get('count')} event(s) in the set; the request is frozen"
    frozen = dataclasses.replace(run, manifest=manifest, request=request, correlation=correlation)
    return _move(frozen, Phase.STARTING, reason, now) if approval is None else _asking(frozen, reason, approval, now)


def approved(run: Run, decision: Decision, now: dt.datetime) -> Run:
    """A person lets it start, as soon as its lane has a slot."""
    _check(run, "approved")
    return _move(run, Phase.QUEUED, decision.sentence, now, decisions=(*run.decisions, decision))


def rejected(run: Run, decision: Decision, now: dt.datetime) -> Run:
    """A person does not let it start."""
    _check(run, "rejected")
    return _end(run, Phase.CANCELLED, decision.sentence, now, decisions=(*run.decisions, decision))


def expired(run: Run, now: dt.datetime) -> Run:
    """Nobody has decided in time."""
    _check(run, "expired")
    return _end(run, Phase.CANCELLED, "nobody has approved it in time", now)


def decided(run: Run, decision: Decision, now: dt.datetime) -> Run:
    """A person has decided what the run's own action asks for: it is told with the next observation, now."""
    _check(run, "decided")
    return dataclasses.replace(run, decisions=(*run.decisions, decision), next_at=now)


def admitted(run: Run, reason: str, now: dt.datetime) -> Run:
    """It has a slot, and starts."""
    _check(run, "admitted")
    return _move(run, Phase.STARTING, reason, now)


def next_attempt(run: Run) -> int:
    """The number of the attempt that follows the end of a run.

    It is the next when the last one is known to have been accepted, and has ended.  Else it is the same, under the same
    token: what an answer that was lost, or a backend that was abandoned, has left behind is found and not doubled.
    """
    return run.attempt + 1 if run.remote and not _given_up(run) else run.attempt


def reopened(run: Run, request: JSON, reason: str, now: dt.datetime, approval: dt.timedelta | None) -> Run:
    """What has failed or was cancelled is to work again, with `request`; what nobody has approved is approved first."""
    _check(run, "reopened")
    if not _given_up(run):  # else whoever worked on it may still wait for an answer
        run = dataclasses.replace(run, leased_by="", leased_until=None)
    run = dataclasses.replace(
        run, attempt=next_attempt(run), request=request, remote=None, progress={}, result={}, started_at=None,
        ended_at=None, ending=None, limited=False,
    )  # fmt: skip
    agreed = approval is None or (run.decisions and run.decisions[-1].verdict == APPROVE)
    return _move(run, Phase.QUEUED, reason, now) if agreed else _asking(run, reason, approval, now)


def skipped(run: Run, manifest: JSON, reason: str, now: dt.datetime) -> Run:
    """The guard found nothing to do for this set."""
    _check(run, "skipped")
    return _end(run, Phase.SKIPPED, reason, now, manifest=manifest)


def started(run: Run, remote: Remote, now: dt.datetime) -> Run:
    """The backend has accepted the attempt, or already had it under this token."""
    _check(run, "started")
    return _move(run, Phase.RUNNING, f"started as {remote.id}", now, remote=remote, started_at=now)


def unstarted(run: Run, reason: str, now: dt.datetime, retry_after: float | None, timeout: dt.timedelta) -> Run:
    """The start did not answer: its outcome is unknown, so it is repeated under the same token.

    After the timeout too: the slot is held until the backend answers, and what it has is then cancelled.
    """
    _check(run, "unstarted")
    since = run.phase_at or run.created_at
    pause = dt.timedelta(seconds=retry_after) if retry_after is not None else _pause(since, now)
    if run.ending is None and now >= since + timeout:
        run = dataclasses.replace(run, ending=Ending(EndingKind.TIMEOUT, f"it could not be started within {timeout}"))
    if run.ending is not None:
        held = f"{run.ending.reason}; whether it exists is unknown, so the slot is held until the backend answers"
        return dataclasses.replace(run, reason=f"{held}: {reason}", next_at=now + pause)
    again = min(now + pause, since + timeout)  # what the backend wishes does not outlast what the route allows
    return dataclasses.replace(run, reason=f"not started yet: {reason}", next_at=again)


def refused(run: Run, reason: str, now: dt.datetime) -> Run:
    """The backend, or our own check before it, will never accept this request; nothing was started."""
    _check(run, "refused")
    return _end(run, Phase.FAILED, reason, now)


def observed(run: Run, seen: Observation, now: dt.datetime, retry: Retry) -> Run:
    """Take in what the backend says of the attempt."""
    _check(run, "observed")
    moved = seen.progress is not None and seen.progress != run.progress
    run = dataclasses.replace(
        run,
        progress=run.progress if seen.progress is None else seen.progress,
        result={**run.result, **seen.result},
        correlation=seen.correlation or run.correlation,
        remote=run.remote and dataclasses.replace(run.remote, url=run.remote.url or seen.url),
    )
    if seen.status is Status.ACTIVE:
        pause = dt.timedelta(0) if moved else _pause(run.phase_at or run.created_at, now)
        pause = pause if seen.retry_after is None else dt.timedelta(seconds=seen.retry_after)
        return dataclasses.replace(run, reason=seen.reason, next_at=now + pause)
    if seen.status is Status.SUCCEEDED:
        return _end(run, Phase.SUCCEEDED, seen.reason, now)
    if run.ending is not None and run.ending.kind is EndingKind.TIMEOUT:
        return _failed(run, f"{run.ending.reason}; {seen.reason}", Failure.TIMEOUT, now, retry)
    if run.ending is not None:
        return _end(run, Phase.CANCELLED, f"{run.ending.reason}; {seen.reason}", now)
    if seen.status is Status.CANCELLED:
        return _end(run, Phase.CANCELLED, seen.reason, now)
    return _failed(run, seen.reason, seen.failure or Failure.PERMANENT, now, retry)


def unobserved(run: Run, reason: str, now: dt.datetime, retry_after: float | None = None) -> Run:
    """The backend could not be asked: unknown is not failed, so ask again later."""
    _check(run, "unobserved")
    pause = dt.timedelta(seconds=retry_after) if retry_after is not None else _pause(run.phase_at or now, now)
    return dataclasses.replace(run, reason=f"state unknown: {reason}", next_at=now + pause)


def hastened(run: Run, now: dt.datetime) -> Run:
    """Somebody says that the attempt has ended: look now, not when the pause is over."""
    _check(run, "hastened")
    return dataclasses.replace(run, next_at=min(run.next_at, now))


def cancelling(run: Run, timeout: dt.timedelta, now: dt.datetime) -> Run:
    """It has taken longer than the route allows: cancel it, and hold the slot until the backend says that it ended."""
    _check(run, "cancelling")
    return ended_early(run, Ending(EndingKind.TIMEOUT, f"it took longer than {timeout} and was cancelled"), now)


def ended_early(run: Run, ending: Ending, now: dt.datetime) -> Run:
    """The run is to end: what has not been started ends here, what may live remotely when the backend says so."""
    _check(run, "ended early")
    if run.phase not in (Phase.STARTING, Phase.RUNNING):
        return _end(dataclasses.replace(run, ending=ending), Phase.CANCELLED, ending.reason, now)
    return dataclasses.replace(run, ending=ending, next_at=now) if run.ending is None else run


def abandoned(run: Run, by: str, now: dt.datetime) -> Run:
    """A person waits no longer for the backend: the run ends, and what it may have left there is theirs to look for.

    Raises ValueError when nobody has asked it to end before.
    """
    _check(run, "abandoned")
    if run.ending is None:
        raise ValueError(f"run {run.id} is {run.phase}: cancel it first, and abandon it when the backend never answers")
    where = f"as {run.remote.id}" if run.remote else "under its token"
    reason = f"{run.ending.reason}; {by} abandoned it: what may be left {where} is nobody's any more ({run.reason})"
    return _end(dataclasses.replace(run, ending=Ending(EndingKind.ABANDONED, reason)), Phase.FAILED, reason, now)


def passed_over(run: Run, reason: str, now: dt.datetime, missing: tuple[str, ...] = ()) -> Run:
    """Nothing is done for this generation, by the route's own policy; `missing` did not come in time."""
    _check(run, "passed over")
    if not missing:
        return _end(run, Phase.SKIPPED, reason, now)
    ending = Ending(EndingKind.MISSED, reason)
    return _end(run, Phase.SKIPPED, reason, now, ending=ending, result={"missing": list(missing)})


def retried(run: Run, request: JSON, now: dt.datetime) -> Run:
    """The next attempt, under a new token."""
    _check(run, "retried")
    run = dataclasses.replace(run, attempt=run.attempt + 1, remote=None, progress={}, started_at=None, ending=None)
    return _move(run, Phase.STARTING, f"attempt {run.attempt}", now, request=request)


def told(run: Run) -> Run:
    """The run's own event has been received."""
    _check(run, "told")
    return dataclasses.replace(run, event_due=False)


def rung(run: Run) -> Run:
    """The next message about this run carries the next number, older ones are dropped; the lease is given back."""
    return dataclasses.replace(run, ring_no=run.ring_no + 1, leased_by="", leased_until=None)


def _failed(run: Run, reason: str, failure: Failure, now: dt.datetime, retry: Retry) -> Run:
    said = f"attempt {run.attempt} failed ({failure}): {reason}"
    if failure not in retry.failures:
        return _end(run, Phase.FAILED, f"{said}; {failure} failures are not retried", now)
    if run.attempt >= retry.attempts:
        return _end(run, Phase.FAILED, f"{said}; that was the last of {retry.attempts}", now)
    delay = min(retry.delay * 2 ** min(run.attempt - 1, 30), max(retry.delay, _LONGEST_DELAY))
    return dataclasses.replace(
        _move(run, Phase.WAITING, f"{said}; the next attempt starts in {delay}", now), next_at=now + delay
    )


def _given_up(run: Run) -> bool:
    return run.ending is not None and run.ending.kind is EndingKind.ABANDONED


def _pause(since: dt.datetime, now: dt.datetime) -> dt.timedelta:
    """Ask again after a tenth of the time waited so far, between 1 and 30 seconds."""
    return min(_LONGEST_PAUSE, max(_FIRST_PAUSE, (now - since) / 10))


def _end(run: Run, phase: Phase, reason: str, now: dt.datetime, **changes: Any) -> Run:
    return _move(run, phase, reason, now, ended_at=now, event_due=True, ends=run.ends + 1, **changes)


def _asking(run: Run, reason: str, approval: dt.timedelta | None, now: dt.datetime) -> Run:
    until = now + (approval or dt.timedelta(0))
    said = f"{reason}; it waits to be approved until {until.isoformat(timespec='seconds')}"
    return dataclasses.replace(_move(run, Phase.APPROVAL, said, now), next_at=until)


def _check(run: Run, move: str) -> None:
    if run.phase not in MOVES[move]:
        allowed = ", ".join(sorted(MOVES[move]))
        raise ValueError(f"run {run.id} is {run.phase}: it cannot be {move}, only what is {allowed} can")


def _move(run: Run, phase: Phase, reason: str, now: dt.datetime, **changes: Any) -> Run:
    line = f"{now.isoformat(timespec='milliseconds')} {phase}: {reason}"
    return dataclasses.replace(
        run, phase=phase, reason=reason, phase_at=now, next_at=now, history=(*run.history, line)[-50:], **changes
    )
