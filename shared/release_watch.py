"""The rules of the stages in which a release waits and watches: approval, shadow, hold.  Pure.

What was measured and decided in a stage is added to the evidence, as one entry of `gates`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from shared import release_analysis, release_course, release_decisions, release_traffic
from shared.release_analysis import End, Judgement
from shared.release_checks import Served, read
from shared.release_facts import Facts, Plan
from shared.release_stages import Stage
from shared.release_verdicts import Fail, Next, Verdict, Wait
from shared.tallies import Tally

JSON = Mapping[str, Any]

_NOTHING = dt.timedelta(0)


def approval(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """Somebody else than the requester says yes in time; a no is seen before every step."""
    stage = release_course.current(plan, progress)
    requester, since = _requester(progress), _entered(progress)
    given = release_decisions.approval(facts.decisions, since, requester)
    if given is not None:
        gate = _gate(stage, progress, facts, "success", [])
        return Next(f"approved by {given.told()}", {**gate, **_approved(progress, stage, given)})
    within = stage.approval or _NOTHING
    if facts.now - since >= within:
        said = f"nobody has approved it within {within}"
        return Fail(said, evidence=_gate(stage, progress, facts, "failure", []), stopped=True)
    asked = f"waits for approval until {(since + within).isoformat(timespec='seconds')}"
    if release_decisions.own_approval(facts.decisions, since, requester):
        return Wait(f"{asked}: {requester} asked for the release, so somebody else must approve")
    return Wait(asked)


def shadow(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The challenger answers logged requests, and nobody hears it: as well as the champion did?"""
    fault = release_traffic.unfit(plan, progress, facts)
    if fault:
        return Fail(fault)
    stage = release_course.current(plan, progress)
    state = _state(stage, progress, facts)
    if facts.measured and facts.replayed is not None:
        pair = Tally.of(facts.replayed["challenger"]), Tally.of(facts.replayed["champion"])
        return Wait(
            f"{pair[0].count} of {stage.shadow} requests were replayed",
            {"analysis": _measured(stage, state, facts, *pair), "replayed": facts.replayed},
        )
    done = Tally.of((progress.get("replayed") or {}).get("challenger")).count
    judgement = _judged(stage, state, facts)
    if judgement.end is End.SUCCESS and done < (stage.shadow or 0):
        judgement = _too_few(stage, state, facts, done)
    return _concluded(stage, progress, facts, state, judgement)


def hold(plan: Plan, progress: JSON, facts: Facts) -> Verdict:
    """The weight is kept for a time, while what the challenger serves is measured."""
    stage = release_course.current(plan, progress)
    state = _state(stage, progress, facts)
    broken = release_traffic.kept(plan, progress, facts)
    if isinstance(broken, Fail):
        return Fail(broken.reason, evidence=_gate(stage, progress, facts, "failure", _readings(state)))
    if broken is not None:
        return broken
    if facts.measured:
        taken = _measured(stage, state, facts, facts.challenger, facts.champion)
        return Wait(f"measurement {taken['taken']} was taken", {"analysis": taken})
    return _concluded(stage, progress, facts, state, _judged(stage, state, facts))


def _concluded(stage: Stage, progress: JSON, facts: Facts, state: JSON, judgement: Judgement) -> Verdict:
    """What a judgement means: on, back, wait, or ask a person, whose approval ends the stage as it stands."""
    readings = _readings(state)
    given = release_decisions.approval(facts.decisions, _entered(progress), _requester(progress))
    if judgement.end is End.FAILURE:
        return Fail(
            f"{stage.name}: {judgement.reason}", evidence=_gate(stage, progress, facts, judgement.end, readings)
        )
    if judgement.end is End.SUCCESS:
        gate = _gate(stage, progress, facts, judgement.end, readings)
        return Next(f"{stage.name}: {judgement.reason}", gate)
    if given is not None:
        gate = _gate(stage, progress, facts, judgement.end, readings) | _approved(progress, stage, given)
        return Next(f"{stage.name}: promoted by {given.told()}; {judgement.reason}", gate)
    started = {} if "analysis" in progress else {"analysis": state}
    if judgement.end is End.INCONCLUSIVE:
        return Wait(f"{stage.name} waits for a person to approve or reject it: {judgement.reason}", started)
    return Wait(f"{stage.name}: {judgement.reason}", started)


def _too_few(stage: Stage, state: JSON, facts: Facts, done: int) -> Judgement:
    """All that was replayed is well, but there were fewer logged requests than the route wants."""
    said = f"only {done} of {stage.shadow} logged requests were there to be replayed"
    waited = facts.now - dt.datetime.fromisoformat(state["began"])
    if waited < stage.analysis.patience:
        return Judgement(End.UNFINISHED, said)
    if waited < stage.analysis.patience + stage.analysis.wait:
        return Judgement(End.INCONCLUSIVE, said)
    return Judgement(End.FAILURE, f"{said}, and nobody has decided within {stage.analysis.wait}")


def _state(stage: Stage, progress: JSON, facts: Facts) -> JSON:
    known: JSON | None = progress.get("analysis")
    return known if known is not None else release_analysis.begun(stage.analysis, facts.now)


def _measured(stage: Stage, state: JSON, facts: Facts, own: Served | None, champion: Served | None) -> JSON:
    readings = [read(check, own, champion) for check in stage.analysis.checks]
    return release_analysis.measured(stage.analysis, state, readings, facts.now)


def _judged(stage: Stage, state: JSON, facts: Facts) -> Judgement:
    """A hold wants its row of measurements; a shadow adds up, so that its last measurement is of everything."""
    analysis = stage.analysis if stage.shadow is None else dataclasses.replace(stage.analysis, count=1)
    return release_analysis.judge(analysis, state, facts.now, stage.hold)


def _readings(state: JSON) -> list[JSON]:
    return release_analysis.readings(state)


def _gate(stage: Stage, progress: JSON, facts: Facts, end: str, readings: Sequence[JSON]) -> dict[str, Any]:
    """The stage as an entry of the evidence's gates."""
    entry = {
        "step": stage.name,
        "outcome": str(end),
        "began": progress["entered"],
        "ended": facts.now.isoformat(),
        "checks": list(readings),
    }
    return {"gates": [*progress["evidence"].get("gates", []), entry]}


def _approved(progress: JSON, stage: Stage, given: release_decisions.Decision) -> dict[str, Any]:
    return {"approvals": [*progress["evidence"].get("approvals", []), given.facts(stage.name)]}


def _requester(progress: JSON) -> str | None:
    requester = progress["evidence"].get("requested_by")
    return str(requester) if requester else None


def _entered(progress: JSON) -> dt.datetime:
    return dt.datetime.fromisoformat(progress["entered"])
