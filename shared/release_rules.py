"""The rules of the steps that take an image through QA and beside the champion: facts -> verdict.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import release_evidence, release_shares
from shared.observations import Failure
from shared.release_facts import RUN_TAG, Deployment, Facts, Plan, elapsed
from shared.release_steps import Step
from shared.release_verdicts import Act, Done, Effect, Fail, Next, Verdict, Wait

JSON = Mapping[str, Any]

LABELS: Mapping[str, str] = {
    "model": "sluice.model.name",
    "model_version": "sluice.model.version",
    "azureml_job": "sluice.azureml.job",
    "gold_version": "sluice.data.version",
    "golden_uri": "sluice.golden.uri",
    "golden_sha256": "sluice.golden.sha256",
}
"""Evidence by the label of the image that it is read from."""

CORRELATION_LABEL, REQUESTER_LABEL = "sluice.correlation", "sluice.requested.by"
_TAIL = 1500
_GRACE = 60.0


def identify(plan: Plan, _: JSON, facts: Facts) -> Verdict:
    """What the image says it is must be what the model registry knows, and the endpoint must exist."""
    labels = facts.labels or {}
    image = f"image {plan.repository}@{plan.digest}"
    if facts.labels is None:
        return Fail(f"{image} is not in the registry")
    missing = [label for label in LABELS.values() if not labels.get(label)]
    if missing:
        return Fail(f"{image} does not say what it holds: it lacks the label(s) {', '.join(missing)}")
    known = {name: labels[label] for name, label in LABELS.items()}
    name, version = known["model"], known["model_version"]
    if plan.model and plan.model != name:
        return Fail(f"{image} holds model {name}, this route releases {plan.model}")
    if facts.model is None:
        return Fail(f"{image} says that it holds {name} version {version}, which is not in the model registry")
    for tag in ("azureml_job", "gold_version"):
        if facts.model.get(tag) != known[tag]:
            return Fail(
                f"{image} says {LABELS[tag]}={known[tag]}, "
                f"but model {name} version {version} is tagged {tag}={facts.model.get(tag)}"
            )
    if facts.endpoint is None:
        return Fail(f"there is no online endpoint {plan.endpoint}: publish the workload first")
    if facts.endpoint.compute != plan.compute:
        return Fail(f"endpoint {plan.endpoint} runs on {facts.endpoint.compute}, this route releases to {plan.compute}")
    deployment = plan.deployment(version)
    evidence: dict[str, Any] = {**known, "deployment": deployment, "scoring_uri": facts.endpoint.scoring_uri}
    evidence["correlation"] = labels.get(CORRELATION_LABEL, "")
    evidence["requested_by"] = plan.requested_by or labels.get(REQUESTER_LABEL)
    evidence["first"] = not release_shares.positive(facts.endpoint.traffic)
    if _stands(plan, facts, deployment):
        evidence["traffic"] = dict(facts.endpoint.traffic)
        return Done(f"deployment {deployment} of this digest already gets all traffic of {plan.endpoint}", evidence)
    fault = tag_fault(plan, facts)
    if fault:
        return Fail(fault, evidence=evidence)
    said = f"{image} holds {name} version {version} of Azure ML job {known['azureml_job']}"
    return _identified(plan, facts, said, evidence)


def _stands(plan: Plan, facts: Facts, deployment: str) -> bool:
    """Whether the digest has all that a release could give it."""
    assert facts.endpoint is not None
    if facts.endpoint.share(deployment) == 100:
        return True
    promoted = next((one for one in facts.chain if one.get("outcome") == release_evidence.PROMOTED), None)
    return (
        promoted is not None
        and promoted.get("digest") == plan.digest
        and facts.endpoint.share(deployment) > 0
        and promoted.get("traffic") == release_shares.positive(facts.endpoint.traffic)
    )


def _identified(plan: Plan, facts: Facts, said: str, evidence: JSON) -> Verdict:
    """QA comes next, but for a version that was promoted not long ago: QA has seen that digest."""
    before = release_evidence.recent(facts.chain, plan.digest, plan.rollback_window)
    if before is None or evidence["first"]:
        return Next(said, evidence)
    back = f"{said}; it was promoted as record {before['number']}: QA and analysis are not repeated"
    seen = {**evidence, "qa": before.get("qa", {}), "rolls_back_to": before["number"]}
    return Next(back, seen, {"passed": plan.digest, "back": True}, to=Step.STAGE)


def tag_fault(plan: Plan, facts: Facts) -> str | None:
    """Why the tag under which the image was pushed does not stand for it (any more), None when it does."""
    if plan.tag is None or facts.tagged == plan.digest:
        return None
    now = f"names {facts.tagged} now" if facts.tagged else "is gone"
    return f"tag {plan.repository}:{plan.tag} {now}, it was pushed as {plan.digest}"


def qa_create(plan: Plan, _: JSON, facts: Facts) -> Verdict:
    """A container group of this attempt's own."""
    if facts.group is None:
        return Next(f"container group {plan.group} is asked for", effect=Effect.CREATE_QA)
    if not plan.owns(facts.group):
        return Fail(f"a container group {plan.group} exists that this release has not made; it is left alone")
    return Next(f"container group {plan.group} exists already")


def qa_wait(plan: Plan, _: JSON, facts: Facts) -> Verdict:
    """Until the container answers its health check."""
    if facts.group is None:
        return _absent(f"container group {plan.group}", facts)
    if facts.group.ended:
        return Fail(f"the container {facts.group.state.lower()} {facts.group.detail}".rstrip() + tail(facts.logs))
    if not facts.ready:
        return Wait(f"container group {plan.group} is {facts.group.state}, not healthy yet")
    return Next(f"the container answers at {facts.group.address}")


def qa_check(plan: Plan, _: JSON, facts: Facts) -> Verdict:
    """The measurements against the limits."""
    if facts.group is None:
        return Fail(f"container group {plan.group} was deleted while it was checked", Failure.TRANSIENT)
    if facts.group.ended:
        return Fail(f"the container {facts.group.state.lower()} while it was checked{tail(facts.logs)}")
    if facts.checks is None:
        return Wait("the checks have not been made")
    evidence = {"qa": dict(facts.checks.measured)}
    if facts.checks.faults:
        return Fail("; ".join(facts.checks.faults), evidence=evidence)
    return Next(f"QA passed: {told(facts.checks.measured)}", evidence, {"passed": plan.digest})


def qa_delete(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The container group is deleted, if it is this attempt's own."""
    if facts.group is None:
        if may_appear(progress, facts, Step.QA_CREATE, Step.QA_WAIT):
            return Wait(f"container group {plan.group} was asked for and may still appear")
        return Next(f"container group {plan.group} is gone")
    if not plan.owns(facts.group):
        return Next(f"container group {plan.group} is not this release's: it is left alone", note=True)
    return Act(Effect.DELETE_QA, f"container group {plan.group} is being deleted", {"seen": True})


def deploy(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """A new deployment beside the champion, without traffic."""
    name = progress["evidence"]["deployment"]
    if progress.get("passed") != plan.digest:
        return Fail("QA has not passed this digest")
    fault = tag_fault(plan, facts)
    if fault:
        return Fail(fault)
    if facts.endpoint is None:
        return Fail(f"online endpoint {plan.endpoint} is gone")
    found = facts.deployments.get(name)
    if found and plan.owns(found) and found.state.lower() != "deleting":
        return Next(f"deployment {name} exists already")
    share = facts.endpoint.share(name)
    if share:
        return Fail(f"deployment {name} exists, gets {share} % and is not this release's: a person must decide")
    if not facts.endpoint.settled or (found and _busy(found)):
        return Wait(
            f"endpoint {plan.endpoint} is {facts.endpoint.state}" + (f", {name} {found.state}" if found else "")
        )
    return Next(f"deployment {name} of the same digest is asked for, without traffic", effect=Effect.CREATE_DEPLOYMENT)


def deploy_wait(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Until Azure ML says that the deployment stands."""
    name = progress["evidence"]["deployment"]
    found = facts.deployments.get(name)
    if found is None:
        return _absent(f"deployment {name}", facts)
    if not plan.owns(found):
        return Fail(f"deployment {name} was taken over by {found.tags.get(RUN_TAG, 'somebody else')}")
    if found.state.lower() in {"failed", "canceled", "deleting"}:
        return Fail(f"deployment {name} is {found.state}{tail(facts.logs)}")
    if found.state.lower() != "succeeded":
        return Wait(f"deployment {name} is {found.state}")
    return Next(f"deployment {name} stands")


def smoke(_: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The new deployment, asked by its name, predicts what QA saw."""
    name = progress["evidence"]["deployment"]
    if facts.checks is None:
        return Wait(f"deployment {name} was not asked")
    if facts.checks.faults:
        return Fail(f"deployment {name} differs from what QA saw: {'; '.join(facts.checks.faults)}")
    return Next(f"deployment {name} predicts what QA saw", progress={"stands": name})


def unanswered(progress: JSON, facts: Facts) -> JSON:
    """When the call of a step was made whose answer was lost: it may take effect until its deadline has passed."""
    if not facts.called:
        return {}
    return {"unanswered": {**progress.get("unanswered", {}), progress["step"]: facts.now.isoformat()}}


def may_appear(progress: JSON, facts: Facts, asking: Step, waiting: Step) -> bool:
    """Whether what is absent may be on its way, or on its way back after it was deleted.

    A call in flight, or one whose answer was lost, may take effect until its deadline has surely passed.
    """
    failure = progress.get("failure") or {}
    unsure = failure.get("at") in (asking, waiting) and not failure.get("refused") and not progress.get("seen")
    called = progress.get("unanswered", {}).get(asking)
    return bool((unsure and facts.waited < _GRACE) or (called and elapsed(called, facts.now) < _GRACE))


def hopeless(facts: Facts) -> bool:
    """Whether it makes no sense to wait for a container that does not answer."""
    return facts.group is not None and facts.group.ended


def tail(logs: str) -> str:
    """The end of a log, for a reason."""
    text = logs.strip()
    return f"; its log ends: {text[-_TAIL:]}" if text else ""


def _absent(what: str, facts: Facts) -> Verdict:
    """What was asked for may take a moment to be seen; after that, somebody has deleted it."""
    if facts.waited < _GRACE:
        return Wait(f"{what} is not to be seen yet")
    return Fail(f"{what} is gone: it was cancelled, or somebody has deleted it", Failure.TRANSIENT)


def _busy(found: Deployment) -> bool:
    return found.state.lower() in {"creating", "updating", "deleting", "scaling"}


def told(measured: JSON) -> str:
    """Measurements in words."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, int | float) else f"{name} {value}"
        for name, value in measured.items()
    )
