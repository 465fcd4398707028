"""The rules of the steps that move production traffic and clear up: facts -> verdict.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import release_rules
from shared.release_facts import RUN_TAG, Endpoint, Facts, Plan
from shared.release_verdicts import Act, Effect, Fail, Next, Verdict, Wait

JSON = Mapping[str, Any]


def traffic_plan(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The traffic map to write: everything to the new deployment; what was is kept for the way back."""
    name = progress["evidence"]["deployment"]
    fault = _unfit(plan, name, facts)
    if fault:
        return Fail(fault)
    endpoint = _endpoint(facts)
    if not endpoint.settled:
        return Wait(f"endpoint {plan.endpoint} is {endpoint.state}")
    previous = _positive(endpoint.traffic)
    intended = {**dict.fromkeys(sorted(previous), 0), name: 100}
    said = f"all traffic goes to {name}; before it was {_map(previous)}"
    return Next(said, {"previous": previous}, {"intended": intended, "previous": previous})


def traffic(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Write the saved map and read it back; a third map means that somebody else is at it."""
    name = progress["evidence"]["deployment"]
    return _write(plan, progress, facts, progress["previous"], name)


def verify(_: Plan, progress: JSON, facts: Facts) -> Verdict:
    """A plain request is answered by the new model."""
    if facts.checks is None:
        return Wait("the endpoint was not asked")
    if facts.checks.faults:
        return Wait(f"a plain request is not answered as QA saw: {'; '.join(facts.checks.faults)}")
    return Next(f"a plain request is answered by version {progress['evidence']['model_version']}")


def retire(_: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Deployments that had the traffic before are deleted, if a release made them and they get none now."""
    old = retired(progress, facts)
    if old is not None and facts.deployments[old].state.lower() == "deleting":
        return Wait(f"deployment {old} is being deleted")
    if old is not None:
        return Act(Effect.DELETE_RETIRED, f"deployment {old} gets no traffic any more and is being deleted")
    kept = sorted(name for name in progress["previous"] if name in facts.deployments and name != _new(progress))
    if kept:
        return Next(f"{', '.join(kept)} is kept: no release made it, or it gets traffic", note=True)
    return Next("no old deployment is left")


def retired(progress: JSON, facts: Facts) -> str | None:
    """The next old deployment to delete, None when there is none."""
    if facts.endpoint is None or facts.endpoint.share(_new(progress)) != 100:
        return None
    for name in sorted(progress["previous"]):
        found = facts.deployments.get(name)
        if found and name != _new(progress) and RUN_TAG in found.tags and not facts.endpoint.share(name):
            return str(name)
    return None


def restore(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Give the traffic back to who had it."""
    previous = progress["previous"]
    if not previous:
        return Next("there is no earlier deployment to give the traffic back to", note=True)
    gone = sorted(name for name in previous if name not in facts.deployments)
    if gone:
        return Next(f"the traffic cannot go back to {', '.join(gone)}, which is gone", note=True)
    verdict = _write(plan, progress, facts, progress["intended"], None)
    if isinstance(verdict, Next):
        return Next(f"the traffic is as before, {_map(previous)}", {"traffic": dict(previous)}, note=True)
    return verdict


def wanted(progress: JSON) -> dict[str, int]:
    """The traffic map that a step writes: the saved one, or after a failure the one from before it."""
    if "failure" not in progress:
        return dict(progress["intended"])
    return {**dict.fromkeys(progress["intended"], 0), **progress["previous"]}


def clean_deployment(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The new deployment is deleted, if it is this attempt's own and gets no traffic."""
    name = _new(progress)
    found = facts.deployments.get(name)
    if found is None:
        return Next(f"deployment {name} is gone")
    if not plan.owns(found):
        return Next(f"deployment {name} is not this release's: it is left alone", note=True)
    if facts.endpoint is None or facts.endpoint.share(name):
        return Next(f"deployment {name} gets traffic: it is left in place", note=True)
    if not facts.endpoint.settled:
        return Wait(f"endpoint {plan.endpoint} is {facts.endpoint.state}")
    if found.state.lower() == "deleting":
        return Wait(f"deployment {name} is being deleted")
    return Act(Effect.DELETE_DEPLOYMENT, f"deployment {name} is being deleted")


def sentence(plan: Plan, progress: JSON) -> str:
    """A finished release in one sentence."""
    seen = progress["evidence"]
    before = progress.get("previous") or {}
    return (
        f"{seen['model']} version {seen['model_version']} ({plan.digest[:19]}…) gets all traffic of {plan.endpoint} "
        f"as {seen['deployment']}; before it was {_map(before)}; QA: {release_rules.told(seen['qa'])}"
    )


def _write(plan: Plan, progress: JSON, facts: Facts, before: Mapping[str, int], new: str | None) -> Verdict:
    target = _positive(wanted(progress))
    if facts.endpoint is None:
        return Fail(f"online endpoint {plan.endpoint} is gone")
    now, state = _positive(facts.endpoint.traffic), facts.endpoint.state
    if not facts.endpoint.settled:
        return Wait(f"endpoint {plan.endpoint} is {state}")
    if now == target:
        return Next(f"read back: {_map(now)}", {"traffic": now})
    if now != _positive(before):
        return Fail(f"the traffic of {plan.endpoint} is {_map(now)}: somebody else has changed it, it is left alone")
    fault = _unfit(plan, new, facts) if new else None
    if fault:
        return Fail(fault)
    if state.lower() == "failed" and progress.get("did") == Effect.WRITE_TRAFFIC:
        return Fail(f"Azure ML could not change the traffic of {plan.endpoint}, it is still {_map(now)}")
    return Act(Effect.WRITE_TRAFFIC, f"writing {_map(target)}")


def _unfit(plan: Plan, name: str, facts: Facts) -> str | None:
    """Why a deployment must not get traffic, None when it may."""
    found = facts.deployments.get(name)
    if facts.endpoint is None:
        return f"online endpoint {plan.endpoint} is gone"
    if found is None or not plan.owns(found):
        return f"deployment {name} is gone, or is not this release's any more"
    return None if found.state.lower() == "succeeded" else f"deployment {name} is {found.state}"


def _endpoint(facts: Facts) -> Endpoint:
    assert facts.endpoint is not None
    return facts.endpoint


def _new(progress: JSON) -> str:
    return str(progress["evidence"]["deployment"])


def _positive(shares: Mapping[str, int]) -> dict[str, int]:
    return {name: int(share) for name, share in sorted(shares.items()) if share}


def _map(shares: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {share} %" for name, share in shares.items()) or "nobody's"
