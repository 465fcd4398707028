"""The release action over a world in memory: what happens to production, and what the reasons say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from shared.errors import Refused
from shared.observations import Failure, Status
from shared.release_facts import Deployment, Group
from tests.unit.actions.release_world import (
    DIGEST,
    GROUP,
    NEW,
    OLD,
    World,
    assert_matches,
    assert_untouched,
    finish,
    request,
    steps_until,
)


def test_an_image_that_passes_gets_all_traffic_and_the_old_deployment_goes() -> None:
    world = World()
    last = world.run()[-1]
    assert last.status is Status.SUCCEEDED
    assert world.traffic == {NEW: 100}
    assert set(world.deployments) == {NEW}
    assert world.groups == {}
    assert world.images[NEW].endswith(DIGEST)
    assert last.reason.startswith(
        "demand-forecast version 2 (sha256:abababababab…) gets all traffic of demand-forecast"
    )
    assert f"before it was {OLD} 100 %" in last.reason
    result = last.result
    assert {name: result[name] for name in ("model", "model_version", "azureml_job", "gold_version", "deployment")} == {
        "model": "demand-forecast",
        "model_version": "2",
        "azureml_job": "sluice-job",
        "gold_version": "7",
        "deployment": NEW,
    }
    assert result["digest"] == DIGEST
    assert result["traffic"] == {NEW: 100}
    assert result["previous"] == {OLD: 100}
    assert result["qa"]["mae"] < result["qa"]["naive_mae"]
    assert result["qa"]["reproduced_max_diff"] == 0
    assert {"identify", "qa_check", "weight 100: traffic", "retire"} <= set(result["seconds"])


def test_a_first_release_needs_no_champion() -> None:
    world = World(traffic={}, deployments={})
    assert world.run()[-1].status is Status.SUCCEEDED
    assert world.traffic == {NEW: 100}


def test_the_image_tells_the_correlation_of_its_chain() -> None:
    assert "chain-1" in {seen.correlation for seen in World().run()}


def test_start_creates_nothing_and_names_a_valid_container_group() -> None:
    world = World()
    asked = request(run="Release_Of__Everything-" + "x" * 80)
    remote = world.release.start(asked)
    assert world.calls == []
    assert len(remote.id) <= 63
    assert remote.id == remote.id.lower()
    assert set(remote.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert "--" not in remote.id


def test_two_attempts_of_a_run_have_two_container_groups() -> None:
    release = World().release
    assert release.start(request()).id != release.start(request(token="e" * 64)).id


@pytest.mark.parametrize("digest", ["latest", "sha256:xyz", "", None, "sha256:" + "A" * 64])
def test_a_digest_that_is_none_is_refused(digest: object) -> None:
    options = {**request()["options"], "digest": digest}
    with pytest.raises(Refused, match="digest"):
        World().release.start(request(options=options))


def test_the_faults_of_options_name_the_option() -> None:
    faults = World().release.faults({"repository": "r", "digest": "{d}", "compute": 3, "speed": 1, "qa": {"cpu": 0}})
    assert len(faults) == 4
    for name in ("endpoint", "compute", "speed", "qa.cpu"):
        assert any(name in fault for fault in faults)
    assert World().release.faults(request()["options"]) == []


MISMATCHES: dict[str, tuple[Callable[[World], None], str]] = {
    "no image": (lambda w: setattr(w, "labels", None), "is not in the registry"),
    "no labels": (lambda w: setattr(w, "labels", {}), "lacks the label.*sluice.model.name"),
    "no model": (lambda w: setattr(w, "model_tags", None), "not in the model registry"),
    "other job": (
        lambda w: setattr(w, "model_tags", {"azureml_job": "x", "gold_version": "7"}),
        "tagged azureml_job=x",
    ),
    "other data": (
        lambda w: setattr(w, "model_tags", {"azureml_job": "sluice-job", "gold_version": "6"}),
        "sluice.data.version=7.*tagged gold_version=6",
    ),
    "no endpoint": (lambda w: setattr(w, "endpoint_exists", False), "no online endpoint demand-forecast"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_an_image_that_is_not_what_it_says_is_not_released(name: str) -> None:
    world = World()
    change, reason = MISMATCHES[name]
    change(world)
    last = world.run()[-1]
    assert (last.status, last.failure) == (Status.FAILED, Failure.PERMANENT)
    assert_matches(last, reason)
    assert not [call for call in world.calls if call.startswith(("create", "deploy", "traffic"))]


def test_a_route_releases_only_its_own_model() -> None:
    last = World().run(request(options={**request()["options"], "model": "other"}))[-1]
    assert_matches(last, "holds model demand-forecast, this route releases other")


def test_a_route_releases_only_to_its_own_compute() -> None:
    last = World().run(request(options={**request()["options"], "compute": "aks-test"}))[-1]
    assert_matches(last, "runs on aks-prod, this route releases to aks-test")


def test_a_digest_that_already_has_all_traffic_is_left_alone() -> None:
    world = World(traffic={NEW: 100})
    last = world.run()[-1]
    assert last.status is Status.SUCCEEDED
    assert_matches(last, "already gets all traffic")
    assert not [call for call in world.calls if call.startswith(("create", "deploy", "traffic"))]


FAULTS_OF_QA: dict[str, tuple[Callable[[World], None], str]] = {
    "worse": (
        lambda w: setattr(w, "qa_answer", {"prediction": 1.0, "mae": 1.5}),
        "error on the golden week is 1.5, seasonal naive's is 1",
    ),
    "as bad": (lambda w: setattr(w, "qa_answer", {"prediction": 1.0, "mae": 1.0}), "seasonal naive's is 1"),
    "other": (lambda w: setattr(w, "qa_answer", {"prediction": 1.5}), "differ from evaluate's by up to 0.5"),
    "shape": (lambda w: setattr(w, "qa_answer", {}), "wrong shape: it has no prediction"),
    "lenient": (lambda w: setattr(w, "malformed_status", 200), "malformed request was answered with 200"),
    "crashing": (lambda w: setattr(w, "malformed_status", 500), "malformed request was answered with 500"),
    "slow": (lambda w: setattr(w, "seconds", 1.5), "within 1500 ms, the limit is 1000"),
    "no golden": (lambda w: setattr(w, "golden", None), "golden set .* is not there"),
    "tampered": (lambda w: setattr(w, "golden", b"{}"), "has sha256 .*, the image names"),
}


@pytest.mark.parametrize("name", FAULTS_OF_QA)
def test_what_qa_finds_stops_the_release_and_leaves_production_untouched(name: str) -> None:
    world = World()
    change, reason = FAULTS_OF_QA[name]
    change(world)
    last = world.run()[-1]
    assert (last.status, last.failure) == (Status.FAILED, Failure.PERMANENT)
    assert_matches(last, reason)
    assert_untouched(world)


def test_what_qa_measured_is_told_when_it_fails() -> None:
    assert World(qa_answer={"prediction": 1.0, "mae": 1.5}).run()[-1].result["qa"]["mae"] == 1.5


def test_a_container_that_never_answers_fails_with_the_end_of_its_log() -> None:
    world = World(healthy=False)
    last = world.run()[-1]
    assert (last.status, last.failure) == (Status.FAILED, Failure.TRANSIENT)
    assert_matches(last, "gave up after 20 minutes: .*not healthy yet; its log ends: the end of the log")
    assert_untouched(world)


def test_a_container_that_crashes_fails_at_once_with_the_end_of_its_log() -> None:
    world = World(healthy=False)
    asked = request()
    progress = steps_until(world, asked, "qa_wait")
    world.groups[GROUP] = dataclasses.replace(world.groups[GROUP], state="Terminated", detail="with exit code 1")
    seen = world.observe(asked, progress)
    assert_matches(seen, "the container terminated with exit code 1; its log ends: the end of the log")


def test_a_container_group_of_others_is_never_touched() -> None:
    world = World(groups={GROUP: Group("Running", {"owner": "somebody"}, "http://x")})
    last = world.run()[-1]
    assert_matches(last, "that this release has not made")
    assert GROUP in world.groups


def test_a_failed_deployment_is_deleted_and_production_untouched() -> None:
    world = World(becomes="Failed")
    last = world.run()[-1]
    assert (last.status, last.failure) == (Status.FAILED, Failure.PERMANENT)
    assert_matches(last, f"deployment {NEW} is Failed; its log ends: the end of the log")
    assert_untouched(world)


def test_a_deployment_that_differs_from_qa_gets_no_traffic() -> None:
    world = World(production_answer={"prediction": 1.2, "model_version": "2"})
    assert_matches(world.run()[-1], "differs from what QA saw: its predictions differ")
    assert_untouched(world)


def test_an_endpoint_that_is_being_changed_is_waited_for() -> None:
    world = World(endpoint_state="Updating")
    asked = request()
    progress = steps_until(world, asked, "deploy")
    seen = world.observe(asked, progress)
    assert (seen.status, seen.progress) == (Status.ACTIVE, progress)
    world.endpoint_state = "Succeeded"
    assert world.observe(asked, progress).progress != progress


def test_traffic_that_somebody_else_changes_is_left_alone() -> None:
    world = World()
    asked = request()
    progress = steps_until(world, asked, "traffic")
    world.deployments["hand-made"] = Deployment("Succeeded", {})
    world.traffic = {"hand-made": 100}
    last = finish(world, asked, progress)
    assert last.status is Status.FAILED
    assert_matches(last, "the traffic of demand-forecast is hand-made 100 %: somebody else has changed it")
    assert world.traffic == {"hand-made": 100}
    assert NEW not in world.deployments


def test_a_new_deployment_that_does_not_answer_gives_the_traffic_back() -> None:
    world = World()
    asked = request()
    progress = steps_until(world, asked, "verify")
    world.production_answer = {"prediction": 9.0}
    last = finish(world, asked, progress)
    assert last.status is Status.FAILED
    assert_matches(last, "verify: gave up after 5 minutes: a request is not answered as QA saw")
    assert_matches(last, f"restore: the traffic is as before, {OLD} 100 %")
    assert_untouched(world)


def test_a_hand_made_champion_is_kept_without_traffic() -> None:
    world = World(deployments={OLD: Deployment("Succeeded", {})})
    last = world.run()[-1]
    assert last.status is Status.SUCCEEDED
    assert_matches(last, f"{OLD} is kept: no release made it")
    assert OLD in world.deployments


def test_a_container_that_cannot_be_deleted_does_not_stop_the_release() -> None:
    world = World()
    world.fault = lambda call: refuse(call) if call.startswith("delete") else None
    last = world.run()[-1]
    assert last.status is Status.SUCCEEDED
    assert_matches(last, "qa_delete: it was refused: locked")


def test_a_refused_deployment_fails_the_release() -> None:
    world = World()
    world.fault = lambda call: refuse(call) if call.startswith("deploy") else None
    last = world.run()[-1]
    assert_matches(last, "deploy: it was refused: locked")
    assert_untouched(world)


def test_traffic_is_saved_in_the_progress_before_it_is_written() -> None:
    world = World()
    asked = request()
    progress = steps_until(world, asked, "traffic")
    assert progress["intended"] == {NEW: 100, OLD: 0}
    assert progress["previous"] == {OLD: 100}
    assert world.traffic == {OLD: 100}


def refuse(call: str) -> None:
    raise Refused("locked" if call else "")
