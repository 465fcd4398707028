"""The way of one image to production, as a table of steps.  Pure: (plan, progress, facts, now) -> move.

    identify ─► qa_create ─► qa_wait ─► qa_check ─► qa_delete ─► the route's own stages ─► retire ─► record ─► end

    a stage:  approval
              shadow                                           once before the first shadow or weight:
              traffic_plan ─► traffic ─► verify ─► hold        deploy ─► deploy_wait ─► smoke

    a failure, a no, or a newer image:  restore ─► clean_deployment ─► clean_qa ─► record ─► end
                                        (from where something is to be undone)

The laws: only a digest that QA has passed is deployed, and only while its tag stands for it; traffic is written from a
map that was saved before, and read back; a map that is none of ours stops the release; until the old deployments are
retired they are left as they were, so that the way back is one traffic map; only what this attempt has made is ever
deleted, and a deployment only while it gets no traffic.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from shared import release_cleaning as cleaning
from shared import release_course, release_decisions
from shared import release_rules as rules
from shared import release_traffic as production
from shared import release_watch as watch
from shared.observations import Failure, Status
from shared.release_facts import Facts, Plan, elapsed
from shared.release_steps import Step
from shared.release_verdicts import Act, Done, Effect, Fail, Next, Verdict, Wait

JSON = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What decides a step, what follows it, how long it may wait, and from where on a failure has what to undo.

    A step that is `patient` goes on without what it waited for: the release does not depend on it.  One that is
    `closing` is past all that could stop it.
    """

    judge: Callable[[Plan, JSON, Facts], Verdict]
    then: Step
    minutes: float
    undo: Step | None = None
    patient: bool = False
    closing: bool = False


_DAY = 24 * 60.0

RULES: Mapping[Step, Rule] = {
    Step.IDENTIFY: Rule(rules.identify, Step.QA_CREATE, 15),
    Step.QA_CREATE: Rule(rules.qa_create, Step.QA_WAIT, 15, undo=Step.CLEAN_QA),
    Step.QA_WAIT: Rule(rules.qa_wait, Step.QA_CHECK, 20),
    Step.QA_CHECK: Rule(rules.qa_check, Step.QA_DELETE, 15),
    Step.QA_DELETE: Rule(rules.qa_delete, Step.STAGE, 15, patient=True),
    Step.APPROVAL: Rule(watch.approval, Step.STAGE, _DAY),
    Step.DEPLOY: Rule(rules.deploy, Step.DEPLOY_WAIT, 30, undo=Step.CLEAN_DEPLOYMENT),
    Step.DEPLOY_WAIT: Rule(rules.deploy_wait, Step.SMOKE, 45),
    Step.SMOKE: Rule(rules.smoke, Step.STAGE, 10),
    Step.SHADOW: Rule(watch.shadow, Step.STAGE, _DAY),
    Step.TRAFFIC_PLAN: Rule(production.traffic_plan, Step.TRAFFIC, 30),
    Step.TRAFFIC: Rule(production.traffic, Step.VERIFY, 30, undo=Step.RESTORE),
    Step.VERIFY: Rule(production.verify, Step.HOLD, 5),
    Step.HOLD: Rule(watch.hold, Step.STAGE, _DAY),
    Step.RETIRE: Rule(cleaning.retire, Step.RECORD, 30, patient=True, closing=True),
    Step.RESTORE: Rule(production.restore, Step.CLEAN_DEPLOYMENT, _DAY, patient=True, closing=True),
    Step.CLEAN_DEPLOYMENT: Rule(cleaning.clean_deployment, Step.CLEAN_QA, 30, patient=True, closing=True),
    Step.CLEAN_QA: Rule(rules.qa_delete, Step.RECORD, 15, patient=True, closing=True),
    Step.RECORD: Rule(cleaning.record, Step.END, 60, patient=True, closing=True),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """What follows from the facts: do `effect`, then save `progress`; both again when the save was not heard of."""

    progress: JSON
    status: Status
    reason: str
    effect: Effect | None = None
    failure: Failure | None = None
    result: JSON = dataclasses.field(default_factory=dict)


def begun(now: dt.datetime) -> JSON:
    """The progress of a release that has done nothing yet."""
    at = now.isoformat()
    return {"step": Step.IDENTIFY, "stage": -1, "begun": at, "entered": at, "seconds": {}, "evidence": {}, "notes": []}


def advance(plan: Plan, progress: JSON, facts: Facts, now: dt.datetime) -> Move:
    """The next move of a release, and its reason in plain words."""
    step = Step(progress["step"])
    rule = RULES[step]
    verdict = _judge(plan, progress, facts, rule, now)
    said = f"{step}: {verdict.reason}"
    if isinstance(verdict, Wait):
        return Move({**progress, **verdict.progress}, Status.ACTIVE, said + _unheard(progress, facts, rule))
    if isinstance(verdict, Act):
        return Move({**progress, **verdict.progress, "did": verdict.effect}, Status.ACTIVE, said, verdict.effect)
    evidence = {**progress["evidence"], **verdict.evidence}
    if isinstance(verdict, Fail):
        failure = {"reason": said, "class": verdict.failure, "stopped": verdict.stopped, "at": step}
        failure["refused"] = facts.refused is not None
        failed = {**progress, "failure": failure, "evidence": evidence}
        return _enter(plan, failed, Step(progress.get("undo", Step.RECORD)), said, now)
    if isinstance(verdict, Done):
        done = {**progress, "evidence": evidence, "outcome": verdict.reason}
        return _enter(plan, done, Step.END, verdict.reason, now)
    learned = {**progress, **verdict.progress, "evidence": evidence}
    if verdict.note:
        learned["notes"] = [*progress["notes"], said]
    return _enter(plan, learned, verdict.to or rule.then, said, now, verdict.effect)


def _judge(plan: Plan, progress: JSON, facts: Facts, rule: Rule, now: dt.datetime) -> Verdict:
    waited = elapsed(progress["entered"], now)
    facts = dataclasses.replace(facts, waited=waited, now=now)
    minutes = _minutes(plan, progress, rule)
    stopped = None if rule.closing else _stopped(progress, facts)
    if stopped is not None:
        return stopped
    if facts.refused:
        verdict: Verdict = Fail(f"it was refused: {facts.refused}")
    elif facts.unreachable and not rules.hopeless(facts):
        verdict = Wait(facts.unreachable, rules.unanswered(progress, facts))
    else:
        verdict = rule.judge(plan, progress, facts)
    if isinstance(verdict, Wait | Act) and waited > minutes * 60:
        logs = rules.tail(facts.logs)
        verdict = Fail(f"gave up after {minutes:g} minutes: {verdict.reason}{logs}", Failure.TRANSIENT)
    if isinstance(verdict, Fail) and rule.patient:
        return Next(verdict.reason, note=True)
    return verdict


def _stopped(progress: JSON, facts: Facts) -> Fail | None:
    """Why the release must not go on, None when it may: somebody's no at any time, an early end while it can turn."""
    no = release_decisions.rejection(facts.decisions, dt.datetime.fromisoformat(progress["begun"]))
    if no is not None:
        said = {"approvals": [*progress["evidence"].get("approvals", []), no.facts(str(progress["step"]))]}
        return Fail(f"rejected by {no.told()}", evidence=said, stopped=True)
    ending = facts.ending
    if ending is None or ending.same_image or progress.get("committed"):
        return None
    return Fail(ending.reason, stopped=True)


def _unheard(progress: JSON, facts: Facts, rule: Rule) -> str:
    """Why a release that is to end goes on, empty when nobody wants it to end."""
    if facts.ending is None or rule.closing:
        return ""
    why = "it is past its point of no return" if progress.get("committed") else "the image that is newest is its own"
    return f"; {facts.ending.reason}, but it goes on: {why}"


def _minutes(plan: Plan, progress: JSON, rule: Rule) -> float:
    """How long a step may wait: the route's own time where it has one; what watches ends by itself before this."""
    if rule.judge is rules.qa_wait:
        return plan.limits.ready_minutes
    if rule.judge is rules.deploy_wait:
        return plan.ready.total_seconds() / 60
    if rule.judge in (watch.approval, watch.shadow, watch.hold):
        stage = release_course.current(plan, progress)
        own = (stage.approval or dt.timedelta(0)) + stage.hold + stage.analysis.patience + stage.analysis.wait
        return rule.minutes + own.total_seconds() / 60
    return rule.minutes


def _enter(plan: Plan, progress: JSON, step: Step, reason: str, now: dt.datetime, effect: Effect | None = None) -> Move:
    """Go to a step; the end is where the observation becomes final."""
    seconds = {**progress["seconds"], _place(plan, progress): round(elapsed(progress["entered"], now), 3)}
    moved = {name: value for name, value in progress.items() if name not in _OF_ONE_STEP}
    if step is Step.STAGE:
        moved["stage"], step = release_course.following(plan, progress)
    moved |= {"step": step, "entered": now.isoformat(), "seconds": seconds}
    if step is Step.END:
        return _ended(plan, moved, seconds)
    if RULES[step].undo is not None:
        moved["undo"] = RULES[step].undo
    if step in _ASKING:
        moved["asks"] = f"approve or reject {release_course.current(plan, moved).name}"
    return Move(moved, Status.ACTIVE, reason, effect)


_OF_ONE_STEP = frozenset({"did", "analysis", "replayed", "repeats", "asks", "seen"})


def _place(plan: Plan, progress: JSON) -> str:
    """The name under which the time of a step is kept: a step of a stage with the stage's own name."""
    step = Step(progress["step"])
    return f"{release_course.current(plan, progress).name}: {step}" if step in _STAGED else str(step)


_ASKING = frozenset({Step.APPROVAL, Step.SHADOW, Step.HOLD})
"""In these steps people are heard: the progress says what is asked of them."""

_STAGED = frozenset({Step.APPROVAL, Step.SHADOW, Step.TRAFFIC_PLAN, Step.TRAFFIC, Step.VERIFY, Step.HOLD})


def _ended(plan: Plan, progress: JSON, seconds: JSON) -> Move:
    result = {"digest": plan.digest, **progress["evidence"], "seconds": seconds, "notes": list(progress["notes"])}
    failure = progress.get("failure")
    if failure:
        said = "; ".join([failure["reason"], *progress["notes"]])
        status = Status.CANCELLED if failure.get("stopped") else Status.FAILED
        return Move(progress, status, said, failure=Failure(failure["class"]), result=result)
    told = progress.get("outcome") or production.sentence(plan, progress)
    return Move(progress, Status.SUCCEEDED, "; ".join([told, *progress["notes"]]), result=result)
