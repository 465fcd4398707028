"""Releases in stages, over a world in memory: who sees the challenger, who decides, what brings the champion back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest

from shared import release_evidence
from shared.observations import Observation, Status
from shared.release_facts import Deployment
from tests.unit.actions.release_world import (
    DIGEST,
    NEW,
    OLD,
    OLD_DIGEST,
    World,
    assert_matches,
    assert_untouched,
    finish,
    request,
    steps_until,
)

OTHER = "sha256:" + "ee" * 32
CANARY = [{"weight": 10, "hold": "2m"}, {"weight": 50, "hold": "2m"}, {"weight": 100, "hold": "3m"}]
FAILURES = {"metric": "failure_rate", "most": 0.05, "fail_above": 0.2, "samples": 5}


def judged(*checks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Options with an analysis of these checks."""
    return {"analysis": {"interval": "1m", "patience": "10m", "wait": "1h", "checks": list(checks), **more}}


def said(world: World, verdict: str, by: str = "ann", note: str = "") -> dict[str, Any]:
    return {"verdict": verdict, "by": by, "at": world.now.isoformat(), "note": note}


def one(world: World, asked: dict[str, Any], progress: Any) -> Observation:
    return world.observe(asked, progress)


def watched(
    world: World, asked: dict[str, Any], *, of: dict[str, int], calls: int = 20, **how: Any
) -> list[Observation]:
    """Observe to the end while both deployments serve; `of` collects the weights that the challenger had."""
    progress: Any = {}
    seen: list[Observation] = []
    for _ in range(400):
        world.serve(OLD, calls)
        if world.traffic.get(NEW):
            of[str(world.traffic[NEW])] = of.get(str(world.traffic[NEW]), 0) + 1
            world.serve(NEW, calls, **how)
        seen.append(one(world, asked, progress))
        if seen[-1].status is not Status.ACTIVE:
            return seen
        if seen[-1].progress == progress:
            world.now += dt.timedelta(seconds=30)
        progress = json.loads(json.dumps(seen[-1].progress))
    raise AssertionError(seen[-1].reason)


def test_weights_rise_and_the_old_deployment_goes_after_the_bake_time() -> None:
    world, weights = World(), dict[str, int]()
    last = watched(world, request(steps=CANARY, more=judged(FAILURES)), of=weights)[-1]
    assert last.status is Status.SUCCEEDED, last.reason
    assert list(weights) == ["10", "50", "100"]
    assert set(world.deployments) == {NEW}
    gates = last.result["gates"]
    assert [(gate["step"], gate["outcome"]) for gate in gates] == [
        ("weight 10", "success"),
        ("weight 50", "success"),
        ("weight 100", "success"),
    ]
    assert all(gate["checks"][0]["samples"] >= 5 for gate in gates)
    assert last.result["seconds"]["weight 10: hold"] >= 120


def test_the_old_deployment_stands_while_the_new_one_bakes() -> None:
    world = World()
    asked = request(steps=[{"weight": 100, "hold": "30m"}])
    progress = steps_until(world, asked, "hold")
    world.now += dt.timedelta(minutes=29)
    assert_matches(one(world, asked, progress), "weight 100: held for|hold: weight 100")
    assert world.deployments[OLD].state == "Succeeded"


@pytest.mark.parametrize(
    ("how", "check"),
    [
        ({"status": 500}, FAILURES),
        ({"ms": 900.0}, {"metric": "latency_ratio", "most": 2, "samples": 5}),
        ({"ms": 900.0}, {"metric": "latency_p95_ms", "most": 500, "samples": 5}),
        ({"level": 3.0}, {"metric": "prediction_shift", "most": 1, "samples": 5}),
        ({"level": 3.0}, {"metric": "prediction_distance", "most": 0.5, "samples": 5}),
        ({"level": float("nan")}, {"metric": "broken_rate", "most": 0.01, "samples": 5}),
        ({"status": 500}, {"metric": "failure_excess", "most": 0.02, "samples": 5}),
    ],
)
def test_a_challenger_that_errs_in_production_is_rolled_back_at_its_first_weight(
    how: dict[str, Any], check: dict[str, Any]
) -> None:
    world, weights = World(), dict[str, int]()
    last = watched(world, request(steps=CANARY, more=judged(check)), of=weights, **how)[-1]
    assert last.status is Status.FAILED
    assert_matches(
        last, rf"hold: weight 10: {check['metric']} .*: failure; restore: the traffic is as before, {OLD} 100 %"
    )
    assert list(weights) == ["10"]
    assert_untouched(world)
    assert last.result["gates"][-1]["checks"][0]["metric"] == check["metric"]


def test_a_challenger_that_fails_while_it_bakes_gives_all_traffic_back() -> None:
    world = World()
    asked = request(steps=[{"weight": 100, "hold": "30m"}], more=judged(FAILURES))
    progress = steps_until(world, asked, "hold")
    assert world.traffic == {NEW: 100}
    world.serve(NEW, 50, status=500)
    last = finish(world, asked, progress)
    assert last.status is Status.FAILED
    assert_matches(last, "weight 100: failure_rate 1")
    assert_untouched(world)


def test_failures_up_to_the_limit_are_put_up_with() -> None:
    world, weights = World(), dict[str, int]()
    more = judged(FAILURES, failure_limit=1, window="1m")
    asked = request(steps=CANARY, more=more)
    progress = steps_until(world, asked, "hold")
    world.serve(NEW, 20, status=500)
    progress = dict(one(world, asked, progress).progress or {})
    world.now += dt.timedelta(seconds=1)
    seen = one(world, asked, progress)
    assert seen.progress["analysis"]["checks"][0]["failures"] == 1
    assert seen.status is Status.ACTIVE
    assert not weights


def test_a_dry_run_is_measured_and_told_and_decides_nothing() -> None:
    world = World()
    check = {**FAILURES, "dry_run": True}
    last = watched(world, request(steps=CANARY, more=judged(check)), of={}, status=500)[-1]
    assert last.status is Status.SUCCEEDED
    measured = last.result["gates"][0]["checks"][0]
    assert (measured["outcome"], measured["dry_run"]) == ("failure", True)


def test_too_few_calls_are_inconclusive_and_wait_for_a_person() -> None:
    world = World()
    asked = request(steps=CANARY, more=judged(FAILURES))
    progress = steps_until(world, asked, "hold")
    seen = wait(world, asked, progress, minutes=14)
    assert seen.status is Status.ACTIVE
    assert_matches(seen, "weight 10 waits for a person to approve or reject it: inconclusive after 720 s: failure_rate")
    assert world.traffic == {NEW: 10, OLD: 90}


def test_a_person_promotes_what_is_inconclusive() -> None:
    world = World()
    asked = request(steps=CANARY, more=judged(FAILURES))
    progress = steps_until(world, asked, "hold")
    seen = wait(world, asked, progress, minutes=14)
    told = {**asked, "decisions": [said(world, "approve", note="quiet night")]}
    moved = one(world, told, seen.progress)
    assert_matches(moved, "weight 10: promoted by ann at .*: quiet night; inconclusive after")
    assert moved.progress["step"] == "traffic_plan"
    assert moved.progress["evidence"]["approvals"][0]["by"] == "ann"


def test_a_person_stops_what_is_inconclusive() -> None:
    world = World()
    asked = request(steps=CANARY, more=judged(FAILURES))
    progress = steps_until(world, asked, "hold")
    seen = wait(world, asked, progress, minutes=14)
    last = finish(world, {**asked, "decisions": [said(world, "reject", note="looks odd")]}, dict(seen.progress or {}))
    assert last.status is Status.CANCELLED
    assert_matches(last, "hold: rejected by ann at .*: looks odd; restore: the traffic is as before")
    assert_untouched(world)


def test_when_nobody_decides_the_champion_comes_back() -> None:
    world = World()
    asked = request(steps=CANARY, more=judged(FAILURES))
    last = finish(world, asked, steps_until(world, asked, "hold"))
    assert last.status is Status.FAILED
    assert_matches(last, "inconclusive after 720 s: .* 0 calls.*; and nobody has decided within 3600 s")
    assert_untouched(world)


def wait(world: World, asked: dict[str, Any], progress: Any, *, minutes: int) -> Observation:
    """Observe every half minute for so long."""
    for _ in range(2 * minutes):
        seen = one(world, asked, progress)
        progress = json.loads(json.dumps(seen.progress))
        world.now += dt.timedelta(seconds=30)
    return one(world, asked, progress)


# -- approval ----------------------------------------------------------------------------------------------------------

ASK = [{"approval": "2h"}, {"weight": 100}]


def test_nothing_is_deployed_before_somebody_approves() -> None:
    world = World()
    asked = request(steps=ASK)
    progress = steps_until(world, asked, "approval")
    assert_matches(one(world, asked, progress), "approval: waits for approval until 2026-01-05T02:")
    assert set(world.deployments) == {OLD}
    last = finish(world, {**asked, "decisions": [said(world, "approve")]}, progress)
    assert last.status is Status.SUCCEEDED
    assert last.result["approvals"] == [
        {"step": "approval", "verdict": "approve", "by": "ann", "at": last.result["approvals"][0]["at"], "note": ""}
    ]


def test_the_approver_is_not_the_requester() -> None:
    world = World()
    asked = request(steps=ASK, more={"requested_by": "Ann"})
    progress = steps_until(world, asked, "approval")
    own = {**asked, "decisions": [said(world, "approve", by=" ann")]}
    assert_matches(one(world, own, progress), "Ann asked for the release, so somebody else must approve")
    both = {**asked, "decisions": [said(world, "approve", by="ann"), said(world, "approve", by="bob")]}
    assert_matches(one(world, both, progress), "approved by bob")


def test_the_image_may_say_who_asked_for_it() -> None:
    world = World()
    world.labels = {**(world.labels or {}), "sluice.requested.by": "ann"}
    asked = request(steps=ASK)
    progress = steps_until(world, asked, "approval")
    own = {**asked, "decisions": [said(world, "approve", by="ann")]}
    assert one(world, own, progress).progress["step"] == "approval"


def test_an_approval_from_before_it_was_asked_for_does_not_count() -> None:
    world = World()
    early = said(world, "approve")
    world.now += dt.timedelta(minutes=1)
    asked = {**request(steps=ASK), "decisions": [early]}
    assert one(world, asked, steps_until(world, asked, "approval")).progress["step"] == "approval"


def test_without_an_approval_in_time_nothing_was_touched() -> None:
    world = World()
    asked = request(steps=ASK)
    last = finish(world, asked, steps_until(world, asked, "approval"))
    assert last.status is Status.CANCELLED
    assert_matches(last, "nobody has approved it within 2:00:00")
    assert_untouched(world)


# -- shadow ------------------------------------------------------------------------------------------------------------

SHADOW = [{"shadow": 25, **judged(FAILURES)}, {"weight": 100}]


def test_logged_requests_are_replayed_to_the_challenger_by_its_name_and_nobody_hears_it() -> None:
    world = World()
    world.serve(OLD, 40)
    last = world.run(request(steps=SHADOW))[-1]
    assert last.status is Status.SUCCEEDED, last.reason
    asked = [call for call in world.calls if call == f"score production {NEW}"]
    assert len(asked) == 25 + 1  # and the smoke test
    assert last.result["gates"][0]["checks"][0]["samples"] == 25


def test_a_challenger_that_fails_the_shadow_never_gets_traffic() -> None:
    world = World(shadow_fails=True)
    world.serve(OLD, 40)
    last = world.run(request(steps=SHADOW))[-1]
    assert last.status is Status.FAILED
    assert_matches(last, "shadow 25: failure_rate 1 ")
    assert not [call for call in world.calls if call.startswith("traffic")]
    assert_untouched(world)


def test_a_shadow_with_too_few_logged_requests_waits_for_a_person() -> None:
    world = World()
    world.serve(OLD, 7)
    asked = request(steps=SHADOW)
    progress = steps_until(world, asked, "shadow")
    seen = wait(world, asked, progress, minutes=12)
    assert_matches(seen, "shadow 25 waits for a person .*: only 7 of 25 logged requests were there")
    moved = one(world, {**asked, "decisions": [said(world, "approve")]}, seen.progress)
    assert moved.progress["step"] == "traffic_plan"


# -- going back --------------------------------------------------------------------------------------------------------


def promoted(world: World, digest: str, number: int = 1) -> None:
    """A record that says that QA has passed a digest and that it was promoted."""
    before = world.evidence.newest("demand-forecast", 1)
    previous = release_evidence.read(before[0])["sha256"] if before else None
    body = {"number": number, "previous_sha256": previous, "outcome": "promoted", "digest": digest, "qa": {"mae": 0.5}}
    world.evidence.write("demand-forecast", number, json.dumps(body).encode())


def test_going_back_to_a_recent_version_skips_qa_and_analysis() -> None:
    world = World()
    world.examined.add(DIGEST)  # once
    promoted(world, DIGEST)
    promoted(world, OLD_DIGEST, 2)
    last = world.run(request(steps=[{"approval": "1d"}, *CANARY], more=judged(FAILURES)))[-1]
    assert last.status is Status.SUCCEEDED, last.reason
    assert world.traffic == {NEW: 100}
    assert not [call for call in world.calls if call.startswith(("create", "score qa"))]
    assert last.result["rolls_back_to"] == 1


@pytest.mark.parametrize("window", [0, 2])
def test_going_back_further_than_the_window_is_a_release_like_any_other(window: int) -> None:
    world = World()
    promoted(world, DIGEST)
    for number in range(2, 6):
        promoted(world, f"sha256:{number:064d}", number)
    world.run(request(more={"rollback_window": window}))
    assert "score qa" in world.calls


def test_a_version_that_was_rolled_back_is_not_one_to_go_back_to() -> None:
    world = World(production_answer={"prediction": 1.5})
    first = world.run()[-1]
    assert first.status is Status.FAILED
    world.calls.clear()
    world.production_answer = {"prediction": 1.0, "model_version": "2"}
    assert world.run(request(token="f" * 64, run="release-0123abcd-5"))[-1].status is Status.SUCCEEDED
    assert "score qa" in world.calls


# -- a hostile world ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["deploy", "traffic_plan"])
def test_a_tag_that_moves_between_qa_and_production_stops_the_release(step: str) -> None:
    world = World()
    asked = request(more={"tag": "2"})
    progress = steps_until(world, asked, step)
    world.tags["2"] = OTHER
    last = finish(world, asked, progress)
    assert last.status is Status.FAILED
    assert_matches(last, f"{step}: tag demand-forecast:2 names {OTHER} now, it was pushed as {DIGEST}")
    assert_untouched(world)


def test_a_tag_that_moves_during_the_canary_gives_the_traffic_back() -> None:
    world = World()
    asked = request(steps=CANARY, more={"tag": "2"})
    progress = steps_until(world, asked, "hold")
    del world.tags["2"]
    last = finish(world, asked, progress)
    assert_matches(last, "traffic_plan: tag demand-forecast:2 is gone")
    assert_untouched(world)


def test_traffic_that_is_edited_by_hand_stops_the_release_and_is_left_alone() -> None:
    world = World()
    asked = request(steps=CANARY)
    progress = steps_until(world, asked, "hold")
    world.traffic = {OLD: 60, NEW: 40}
    last = finish(world, asked, progress)
    assert last.status is Status.FAILED
    assert_matches(
        last, f"hold: the traffic of demand-forecast is {OLD} 60 %, {NEW} 40 %: somebody else has changed it"
    )
    assert world.traffic == {OLD: 60, NEW: 40}
    assert set(world.deployments) == {OLD, NEW}


def test_an_older_map_of_this_release_is_written_over() -> None:
    world = World()
    asked = request(steps=CANARY)
    progress = steps_until(world, asked, "hold")
    world.traffic = {OLD: 100}
    seen = one(world, asked, progress)
    assert_matches(seen, f"{OLD} 100 % is an older map of this release; writing {OLD} 90 %, {NEW} 10 % again")
    assert world.traffic == {OLD: 90, NEW: 10}


def test_an_older_map_that_keeps_coming_back_is_an_end() -> None:
    world = World()
    asked = request(steps=CANARY)
    progress = steps_until(world, asked, "hold")
    for _ in range(10):
        world.traffic = {OLD: 100}
        seen = one(world, asked, progress)
        progress = dict(seen.progress or {})
    assert_matches(finish(world, asked, progress), "an older traffic map has come back 6 times")


def test_the_shares_of_deployments_that_no_release_has_made_are_kept() -> None:
    world = World(traffic={OLD: 80, "hand-made": 20})
    world.deployments["hand-made"] = Deployment("Succeeded", {})
    seen: list[dict[str, int]] = []
    asked = request(steps=[{"weight": 25}, {"weight": 100}])
    progress: Any = {}
    while True:
        observed = one(world, asked, progress)
        seen += [dict(world.traffic)] if world.traffic not in seen else []
        if observed.status is not Status.ACTIVE:
            break
        world.now += dt.timedelta(seconds=5)
        progress = json.loads(json.dumps(observed.progress))
    assert observed.status is Status.SUCCEEDED, observed.reason
    assert seen == [
        {OLD: 80, "hand-made": 20},
        {OLD: 60, "hand-made": 20, NEW: 20},
        {"hand-made": 20, NEW: 80},
    ]
    assert set(world.deployments) == {NEW, "hand-made"}
    assert_matches(observed, "gets 80 % of the traffic")
    again = world.run(request(token="e" * 64, run="release-0123abcd-9"))[-1]
    assert_matches(again, "already gets all traffic")


def test_a_hundred_pushes_of_an_image_that_is_in_production_do_nothing() -> None:
    world = World()
    assert world.run()[-1].status is Status.SUCCEEDED
    world.calls.clear()
    for number in range(100):
        again = world.run(request(run=f"release-0123abcd-{number + 5}", token=f"{number:064x}"))
        assert again[-1].status is Status.SUCCEEDED
    assert not [call for call in world.calls if call.startswith(("create", "deploy", "traffic", "remove", "evidence"))]
    assert len(world.evidence.all("demand-forecast")) == 1


def test_a_deployment_that_is_stuck_in_updating_has_an_end_and_a_reason() -> None:
    world = World(becomes="Updating")
    last = world.run(request(more={"ready": "10m"}))[-1]
    assert last.status is Status.FAILED
    assert_matches(last, f"deploy_wait: gave up after 10 minutes: deployment {NEW} is Updating; its log ends")
    assert_untouched(world)


def test_a_backend_that_never_answers_has_an_end_and_a_reason() -> None:
    world = World()
    world.fault = lambda what: "before" if what.startswith("deploy ") else None
    last = world.run()[-1]
    assert last.status is Status.FAILED
    assert_matches(last, f"deploy: gave up after 30 minutes: deploy {NEW} did not answer")
    assert_untouched(world)


def test_traffic_that_was_written_while_the_answer_was_lost_is_read_back() -> None:
    world = World()
    lost = iter(["after"])
    world.fault = lambda what: next(lost, None) if what.startswith("traffic") else None
    assert world.run()[-1].status is Status.SUCCEEDED
    assert len([call for call in world.calls if call.startswith("traffic")]) == 1


def test_a_champion_that_was_updated_in_place_does_not_get_the_traffic_back_unseen() -> None:
    world = World()
    asked = request(steps=CANARY, more=judged(FAILURES))
    progress = steps_until(world, asked, "hold")
    tags = {**world.deployments[OLD].tags, "sluice-digest": OTHER}
    world.deployments[OLD] = dataclasses.replace(world.deployments[OLD], tags=tags)
    world.serve(NEW, 50, status=500)
    last = finish(world, asked, progress)
    assert_matches(last, f"the traffic does not go back to {OLD}, which holds another image now")


def test_qa_compares_with_what_the_champion_answers() -> None:
    world = World(champion_answer={"prediction": 3.0, "mae": 0.3})
    last = world.run()[-1]
    assert last.status is Status.FAILED
    assert_matches(last, "its error on the golden week is 0.5, the champion's is 0.3: more than 1.1 times as much")
    assert last.result["qa"]["champion_mae"] == 0.3


def test_a_champion_that_cannot_answer_the_golden_request_is_told_and_not_held_against_the_image() -> None:
    world = World(champion_answer={"no": "prediction"})
    last = world.run()[-1]
    assert last.status is Status.SUCCEEDED
    assert_matches(last, "champion answered in the wrong shape: it has no prediction")


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_every_release_leaves_one_record_that_holds_the_hash_of_the_one_before() -> None:
    world = World()
    world.labels = {**(world.labels or {}), "sluice.model.name": "other"}
    assert world.run(request(more={"model": "demand-forecast"}))[-1].status is Status.FAILED
    world.labels["sluice.model.name"] = "demand-forecast"
    last = world.run(request(token="e" * 64, run="release-0123abcd-5", more={"tag": "2"}))[-1]
    first, second = [release_evidence.read(body) for body in world.evidence.all("demand-forecast")]
    assert (first["outcome"], second["outcome"]) == ("failed", "promoted")
    assert second["previous_sha256"] == first["sha256"]
    assert last.result["record"] == {"endpoint": "demand-forecast", "number": 2, "sha256": second["sha256"]}
    assert {name: second[name] for name in ("digest", "tag", "model_version", "gold_version", "azureml_job")} == {
        "digest": DIGEST,
        "tag": "2",
        "model_version": "2",
        "gold_version": "7",
        "azureml_job": "sluice-job",
    }
    assert second["qa"]["mae"] == 0.5
    assert second["traffic"] == {NEW: 100}
    assert second["seconds"]["qa_check"] >= 0


def test_a_record_is_written_once_whatever_was_heard_of_it() -> None:
    world = World()
    lost = iter(["after", "before"])
    world.fault = lambda what: next(lost, None) if what.startswith("evidence") else None
    assert world.run()[-1].status is Status.SUCCEEDED
    assert len(world.evidence.all("demand-forecast")) == 1


def test_a_release_without_its_record_says_so() -> None:
    world = World()
    world.fault = lambda what: "before" if what.startswith("evidence") else None
    last = world.run()[-1]
    assert last.status is Status.SUCCEEDED
    assert_matches(last, "record: gave up after 60 minutes: the evidence is being written")
