"""The rules of the steps with which a release ends: what is deleted, and what is written down.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import release_evidence, release_rules
from shared.release_facts import RUN_TAG, Facts, Plan
from shared.release_shares import positive
from shared.release_steps import Step
from shared.release_verdicts import Act, Effect, Next, Verdict, Wait

JSON = Mapping[str, Any]


def retire(_: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Deployments that had the traffic before are deleted, if a release made them and they get none now."""
    old = retired(progress, facts)
    if old is not None and facts.deployments[old].state.lower() == "deleting":
        return Wait(f"deployment {old} is being deleted")
    if old is not None:
        return Act(Effect.DELETE_RETIRED, f"deployment {old} gets no traffic any more and is being deleted")
    left = sorted(name for name in progress["previous"] if name in facts.deployments and name != _new(progress))
    if left:
        return Next(f"{', '.join(left)} is kept: no release made it, or it gets traffic", note=True)
    return Next("no old deployment is left")


def retired(progress: JSON, facts: Facts) -> str | None:
    """The next old deployment to delete, None when there is none."""
    if facts.endpoint is None or positive(facts.endpoint.traffic) != positive(progress["intended"]):
        return None
    for name in sorted(progress["taking"]):
        found = facts.deployments.get(name)
        if found and name != _new(progress) and RUN_TAG in found.tags and not facts.endpoint.share(name):
            return str(name)
    return None


def clean_deployment(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The new deployment is deleted, if it is this attempt's own and gets no traffic."""
    name = _new(progress)
    found = facts.deployments.get(name)
    if found is None:
        if release_rules.may_appear(progress, facts, Step.DEPLOY, Step.DEPLOY_WAIT):
            return Wait(f"deployment {name} was asked for and may still appear")
        return Next(f"deployment {name} is gone")
    if not plan.owns(found):
        return Next(f"deployment {name} is not this release's: it is left alone", note=True)
    if facts.endpoint is None or facts.endpoint.share(name):
        return Next(f"deployment {name} gets traffic: it is left in place", note=True)
    if not facts.endpoint.settled:
        return Wait(f"endpoint {plan.endpoint} is {facts.endpoint.state}")
    if found.state.lower() == "deleting":
        return Wait(f"deployment {name} is being deleted")
    return Act(Effect.DELETE_DEPLOYMENT, f"deployment {name} is being deleted", {"seen": True})


def record(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """One record of the release in the endpoint's chain of evidence."""
    written = release_evidence.own(plan, progress, facts.chain)
    if written is None:
        return Act(Effect.WRITE_EVIDENCE, "the evidence is being written")
    name = {"endpoint": plan.endpoint, "number": written["number"], "sha256": written["sha256"]}
    return Next(f"the evidence is record {written['number']} of {plan.endpoint}", {"record": name})


def _new(progress: JSON) -> str:
    return str(progress["evidence"]["deployment"])
