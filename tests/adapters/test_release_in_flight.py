"""A release whose call is in flight when a person cancels it: nothing that it has made lives on."""

from __future__ import annotations

from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential

from localcloud.cloud import Cloud
from shared.actions.release import Release
from shared.errors import Unavailable
from shared.phases import Phase
from shared.release_facts import Limits
from tests.adapters.flight import fault, faults_left, flying
from tests.adapters.test_release import World
from tests.azurites import Azurite

PUT_GROUP = {"method": "PUT", "path": "/containerGroups/qa-"}
DEPLOYED = {"method": "PUT", "path": "/onlineEndpoints/demand/deployments/"}


@pytest.fixture(scope="module")
def world(cloud: Cloud, credential: ManagedIdentityCredential, azurite: Azurite) -> World:
    return World(cloud, credential, azurite)


@pytest.mark.parametrize(
    ("version", "rule"),
    [
        pytest.param("11", PUT_GROUP | {"lose_response": True}, id="the container group's answer is lost"),
        pytest.param("12", PUT_GROUP | {"delay": 2.0}, id="the container group takes its time"),
        pytest.param("13", DEPLOYED | {"lose_response": True}, id="the deployment's answer is lost"),
    ],
)
def test_a_cancel_while_a_call_is_in_flight_leaves_nothing_behind(
    world: World, cloud: Cloud, version: str, rule: dict[str, Any]
) -> None:
    digest = world.image(version, "2.0")
    options = {
        "repository": "demand",
        "digest": digest,
        "endpoint": "demand",
        "compute": "aks-prod",
        "qa": {"requests": 3},
    }
    before = world.traffic
    with flying("release", lambda clock: Release(world.backends, clock), options) as flight:
        fault(cloud, "arm", rule)
        flight.begin()
        flight.go_on(lambda: not faults_left(cloud, "arm"), 90)
        flight.cancel()
        run = flight.rest(90)
    assert run.phase is Phase.CANCELLED, run.history
    assert run.remote
    assert run.request
    assert world.containers.group(run.remote.id) is None
    owned = [one for one in world.endpoints.deployments("demand").values() if one.tags.get("sluice-run") == run.id]
    assert [one for one in owned if one.state.lower() != "deleting"] == []
    assert world.traffic == before


def test_a_container_group_whose_answer_was_lost_is_asked_for_again_and_made_once(world: World, cloud: Cloud) -> None:
    image = world.registry.reference("demand", world.image("14", "2.0"))
    fault(cloud, "arm", {"method": "PUT", "path": "/containerGroups/lost$", "lose_response": True})
    with pytest.raises(Unavailable):
        world.containers.create("lost", image, {"sluice-token": "t"}, Limits())
    world.containers.create("lost", image, {"sluice-token": "t"}, Limits())
    made = [row for row in cloud.records("container_instances", "created") if row["name"] == "lost"]
    assert len(made) == 1
    fault(cloud, "arm", {"method": "DELETE", "path": "/containerGroups/lost$", "lose_response": True})
    with pytest.raises(Unavailable):
        world.containers.delete("lost")
    world.containers.delete("lost")
    assert world.containers.group("lost") is None
