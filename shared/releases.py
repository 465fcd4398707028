"""The way of one image to production, as a table of steps.  Pure: (plan, progress, facts, now) -> move.

    identify ─► qa_create ─► qa_wait ─► qa_check ─► qa_delete ─► deploy ─► deploy_wait ─► smoke
                    └───────────┴──────────┴─► clean_qa             └──────────┴───────────┴─► clean_deployment
    ─► traffic_plan ─► traffic ─► verify ─► retire ─► done
                          └──────────┴─► restore ─► clean_deployment ─► failed

The laws: only a digest that QA has passed is deployed; traffic is written from a map that was saved before, and read
back; the endpoint always keeps one deployment with 100 %; only what this attempt has made is deleted, and a
deployment only while it gets no traffic.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable, Mapping
from typing import Any

from shared import release_rules as rules
from shared import release_traffic as production
from shared.observations import Failure, Status
from shared.release_facts import Facts, Plan, elapsed
from shared.release_verdicts import Act, Done, Effect, Fail, Next, Verdict, Wait

JSON = Mapping[str, Any]


class Step(enum.StrEnum):
    """Where a release stands."""

    IDENTIFY = "identify"
    QA_CREATE = "qa_create"
    QA_WAIT = "qa_wait"
    QA_CHECK = "qa_check"
    QA_DELETE = "qa_delete"
    DEPLOY = "deploy"
    DEPLOY_WAIT = "deploy_wait"
    SMOKE = "smoke"
    TRAFFIC_PLAN = "traffic_plan"
    TRAFFIC = "traffic"
    VERIFY = "verify"
    RETIRE = "retire"
    RESTORE = "restore"
    CLEAN_QA = "clean_qa"
    CLEAN_DEPLOYMENT = "clean_deployment"
    END = "end"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """What decides a step, what follows it, where a failure leads, and how long it may wait.

    A step that is `patient` goes on without what it waited for: the release does not depend on it.
    """

    judge: Callable[[Plan, JSON, Facts], Verdict]
    then: Step
    failing: Step
    minutes: float
    patient: bool = False


RULES: Mapping[Step, Rule] = {
    Step.IDENTIFY: Rule(rules.identify, Step.QA_CREATE, Step.END, 15),
    Step.QA_CREATE: Rule(rules.qa_create, Step.QA_WAIT, Step.CLEAN_QA, 15),
    Step.QA_WAIT: Rule(rules.qa_wait, Step.QA_CHECK, Step.CLEAN_QA, 20),
    Step.QA_CHECK: Rule(rules.qa_check, Step.QA_DELETE, Step.CLEAN_QA, 15),
    Step.QA_DELETE: Rule(rules.qa_delete, Step.DEPLOY, Step.CLEAN_QA, 15, patient=True),
    Step.DEPLOY: Rule(rules.deploy, Step.DEPLOY_WAIT, Step.CLEAN_DEPLOYMENT, 30),
    Step.DEPLOY_WAIT: Rule(rules.deploy_wait, Step.SMOKE, Step.CLEAN_DEPLOYMENT, 45),
    Step.SMOKE: Rule(rules.smoke, Step.TRAFFIC_PLAN, Step.CLEAN_DEPLOYMENT, 10),
    Step.TRAFFIC_PLAN: Rule(production.traffic_plan, Step.TRAFFIC, Step.CLEAN_DEPLOYMENT, 30),
    Step.TRAFFIC: Rule(production.traffic, Step.VERIFY, Step.RESTORE, 30),
    Step.VERIFY: Rule(production.verify, Step.RETIRE, Step.RESTORE, 5),
    Step.RETIRE: Rule(production.retire, Step.END, Step.END, 30, patient=True),
    Step.RESTORE: Rule(production.restore, Step.CLEAN_DEPLOYMENT, Step.CLEAN_DEPLOYMENT, 30, patient=True),
    Step.CLEAN_QA: Rule(rules.qa_delete, Step.END, Step.END, 15, patient=True),
    Step.CLEAN_DEPLOYMENT: Rule(production.clean_deployment, Step.END, Step.END, 30, patient=True),
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
    return {"step": Step.IDENTIFY, "entered": now.isoformat(), "seconds": {}, "evidence": {}, "notes": []}


def advance(plan: Plan, progress: JSON, facts: Facts, now: dt.datetime) -> Move:
    """The next move of a release, and its reason in plain words."""
    step = Step(progress["step"])
    rule = RULES[step]
    verdict = _judge(plan, progress, facts, rule, elapsed(progress["entered"], now))
    if isinstance(verdict, Wait):
        return Move(progress, Status.ACTIVE, f"{step}: {verdict.reason}")
    if isinstance(verdict, Act):
        return Move({**progress, "did": verdict.effect}, Status.ACTIVE, f"{step}: {verdict.reason}", verdict.effect)
    if isinstance(verdict, Fail):
        failure = {"reason": f"{step}: {verdict.reason}", "class": verdict.failure}
        failed = {**progress, "failure": failure, "evidence": {**progress["evidence"], **verdict.evidence}}
        return _enter(plan, failed, rule.failing, failure["reason"], now)
    evidence = {**progress["evidence"], **verdict.evidence}
    if isinstance(verdict, Done):
        done = {**progress, "evidence": evidence, "outcome": verdict.reason}
        return _enter(plan, done, Step.END, verdict.reason, now)
    learned = {**progress, **verdict.progress, "evidence": evidence}
    if verdict.note:
        learned["notes"] = [*progress["notes"], f"{step}: {verdict.reason}"]
    return _enter(plan, learned, rule.then, f"{step}: {verdict.reason}", now, verdict.effect)


def _judge(plan: Plan, progress: JSON, facts: Facts, rule: Rule, waited: float) -> Verdict:
    minutes = plan.limits.ready_minutes if rule.judge is rules.qa_wait else rule.minutes
    if facts.refused:
        verdict: Verdict = Fail(f"it was refused: {facts.refused}")
    elif facts.unreachable and not rules.hopeless(facts):
        verdict = Wait(facts.unreachable)
    else:
        verdict = rule.judge(plan, progress, dataclasses.replace(facts, waited=waited))
    if isinstance(verdict, Wait | Act) and waited > minutes * 60:
        logs = rules.tail(facts.logs)
        verdict = Fail(f"gave up after {minutes:g} minutes: {verdict.reason}{logs}", Failure.TRANSIENT)
    if isinstance(verdict, Fail) and rule.patient:
        return Next(verdict.reason, note=True)
    return verdict


def _enter(plan: Plan, progress: JSON, step: Step, reason: str, now: dt.datetime, effect: Effect | None = None) -> Move:
    """Go to a step; the end is where the observation becomes final."""
    left = str(progress["step"])
    seconds = {**progress["seconds"], left: round(elapsed(progress["entered"], now), 3)}
    moved = {name: value for name, value in progress.items() if name != "did"}
    moved |= {"step": step, "entered": now.isoformat(), "seconds": seconds}
    if step is not Step.END:
        return Move(moved, Status.ACTIVE, reason, effect)
    result = {"digest": plan.digest, **progress["evidence"], "seconds": seconds, "notes": list(progress["notes"])}
    failure = progress.get("failure")
    if failure:
        said = "; ".join([failure["reason"], *progress["notes"]])
        return Move(moved, Status.FAILED, said, failure=Failure(failure["class"]), result=result)
    told = progress.get("outcome") or production.sentence(plan, progress)
    return Move(moved, Status.SUCCEEDED, "; ".join([told, *progress["notes"]]), result=result)
