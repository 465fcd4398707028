"""Which of its route's stages a release goes through, and what comes after each.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.release_facts import Plan
from shared.release_stages import ALL_AT_ONCE, Stage
from shared.release_steps import Step

JSON = Mapping[str, Any]


def course(plan: Plan, progress: JSON) -> tuple[Stage, ...]:
    """The stages of this release.

    A version that was promoted not long ago goes back at once.  A first release has nobody to be compared with and
    nobody to share requests with: of its stages only the approvals and the last weight are left.
    """
    if progress.get("back"):
        return (ALL_AT_ONCE,)
    if progress["evidence"].get("first"):
        approvals = tuple(stage for stage in plan.stages if stage.approval is not None)
        return (*approvals, Stage(weight=100))
    return plan.stages


def current(plan: Plan, progress: JSON) -> Stage:
    """The stage that the release is in.  Raises IndexError before the first and after the last."""
    place = int(progress["stage"])
    if place < 0:
        raise IndexError(f"release {plan.run} is in no stage yet")
    return course(plan, progress)[place]


def following(plan: Plan, progress: JSON) -> tuple[int, Step]:
    """The place of the next stage, and the step with which it begins; the challenger is deployed when it is needed."""
    place, stages = int(progress["stage"]) + 1, course(plan, progress)
    if place >= len(stages):
        return int(progress["stage"]), Step.RETIRE
    stage = stages[place]
    if stage.needs_deployment and "stands" not in progress:
        return place - 1, Step.DEPLOY
    if stage.approval is not None:
        return place, Step.APPROVAL
    return place, Step.SHADOW if stage.shadow is not None else Step.TRAFFIC_PLAN
