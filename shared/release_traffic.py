"""The rules of the steps that move production traffic: facts -> verdict.  Pure.

Every map is saved before it is written, read back after, and kept: a map of ours that comes back is written over, a map
that is none of ours stops the release and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import release_course, release_rules, release_shares
from shared.release_facts import DIGEST_TAG, Endpoint, Facts, Plan
from shared.release_shares import positive, told
from shared.release_verdicts import Act, Effect, Fail, Next, Verdict, Wait

JSON = Mapping[str, Any]

_MOST_REPEATS = 5


def traffic_plan(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The map of this stage's weight; what was before the first is kept for the way back."""
    fault = release_rules.tag_fault(plan, facts) or unfit(plan, progress, facts) or _foreign(plan, progress, facts)
    if fault:
        return Fail(fault)
    endpoint = _endpoint(facts)
    if not endpoint.settled:
        return Wait(f"endpoint {plan.endpoint} is {endpoint.state}")
    new, weight = _new(progress), release_course.current(plan, progress).weight or 0
    previous = progress.get("previous", positive(endpoint.traffic))
    taking = progress.get("taking", release_shares.champions(previous, facts.deployments, new))
    intended = release_shares.at_weight(previous, taking, new, weight)
    digests = {name: facts.deployments[name].tags.get(DIGEST_TAG) for name in taking if name in facts.deployments}
    known = {
        "intended": intended,
        "previous": previous,
        "taking": taking,
        "digests": progress.get("digests", digests),
        "maps": _with(_with(progress.get("maps", []), previous), positive(intended)),
        "committed": all(not intended.get(name) for name in taking),
    }
    said = f"{told(intended)}; before the release it was {told(previous)}"
    return Next(said, {"previous": previous, "previous_digests": known["digests"]}, known)


def traffic(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Write the saved map and read it back."""
    fault = unfit(plan, progress, facts)
    return Fail(fault) if fault and not _is(facts, wanted(progress)) else _write(plan, progress, facts)


def verify(_: Plan, progress: JSON, facts: Facts) -> Verdict:
    """A request is answered by the new model."""
    if facts.checks is None:
        return Wait("the endpoint was not asked")
    if facts.checks.faults:
        return Wait(f"a request is not answered as QA saw: {'; '.join(facts.checks.faults)}")
    return Next(f"a request is answered by version {progress['evidence']['model_version']}")


def kept(plan: Plan, progress: JSON, facts: Facts) -> Verdict | None:
    """What must be done before a stage goes on, None when its map stands and so does the new deployment."""
    fault = unfit(plan, progress, facts) or _foreign(plan, progress, facts)
    if fault:
        return Fail(fault)
    if _is(facts, wanted(progress)):
        return None
    if not _endpoint(facts).settled:
        return Wait(f"endpoint {plan.endpoint} is {_endpoint(facts).state}")
    repeats = int(progress.get("repeats", 0)) + 1
    if repeats > _MOST_REPEATS:
        return Fail(f"an older traffic map has come back {repeats} times: somebody keeps writing it")
    said = f"{told(_endpoint(facts).traffic)} is an older map of this release; writing {told(wanted(progress))} again"
    return Act(Effect.WRITE_TRAFFIC, said, {"repeats": repeats})


def restore(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Give the traffic back to who had it: to the champion's own digest, for it was never updated."""
    previous = progress["previous"]
    if not previous:
        return Next("there is no earlier deployment to give the traffic back to", note=True)
    gone = sorted(name for name in previous if name not in facts.deployments)
    if gone:
        return Next(f"the traffic cannot go back to {', '.join(gone)}, which is gone", note=True)
    changed = sorted(
        name for name, digest in progress["digests"].items() if facts.deployments[name].tags.get(DIGEST_TAG) != digest
    )
    if changed:
        return Next(f"the traffic does not go back to {', '.join(changed)}, which holds another image now", note=True)
    verdict = _write(plan, progress, facts)
    if isinstance(verdict, Next):
        return Next(f"the traffic is as before, {told(previous)}", {"traffic": dict(previous)}, note=True)
    return verdict


def wanted(progress: JSON) -> dict[str, int]:
    """The traffic map that a step writes: the saved one, or after a failure the one from before the release."""
    if "failure" not in progress:
        return dict(progress["intended"])
    return {**dict.fromkeys(progress["intended"], 0), **progress["previous"]}


def sentence(plan: Plan, progress: JSON) -> str:
    """A finished release in one sentence."""
    seen = progress["evidence"]
    before = told(progress.get("previous") or {})
    share = seen.get("traffic", {}).get(seen["deployment"], 0)
    gets = "all traffic" if share == 100 else f"{share} % of the traffic"
    return (
        f"{seen['model']} version {seen['model_version']} ({plan.digest[:19]}…) gets {gets} of {plan.endpoint} "
        f"as {seen['deployment']}; before it was {before}; QA: {release_rules.told(seen.get('qa', {}))}"
    )


def unfit(plan: Plan, progress: JSON, facts: Facts) -> str | None:
    """Why the new deployment must not get traffic, None when it may."""
    name = _new(progress)
    found = facts.deployments.get(name)
    if facts.endpoint is None:
        return f"online endpoint {plan.endpoint} is gone"
    if found is None or not plan.owns(found):
        return f"deployment {name} is gone, or is not this release's any more"
    return None if found.state.lower() == "succeeded" else f"deployment {name} is {found.state}"


def _write(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    if facts.endpoint is None:
        return Fail(f"online endpoint {plan.endpoint} is gone")
    now, state = positive(facts.endpoint.traffic), facts.endpoint.state
    if not facts.endpoint.settled:
        return Wait(f"endpoint {plan.endpoint} is {state}")
    if _is(facts, wanted(progress)):
        return Next(f"read back: {told(now)}", {"traffic": now})
    fault = _foreign(plan, progress, facts)
    if fault:
        return Fail(fault)
    if state.lower() == "failed" and progress.get("did") == Effect.WRITE_TRAFFIC:
        return Fail(f"Azure ML could not change the traffic of {plan.endpoint}, it is still {told(now)}")
    return Act(Effect.WRITE_TRAFFIC, f"writing {told(wanted(progress))}")


def _foreign(plan: Plan, progress: JSON, facts: Facts) -> str | None:
    """Why the endpoint's map is none of this release's, None when it is one, or when it has written none yet."""
    maps = progress.get("maps")
    if not maps or facts.endpoint is None:
        return None
    now = positive(facts.endpoint.traffic)
    if now in maps:
        return None
    return f"the traffic of {plan.endpoint} is {told(now)}: somebody else has changed it, it is left alone"


def _is(facts: Facts, shares: Mapping[str, int]) -> bool:
    return facts.endpoint is not None and positive(facts.endpoint.traffic) == positive(shares)


def _with(maps: list[Mapping[str, int]], shares: Mapping[str, int]) -> list[Mapping[str, int]]:
    return maps if shares in maps else [*maps, dict(shares)]


def _endpoint(facts: Facts) -> Endpoint:
    assert facts.endpoint is not None
    return facts.endpoint


def _new(progress: JSON) -> str:
    return str(progress["evidence"]["deployment"])
