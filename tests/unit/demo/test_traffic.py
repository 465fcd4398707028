"""The steady client counts what it was answered, and act three's bound on what a bad deployment may see is one."""

from __future__ import annotations

import pytest

from demo import act_three
from demo.report import Step, StepFailed
from demo.traffic import Asked, Traffic


def asked(bad: int, good: int) -> Traffic:
    traffic = Traffic()
    traffic.asked += [Asked("2026-01-01T00:00:05+00:00", "v3", 500)] * bad
    traffic.asked += [Asked("2026-01-01T00:00:05+00:00", "v2", 200)] * good
    traffic.asked.append(Asked("2026-01-01T00:00:09+00:00", "v2", 200))
    return traffic


MAPS = [{"at": "2026-01-01T00:00:01+00:00"}, {"at": "2026-01-01T00:00:08+00:00"}]


def test_requests_that_were_not_answered_with_200_are_counted_by_deployment() -> None:
    assert asked(3, 5).failures() == {"v3": 3}


def test_a_bad_deployment_may_see_its_share_and_what_chance_adds() -> None:
    step = Step("rolled back", "")
    step.prove(deployment="v3")
    act_three._seen(step, asked(25, 75), {"v2": 75, "v3": 25}, MAPS)
    assert (step.evidence["requests"], step.evidence["requests_seen"]) == (100, 25)


def test_a_bad_deployment_that_saw_more_is_found() -> None:
    step = Step("rolled back", "")
    step.prove(deployment="v3")
    with pytest.raises(StepFailed, match="saw 60 of 100 requests"):
        act_three._seen(step, asked(60, 40), {"v2": 75, "v3": 25}, MAPS)
