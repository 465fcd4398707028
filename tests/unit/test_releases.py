"""Every step of a release, with good and with hostile facts; the laws hold whatever the world shows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import release_cleaning, release_traffic, releases
from shared.observations import Failure, Status
from shared.release_decisions import Decision
from shared.release_facts import (
    DIGEST_TAG,
    RUN_TAG,
    TOKEN_TAG,
    Checks,
    Deployment,
    Ending,
    Endpoint,
    Facts,
    Group,
    Limits,
    Plan,
)
from shared.release_stages import stages
from shared.release_steps import Step
from shared.release_verdicts import Effect
from shared.releases import RULES, Move
from shared.tallies import one

NOW = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
DIGEST = "sha256:" + "ab" * 32
STAGES = stages({"steps": [{"approval": "1d"}, {"shadow": 1}, {"weight": 100}]})
PLAN = Plan("release-1-2", "f" * 64, "demand", DIGEST, "demand", "aks-prod", limits=Limits(), stages=STAGES)
NEW, OLD, HAND = "v2-abababababab", "v1-old", "hand-made"
OURS = {RUN_TAG: PLAN.run, TOKEN_TAG: PLAN.token, DIGEST_TAG: DIGEST}
THEIRS = {RUN_TAG: "release-1-1", TOKEN_TAG: "0" * 64}
LABELS = {
    "sluice.model.name": "demand",
    "sluice.model.version": "2",
    "sluice.azureml.job": "job",
    "sluice.data.version": "7",
    "sluice.golden.uri": "abfss://x",
    "sluice.golden.sha256": "0",
}
TAGS = {"azureml_job": "job", "gold_version": "7"}
PASSED = Checks({"mae": 1.0})
RUNNING = Group("Running", OURS, "http://qa")
STANDING = Deployment("Succeeded", OURS)
CHAMPION = Deployment("Succeeded", THEIRS)


def endpoint(state: str = "Succeeded", **traffic: int) -> Endpoint:
    named = {{"new": NEW, "old": OLD, "hand": HAND}[name]: share for name, share in traffic.items()}
    return Endpoint(named, state, "http://score", "aks-prod")


BEFORE = endpoint(old=100)
BOTH = {OLD: CHAMPION, NEW: STANDING}
GOOD: Mapping[Step, Facts] = {
    Step.IDENTIFY: Facts(labels=LABELS, model=TAGS, endpoint=BEFORE),
    Step.QA_CREATE: Facts(),
    Step.QA_WAIT: Facts(group=RUNNING, ready=True),
    Step.QA_CHECK: Facts(group=RUNNING, checks=PASSED),
    Step.QA_DELETE: Facts(),
    Step.APPROVAL: Facts(decisions=(Decision("approve", "ann", NOW),)),
    Step.DEPLOY: Facts(endpoint=BEFORE, deployments={OLD: CHAMPION}),
    Step.DEPLOY_WAIT: Facts(deployments={NEW: STANDING}),
    Step.SMOKE: Facts(checks=PASSED),
    Step.SHADOW: Facts(endpoint=BEFORE, deployments=BOTH),
    Step.TRAFFIC_PLAN: Facts(endpoint=BEFORE, deployments=BOTH),
    Step.TRAFFIC: Facts(endpoint=endpoint(new=100), deployments=BOTH),
    Step.VERIFY: Facts(checks=PASSED),
    Step.HOLD: Facts(endpoint=endpoint(new=100), deployments=BOTH),
    Step.RETIRE: Facts(endpoint=endpoint(new=100), deployments={NEW: STANDING}),
    Step.RESTORE: Facts(endpoint=BEFORE, deployments=BOTH),
    Step.CLEAN_DEPLOYMENT: Facts(endpoint=BEFORE, deployments={OLD: CHAMPION}),
    Step.CLEAN_QA: Facts(),
    Step.RECORD: Facts(
        chain=({"run": PLAN.run, "token": PLAN.token, "began": NOW.isoformat(), "number": 1, "sha256": "0"},)
    ),
}
UNDO = {Step.RESTORE: Step.VERIFY, Step.CLEAN_QA: Step.QA_CHECK, Step.CLEAN_DEPLOYMENT: Step.DEPLOY_WAIT}
THEN = {step: rule.then for step, rule in RULES.items()} | {
    Step.QA_DELETE: Step.APPROVAL, Step.APPROVAL: Step.DEPLOY, Step.SMOKE: Step.SHADOW, Step.SHADOW: Step.TRAFFIC_PLAN,
    Step.HOLD: Step.RETIRE,
}  # fmt: skip


def at(step: Step, facts: Facts | None = None, *, minutes: float = 0, **more: Any) -> Move:
    """The move at a step that was reached with good facts."""
    progress = {**reached(step), **more}
    return releases.advance(PLAN, progress, facts or GOOD[step], NOW + dt.timedelta(minutes=minutes))


def reached(step: Step) -> dict[str, Any]:
    """The progress of a release that has come to a step the good way, or to a cleaning step by a failure."""
    progress = dict(releases.begun(NOW))
    while progress["step"] != UNDO.get(step, step):
        progress = onwards(progress)
    if step in UNDO:
        progress = dict(releases.advance(PLAN, progress, Facts(refused="no"), NOW).progress)
        assert progress["step"] == step
    return dict(json.loads(json.dumps(progress)))


def onwards(progress: Mapping[str, Any]) -> dict[str, Any]:
    """The next progress with facts that are good for the step; a shadow finds its requests replayed."""
    if progress["step"] == Step.SHADOW:
        answered = one(200, 1, [1.0]).facts()
        progress = {**progress, "replayed": {"challenger": answered, "champion": answered}}
    return dict(releases.advance(PLAN, progress, GOOD[Step(progress["step"])], NOW).progress)


def told(move: Move, reason: str) -> None:
    assert re.search(reason, move.reason), move.reason


@pytest.mark.parametrize("step", RULES)
def test_good_facts_take_each_step_to_the_next(step: Step) -> None:
    assert onwards(reached(step))["step"] == THEN[step]


@pytest.mark.parametrize("step", RULES)
def test_a_refusal_turns_the_release_back_or_is_noted_where_the_release_does_not_depend_on_it(step: Step) -> None:
    move = at(step, Facts(refused="no permission"))
    if RULES[step].patient:
        assert move.progress["step"] == THEN[step]
        told(move, "no permission")
    else:
        assert move.progress["step"] == reached(step).get("undo", Step.RECORD)
        assert move.progress["failure"]["reason"] == f"{step}: it was refused: no permission"


def test_a_failure_undoes_what_was_done_and_no_more() -> None:
    undo = {step: reached(step).get("undo") for step in RULES if not RULES[step].closing}
    assert undo[Step.IDENTIFY] is None
    assert {undo[step] for step in (Step.QA_CREATE, Step.QA_WAIT, Step.QA_CHECK, Step.QA_DELETE, Step.APPROVAL)} == {
        Step.CLEAN_QA
    }
    assert {undo[step] for step in (Step.DEPLOY, Step.DEPLOY_WAIT, Step.SMOKE, Step.SHADOW, Step.TRAFFIC_PLAN)} == {
        Step.CLEAN_DEPLOYMENT
    }
    assert {undo[step] for step in (Step.TRAFFIC, Step.VERIFY, Step.HOLD)} == {Step.RESTORE}
    assert (RULES[Step.RESTORE].then, RULES[Step.CLEAN_DEPLOYMENT].then) == (Step.CLEAN_DEPLOYMENT, Step.CLEAN_QA)


@pytest.mark.parametrize("step", [step for step in RULES if not RULES[step].closing])
def test_somebodys_no_stops_a_release_at_any_step_that_can_turn_back(step: Step) -> None:
    move = at(step, dataclasses.replace(GOOD[step], decisions=(Decision("reject", "bob", NOW, "not today"),)))
    told(move, f"{step}: rejected by bob at 2026-01-05T00:00:00.00:00: not today")
    assert move.progress["step"] == reached(step).get("undo", Step.RECORD)
    assert move.progress["evidence"]["approvals"][-1]["by"] == "bob"


def test_people_are_heard_where_the_progress_says_what_is_asked_of_them() -> None:
    asking = {step for step in RULES if reached(step).get("asks")}
    assert asking == {Step.APPROVAL, Step.SHADOW, Step.HOLD}
    assert reached(Step.HOLD)["asks"] == "approve or reject weight 100"


def test_an_end_that_is_wanted_is_heard_until_the_traffic_is_given_over() -> None:
    ending = Ending("superseded", "superseded by generation 3")
    turns = {
        step: at(step, dataclasses.replace(GOOD[step], ending=ending)).progress.get("failure") is not None
        for step in RULES
        if not RULES[step].closing
    }
    assert {step for step, turned in turns.items() if not turned} == {Step.TRAFFIC, Step.VERIFY, Step.HOLD}


@pytest.mark.parametrize("step", [Step.QA_CHECK, Step.SMOKE, Step.VERIFY])
def test_a_service_that_does_not_answer_is_asked_again_until_the_step_gives_up(step: Step) -> None:
    facts = dataclasses.replace(GOOD[step], checks=None, unreachable="connection refused", logs="the log")
    waiting = at(step, facts, minutes=RULES[step].minutes - 0.1)
    assert (waiting.status, waiting.progress) == (Status.ACTIVE, reached(step))
    given_up = at(step, facts, minutes=RULES[step].minutes + 0.1)
    assert given_up.progress["failure"]["class"] == Failure.TRANSIENT
    told(given_up, "gave up after .* connection refused; its log ends: the log")


def test_waiting_changes_no_progress_so_that_it_is_polled_with_back_off() -> None:
    facts = {
        Step.QA_WAIT: Facts(group=RUNNING),
        Step.DEPLOY: Facts(endpoint=endpoint("Updating", old=100)),
        Step.DEPLOY_WAIT: Facts(deployments={NEW: Deployment("Creating", OURS)}),
        Step.TRAFFIC: Facts(endpoint=endpoint("Updating", old=100), deployments={NEW: STANDING}),
    }
    for step, seen in facts.items():
        assert at(step, seen).progress == reached(step)


def test_an_effect_is_done_before_its_progress_is_saved_and_can_be_repeated() -> None:
    move = at(Step.QA_CREATE)
    assert (move.effect, move.progress["step"]) == (Effect.CREATE_QA, Step.QA_WAIT)
    again = at(Step.QA_CREATE, Facts(group=RUNNING))
    assert (again.effect, again.progress["step"]) == (None, Step.QA_WAIT)


def test_what_was_asked_for_may_take_a_minute_to_be_seen() -> None:
    for step, facts in ((Step.QA_WAIT, Facts()), (Step.DEPLOY_WAIT, Facts())):
        assert at(step, facts, minutes=0.5).progress["step"] == step
        told(at(step, facts, minutes=1.5), "is gone: it was cancelled, or somebody has deleted it")


def test_qa_fails_when_its_container_is_deleted_under_it() -> None:
    told(at(Step.QA_CHECK, Facts()), "was deleted while it was checked")


def test_qa_fails_when_its_container_ends_under_it() -> None:
    ended = Facts(group=Group("Terminated", OURS), unreachable="connection refused", logs="out of memory")
    told(at(Step.QA_CHECK, ended), "terminated while it was checked; its log ends: out of memory")


def test_nothing_is_deployed_that_qa_has_not_passed() -> None:
    told(at(Step.DEPLOY, passed="sha256:" + "00" * 32), "QA has not passed this digest")


def test_a_deployment_of_this_name_with_traffic_is_a_matter_for_a_person() -> None:
    facts = Facts(endpoint=endpoint(old=70, new=30), deployments={NEW: CHAMPION})
    told(at(Step.DEPLOY, facts), "gets 30 % and is not this release's: a person must decide")


def test_a_left_over_of_an_earlier_attempt_is_taken_over() -> None:
    facts = Facts(endpoint=BEFORE, deployments={NEW: Deployment("Failed", THEIRS)})
    assert at(Step.DEPLOY, facts).effect is Effect.CREATE_DEPLOYMENT


def test_a_left_over_that_is_being_deleted_is_waited_for() -> None:
    facts = Facts(endpoint=BEFORE, deployments={NEW: Deployment("Deleting", OURS)})
    move = at(Step.DEPLOY, facts)
    assert (move.effect, move.progress["step"]) == (None, Step.DEPLOY)


def test_a_deployment_that_somebody_took_over_is_not_this_releases_any_more() -> None:
    told(at(Step.DEPLOY_WAIT, Facts(deployments={NEW: CHAMPION})), "taken over by release-1-1")
    facts = Facts(endpoint=BEFORE, deployments={NEW: CHAMPION})
    assert at(Step.TRAFFIC_PLAN, facts).progress["step"] == Step.CLEAN_DEPLOYMENT
    assert at(Step.CLEAN_DEPLOYMENT, facts).effect is None


@pytest.mark.parametrize("found", [None, Deployment("Deleting", OURS), Deployment("Failed", OURS), CHAMPION])
def test_traffic_is_not_written_for_a_deployment_that_does_not_stand(found: Deployment | None) -> None:
    facts = Facts(endpoint=BEFORE, deployments={OLD: CHAMPION} | ({NEW: found} if found else {}))
    move = at(Step.TRAFFIC, facts)
    assert (move.effect, move.progress["step"]) == (None, Step.RESTORE)


def test_traffic_that_azure_could_not_change_fails() -> None:
    facts = Facts(endpoint=endpoint("Failed", old=100), deployments={OLD: CHAMPION, NEW: STANDING})
    assert at(Step.TRAFFIC, facts).effect is Effect.WRITE_TRAFFIC
    told(at(Step.TRAFFIC, facts, did=Effect.WRITE_TRAFFIC), "could not change the traffic")


def test_the_traffic_cannot_go_back_to_what_is_gone() -> None:
    facts = Facts(endpoint=endpoint(new=100), deployments={NEW: STANDING})
    move = at(Step.RESTORE, facts)
    assert move.effect is None
    told(move, f"the traffic cannot go back to {OLD}, which is gone")


def test_the_traffic_goes_back_before_the_new_deployment_goes() -> None:
    both = {OLD: CHAMPION, NEW: STANDING}
    move = at(Step.RESTORE, Facts(endpoint=endpoint(new=100), deployments=both))
    assert move.effect is Effect.WRITE_TRAFFIC
    assert release_traffic.wanted(move.progress) == {NEW: 0, OLD: 100}


def test_old_deployments_go_only_without_traffic_and_only_when_a_release_made_them() -> None:
    everything = {NEW: STANDING, OLD: CHAMPION}
    assert at(Step.RETIRE, Facts(endpoint=endpoint(new=100), deployments=everything)).effect is Effect.DELETE_RETIRED
    for facts in (
        Facts(endpoint=endpoint(new=90, old=10), deployments=everything),
        Facts(endpoint=endpoint(old=100), deployments=everything),
        Facts(endpoint=endpoint(hand=100), deployments=everything),
        Facts(endpoint=endpoint(new=100, old=10), deployments=everything),
        Facts(endpoint=endpoint(new=100), deployments={NEW: STANDING, OLD: Deployment("Succeeded", {})}),
        Facts(endpoint=endpoint(new=100), deployments={NEW: STANDING, OLD: Deployment("Deleting", THEIRS)}),
        Facts(deployments=everything),
    ):
        assert at(Step.RETIRE, facts).effect is None


def test_an_old_deployment_that_does_not_go_away_does_not_fail_the_release() -> None:
    facts = Facts(endpoint=endpoint(new=100), deployments={NEW: STANDING, OLD: Deployment("Deleting", THEIRS)})
    move = at(Step.RETIRE, facts, minutes=31)
    assert move.progress["step"] == Step.RECORD
    told(move, f"retire: gave up after 30 minutes: deployment {OLD} is being deleted")


def test_the_new_deployment_is_never_deleted_while_it_gets_traffic() -> None:
    facts = Facts(endpoint=endpoint(new=100), deployments={NEW: STANDING})
    told(at(Step.CLEAN_DEPLOYMENT, facts), f"deployment {NEW} gets traffic: it is left in place")


def test_names_fit_azures_limits() -> None:
    long = dataclasses.replace(PLAN, run="A_very/long--name" * 9)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", long.group)
    for version in ("1", "2026.01.05-rc1+build", "x" * 40):
        assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9-]{2,31}", long.deployment(version))


STATES = st.sampled_from(["Succeeded", "Failed", "Updating", "Deleting", "Creating"])
DEPLOYMENTS = st.builds(Deployment, STATES, st.sampled_from([OURS, THEIRS, {}]))
ENDPOINTS = st.builds(
    Endpoint,
    st.sampled_from([{OLD: 100}, {NEW: 100}, {HAND: 100}, {OLD: 90, NEW: 10}, {OLD: 50, HAND: 50}, {}]),
    STATES,
    st.just("http://score"),
    st.just("aks-prod"),
)
PEOPLE = st.lists(st.builds(Decision, st.sampled_from(["approve", "reject"]), st.just("ann"), st.just(NOW)), max_size=1)
HOSTILE = st.builds(
    Facts,
    decisions=st.just(()) | PEOPLE.map(tuple),
    ending=st.sampled_from([None, None, None, Ending("cancelled", "x"), Ending("superseded", "x", same_image=True)]),
    tagged=st.sampled_from([None, DIGEST]),
    chain=st.sampled_from([(), ({"outcome": "promoted", "digest": DIGEST, "number": 1, "sha256": "0"},)]),
    labels=st.sampled_from([LABELS, {}, None]),
    model=st.sampled_from([TAGS, {}, None]),
    group=st.none() | st.builds(Group, st.sampled_from(["Running", "Failed", "Pending"]), st.sampled_from([OURS, {}])),
    ready=st.booleans(),
    checks=st.sampled_from([None, PASSED, Checks({}, ("it is bad",))]),
    endpoint=st.none() | ENDPOINTS,
    deployments=st.dictionaries(st.sampled_from([NEW, OLD, HAND]), DEPLOYMENTS),
    unreachable=st.sampled_from([None, None, "no answer"]),
    refused=st.sampled_from([None, None, None, "no"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | HOSTILE, min_size=10, max_size=40), st.integers(0, 2000))
def test_whatever_the_facts_the_laws_hold(seen: list[Facts | None], seconds: int) -> None:
    """None stands for the facts that are good for the step; anything else is drawn at random."""
    progress, now = dict(releases.begun(NOW)), NOW
    for facts in seen:
        facts = facts or GOOD[Step(progress["step"])]
        move = releases.advance(PLAN, progress, facts, now)
        lawful(move, progress, facts)
        if move.status is not Status.ACTIVE:
            assert move.progress["step"] == Step.END
            bad = Status.CANCELLED if move.progress.get("failure", {}).get("stopped") else Status.FAILED
            assert move.status is (bad if "failure" in move.progress else Status.SUCCEEDED)
            return
        progress, now = json.loads(json.dumps(move.progress)), now + dt.timedelta(seconds=seconds)


def lawful(move: Move, progress: Mapping[str, Any], facts: Facts) -> None:
    new, group = facts.deployments.get(NEW), facts.group
    if move.effect is Effect.CREATE_QA:
        assert group is None
    if move.effect is Effect.DELETE_QA:
        assert group is not None
        assert PLAN.owns(group)
    if move.effect is None or move.effect in (Effect.CREATE_QA, Effect.DELETE_QA, Effect.WRITE_EVIDENCE):
        return
    assert progress["passed"] == DIGEST
    assert facts.endpoint is not None
    if move.effect is Effect.CREATE_DEPLOYMENT:
        assert facts.endpoint.share(NEW) == 0
    if move.effect is Effect.DELETE_DEPLOYMENT:
        assert new is not None
        assert PLAN.owns(new)
        assert facts.endpoint.share(NEW) == 0
    if move.effect is Effect.DELETE_RETIRED:
        old = release_cleaning.retired(progress, facts)
        assert old not in (None, NEW)
        assert facts.endpoint.share(str(old)) == 0
        assert facts.endpoint.share(NEW) > 0
        assert RUN_TAG in facts.deployments[str(old)].tags
    if move.effect is Effect.WRITE_TRAFFIC:
        shares = {name: share for name, share in release_traffic.wanted(progress).items() if share}
        assert facts.endpoint.settled
        assert sum(shares.values()) == 100
        kept = {HAND: facts.endpoint.share(HAND)} if "failure" not in progress else {}
        assert shares == progress["previous"] if "failure" in progress else shares[NEW] >= 1
        assert all(shares.get(name, 0) == share for name, share in kept.items() if name not in progress["taking"])
        assert all(name in facts.deployments for name in shares)
        if NEW in shares and "failure" not in progress:
            assert new is not None
            assert PLAN.owns(new)
            assert new.state == "Succeeded"


def test_a_release_that_was_abandoned_and_is_tried_again_writes_a_record_of_its_own() -> None:
    before = {"run": PLAN.run, "token": PLAN.token, "began": "2025-12-31T00:00:00+00:00", "number": 1, "sha256": "0"}
    assert at(Step.RECORD, Facts(chain=(before,))).effect is Effect.WRITE_EVIDENCE
