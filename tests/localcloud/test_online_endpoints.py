"""Online endpoints that are slow, stuck or failing on demand, as releases must expect them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from azure.ai.ml import MLClient
from azure.ai.ml.entities import KubernetesOnlineEndpoint
from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential

from demand_forecasting.publish_azureml import connect
from localcloud.cloud import RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, Cloud
from tests.azurites import Azurite
from tests.localcloud.machine_learning import new_cloud, services
from tests.localcloud.running import eventually
from tests.localcloud.test_azure_ml import deploy, score


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[Cloud]:
    made = new_cloud(tmp_path_factory.mktemp("cloud"), azurite)
    with services(made):
        yield made


@pytest.fixture(scope="module")
def ml(cloud: Cloud) -> MLClient:
    manager = cloud.url("arm")
    client = connect(ManagedIdentityCredential(), SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, resource_manager=manager)
    client.online_endpoints.begin_create_or_update(
        KubernetesOnlineEndpoint(name="faulty", compute="aks-prod", auth_mode="key")
    ).result()
    for colour in ("blue", "green"):
        deploy(client, cloud, "faulty", colour)
    write(client, blue=100)
    return client


def write(ml: MLClient, **traffic: int) -> None:
    begin(ml, **traffic).result()


def begin(ml: MLClient, **traffic: int) -> Any:
    endpoint = ml.online_endpoints.get("faulty")
    endpoint.traffic = traffic
    return ml.online_endpoints.begin_create_or_update(endpoint)


def fault(cloud: Cloud, port: str, **rule: Any) -> None:
    requests.post(f"{cloud.url(port)}/_faults", json=rule, timeout=10).raise_for_status()


def test_every_weight_is_kept_in_any_hundred_requests_from_many_callers(ml: MLClient) -> None:
    write(ml, blue=90, green=10)
    found, keys = ml.online_endpoints.get("faulty"), ml.online_endpoints.get_keys("faulty")
    counts: Counter[str] = Counter()

    def call() -> None:
        counts.update(score(found.scoring_uri, keys.primary_key) for _ in range(25))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert counts == {"blue": 90, "green": 10}
    write(ml, blue=100, green=0)
    assert score(found.scoring_uri, keys.primary_key, "green") == "green"


def test_an_endpoint_is_updating_until_its_map_holds_and_takes_no_other_change(ml: MLClient, cloud: Cloud) -> None:
    fault(cloud, "arm", operation="traffic", match="^faulty$", delay=1.5)
    begun = begin(ml, blue=50, green=50)
    found = ml.online_endpoints.get("faulty")
    assert found.provisioning_state == "Updating"
    assert {name: share for name, share in found.traffic.items() if share} == {"blue": 100}
    with pytest.raises(HttpResponseError, match="in the state Updating"):
        write(ml, green=100)
    begun.result()
    assert ml.online_endpoints.get("faulty").traffic == {"blue": 50, "green": 50}


def test_a_map_that_cannot_be_given_leaves_the_one_before(ml: MLClient, cloud: Cloud) -> None:
    write(ml, blue=100, green=0)
    fault(cloud, "arm", operation="traffic", match="^faulty$", status=500)
    with pytest.raises(HttpResponseError, match="fault rule: status 500"):
        write(ml, green=100, blue=0)
    found = ml.online_endpoints.get("faulty")
    assert found.provisioning_state == "Failed"
    assert found.traffic["blue"] == 100
    write(ml, blue=100, green=0)
    assert ml.online_endpoints.get("faulty").provisioning_state == "Succeeded"


def test_a_deployment_may_be_stuck_and_can_be_deleted_then(ml: MLClient, cloud: Cloud) -> None:
    fault(cloud, "arm", operation="deployment", match="^faulty/red$", delay=600)

    def asked() -> None:
        with contextlib.suppress(Exception):  # nobody hears of the end of what is deleted meanwhile
            deploy(ml, cloud, "faulty", "red")

    threading.Thread(target=asked, daemon=True).start()
    eventually(lambda: "red" in {one.name for one in ml.online_deployments.list("faulty")})
    assert ml.online_deployments.get("red", "faulty").provisioning_state == "Creating"
    ml.online_deployments.begin_delete("red", "faulty").result()
    assert "red" not in {one.name for one in ml.online_deployments.list("faulty")}


def test_one_deployment_may_fail_its_requests_while_the_others_answer(ml: MLClient, cloud: Cloud) -> None:
    write(ml, blue=50, green=50)
    fault(cloud, "scoring", operation="score", match="^faulty/green$", status=500, count=3)
    found, keys = ml.online_endpoints.get("faulty"), ml.online_endpoints.get_keys("faulty")
    headers = {"Authorization": f"Bearer {keys.primary_key}"}
    answers = [requests.post(found.scoring_uri, json={"week": 1}, headers=headers, timeout=10) for _ in range(8)]
    told = Counter((answer.headers["azureml-model-deployment"], answer.status_code) for answer in answers)
    assert told == {("blue", 200): 4, ("green", 500): 3, ("green", 200): 1}


def test_an_unknown_operation_is_refused(cloud: Cloud) -> None:
    answer = requests.post(f"{cloud.url('arm')}/_faults", json={"operation": "dance"}, timeout=10)
    assert answer.status_code == 400
    assert "operation 'dance' is none of deployment, score, traffic" in answer.text
