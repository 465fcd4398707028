"""The Azure ML workspace, through azure-ai-ml: publish, run, fail, cancel, register, deploy, move traffic, score."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from azure.ai.ml import MLClient, load_component, load_environment, load_job
from azure.ai.ml.entities import (
    KubernetesOnlineDeployment,
    KubernetesOnlineEndpoint,
    Model,
    PipelineJob,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient

from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, Cloud
from tests.azurites import Azurite
from tests.localcloud.machine_learning import Arm, new_cloud, services
from tests.localcloud.running import eventually

COMPONENT = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: {name}
version: "1"
inputs:
{inputs}
outputs:
  result: {{type: uri_folder}}
code: src
environment: {{image: "python:3.11-slim", conda_file: conda.yml}}
command: >-
  python step.py --name {name} {arguments} --result ${{{{outputs.result}}}}
"""
STEP = """
import argparse, os, pathlib, sys, time
parser = argparse.ArgumentParser()
for name in ("--name", "--word", "--extra", "--data", "--result"):
    parser.add_argument(name)
given = parser.parse_args()
if given.word == "slow" and given.name == "first":
    time.sleep(30)
if given.data is not None:
    given.word = pathlib.Path(given.data, "word.txt").read_text()
if given.word.startswith("bad") and given.name == "second":
    sys.exit("seasonal naive is not beaten")
text = f"{given.word}{given.extra or ''}!"
pathlib.Path(given.result, "word.txt").write_text(text)
print(given.name, "of", os.environ["AZUREML_ROOT_RUN_ID"], "as", os.environ["AZUREML_RUN_ID"], "says", text)
"""
PIPELINE = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: two_steps
version: "1"
inputs:
  word: {type: string}
  extra: {type: integer, optional: true}
jobs:
  second:
    type: command
    component: azureml:second:1
    inputs: {data: "${{parent.jobs.first.outputs.result}}"}
  first:
    type: command
    component: azureml:first:1
    inputs: {word: "${{parent.inputs.word}}", extra: "${{parent.inputs.extra}}"}
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Cloud:
    return new_cloud(tmp_path_factory.mktemp("cloud"), azurite)


@pytest.fixture
def ml(cloud: Cloud) -> Iterator[MLClient]:
    with services(cloud):
        client = workspace(cloud)
        publish(client, cloud.root / "components")
        yield client


def workspace(cloud: Cloud) -> MLClient:
    arm = cloud.url("arm")
    metadata = {
        "azure_portal": arm,
        "resource_manager": f"{arm}/",
        "active_directory": arm,
        "aml_resource_id": "https://ml.azure.com",
        "storage_endpoint": "core.local",
        "registry_discovery_endpoint": arm,
    }
    credential = ManagedIdentityCredential()
    return MLClient(
        credential,
        SUBSCRIPTION,
        RESOURCE_GROUP,
        WORKSPACE,
        cloud=arm,
        cloud_metadata=metadata,
        enable_telemetry=False,
    )


def publish(ml: MLClient, folder: Path) -> None:
    """Register two command components and the pipeline component of both, from files."""
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "step.py").write_text(STEP)
    (folder / "conda.yml").write_text("dependencies:\n  - python=3.11\n  - pip\n  - pip: []\n")
    inputs = {
        "first": ("  word: {type: string}\n  extra: {type: integer, optional: true}", "--word ${{inputs.word}}"),
        "second": ("  data: {type: uri_folder}", "--data ${{inputs.data}}"),
    }
    inputs["first"] = (inputs["first"][0], inputs["first"][1] + " $[[--extra ${{inputs.extra}}]]")
    for name, (declared, arguments) in inputs.items():
        file = folder / f"{name}.yml"
        file.write_text(COMPONENT.format(name=name, inputs=declared, arguments=arguments))
        ml.components.create_or_update(load_component(file))
    (folder / "two_steps.yml").write_text(PIPELINE)
    ml.components.create_or_update(load_component(folder / "two_steps.yml"))


def job(name: str, word: str, extra: int | None = None) -> PipelineJob:
    """A pipeline job of the one registered pipeline component."""
    given = f"inputs: {{word: {word}}}" if extra is None else f"inputs: {{word: {word}, extra: {extra}}}"
    text = f"""
type: pipeline
experiment_name: words
settings: {{default_compute: azureml:cpu-cluster, continue_on_step_failure: false}}
jobs:
  both:
    type: pipeline
    component: azureml:two_steps:1
    {given}
"""
    loaded = load_job(io.StringIO(text))
    loaded.name = name
    return loaded


def ended(ml: MLClient, name: str) -> PipelineJob:
    def over() -> PipelineJob | None:
        found = ml.jobs.get(name)
        return found if found.status in ("Completed", "Failed", "Canceled") else None

    return eventually(over, 40)


def blobs(cloud: Cloud) -> BlobServiceClient:
    return BlobServiceClient(f"{cloud.url('lake')}/{LAKE_ACCOUNT}", credential=LAKE_KEY)


def events(cloud: Cloud, kind: str, subject: str) -> int:
    rows = cloud.records("event_grid", "published")
    return sum(row["type"].endswith(kind) and row["subject"].endswith(subject) for row in rows)


def test_a_registered_pipeline_runs_its_steps_in_order(ml: MLClient, cloud: Cloud) -> None:
    submitted = ml.jobs.create_or_update(job("words-1", "hello", 5))
    assert submitted.name == "words-1"
    assert submitted.studio_url
    assert ended(ml, "words-1").status == "Completed"
    container = blobs(cloud).get_container_client("azureml")
    text = container.download_blob("azureml/words-1/both.second/result/word.txt").readall()
    assert text == b"hello5!!"
    log = container.download_blob("ExperimentRun/dcid.words-1_both.second/user_logs/std_log.txt").readall()
    assert b"second of words-1 as words-1_both.second says" in log
    steps = [row["step"] for row in cloud.records("azure_ml", "step_ended") if row["job"] == "words-1"]
    assert steps == ["both.first", "both.second"]
    assert ml.jobs.get("words-1_both.first").status == "Completed"
    assert events(cloud, "RunCompleted", "/words-1") == 1
    assert events(cloud, "RunCompleted", "/words-1_both.first") == 1


def test_the_same_job_again_is_the_job_that_exists(ml: MLClient, cloud: Cloud) -> None:
    ml.jobs.create_or_update(job("words-2", "once"))
    ml.jobs.create_or_update(job("words-2", "once"))
    assert ended(ml, "words-2").status == "Completed"
    assert [row["name"] for row in cloud.records("azure_ml", "job_created")].count("words-2") == 1
    with pytest.raises(HttpResponseError, match=r"A job with this name already exists.*Jobs cannot be changed"):
        ml.jobs.create_or_update(job("words-2", "other"))
    assert "words-2" in [found.name for found in ml.jobs.list()]


def test_a_failing_step_fails_the_job_with_its_last_lines(ml: MLClient) -> None:
    ml.jobs.create_or_update(job("words-3", "bad"))
    failed = ended(ml, "words-3")
    assert failed.status == "Failed"
    assert "Step 'both.second' failed with exit code 1" in failed.properties["azureml.error"]
    assert "seasonal naive is not beaten" in failed.properties["azureml.error"]
    assert ml.jobs.get("words-3_both.first").status == "Completed"
    assert [child.name for child in ml.jobs.list(parent_job_name="words-3")]


def test_a_canceled_job_stops_its_step(ml: MLClient, cloud: Cloud) -> None:
    ml.jobs.create_or_update(job("words-4", "slow"))
    eventually(lambda: [row for row in cloud.records("azure_ml", "step_started") if row["job"] == "words-4"])
    ml.jobs.begin_cancel("words-4").result()
    assert ended(ml, "words-4").status == "Canceled"
    assert ml.jobs.get("words-4_both.first").status == "Canceled"


def test_a_job_of_an_unknown_component_is_refused(ml: MLClient) -> None:
    text = "{type: pipeline, jobs: {both: {type: pipeline, component: 'azureml:nothing:1'}}}"
    with pytest.raises(HttpResponseError, match="nothing/versions/1 does not exist"):
        ml.jobs.create_or_update(load_job(io.StringIO(text)))


def test_a_job_that_was_active_at_a_restart_has_failed(cloud: Cloud) -> None:
    with services(cloud):
        client = workspace(cloud)
        publish(client, cloud.root / "components")
        client.jobs.create_or_update(job("words-6", "slow"))
        eventually(lambda: [row for row in cloud.records("azure_ml", "step_started") if row["job"] == "words-6"])
    with services(cloud):
        client = workspace(cloud)
        failed = ended(client, "words-6")
        assert failed.status == "Failed"
        assert "restarted" in failed.properties["azureml.error"]


def test_a_model_is_registered_once_and_announced(ml: MLClient, cloud: Cloud) -> None:
    path = "azureml://datastores/workspaceblobstore/paths/models/words/1"
    model = Model(name="words", path=path, type="mlflow_model", tags={"azureml_job": "words-1"})
    assert ml.models.create_or_update(model).version == "1"
    assert ml.models.create_or_update(Model(name="words", path=path, type="mlflow_model")).version == "2"
    assert ml.models.get("words", label="latest").version == "2"
    assert [found.tags.get("azureml_job") for found in ml.models.list("words")] == ["words-1", None]
    assert events(cloud, "ModelRegistered", "models/words:1") == 1
    registered = cloud.records("azure_ml", "model_registered")[0]
    assert (registered["name"], registered["version"], registered["job"]) == ("words", "1", "words-1")


def test_deployments_serve_by_digest_and_traffic_moves(ml: MLClient, cloud: Cloud) -> None:
    endpoint = KubernetesOnlineEndpoint(name="words-ep", compute="aks-prod", auth_mode="key")
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    for colour in ("blue", "green"):
        deploy(ml, cloud, "words-ep", colour)
    set_traffic(ml, blue=75, green=25)
    found = ml.online_endpoints.get("words-ep")
    keys = ml.online_endpoints.get_keys("words-ep")
    answers = [score(found.scoring_uri, keys.primary_key) for _ in range(8)]
    assert sorted(answers) == ["blue"] * 6 + ["green"] * 2
    assert answers[:4] == answers[4:]
    assert score(found.scoring_uri, keys.secondary_key, "green") == "green"
    assert (
        requests.post(found.scoring_uri, json={}, headers={"Authorization": "Bearer no"}, timeout=5).status_code == 401
    )
    with pytest.raises(HttpResponseError, match="takes 25% of the traffic"):
        ml.online_deployments.begin_delete("green", "words-ep").result()
    with pytest.raises(HttpResponseError, match="sum up to 0 or 100"):
        set_traffic(ml, blue=50)
    set_traffic(ml, green=100, blue=0)
    ml.online_deployments.begin_delete("blue", "words-ep").result()
    assert [one.name for one in ml.online_deployments.list("words-ep")] == ["green"]
    assert "POST" in ml.online_deployments.get_logs("green", "words-ep", lines=50)
    assert events(cloud, "ModelDeployed", "endpoints/words-ep") == 2
    rows = cloud.records("scoring", "request")
    assert [row["status"] for row in rows].count(200) == 9


def test_a_deployment_comes_back_after_a_restart(cloud: Cloud) -> None:
    with services(cloud):
        client = workspace(cloud)
        eventually(lambda: client.online_deployments.get("green", "words-ep").provisioning_state == "Succeeded")
        found, keys = client.online_endpoints.get("words-ep"), client.online_endpoints.get_keys("words-ep")
        assert score(found.scoring_uri, keys.primary_key) == "green"


def test_a_deployment_whose_container_ends_has_failed_with_its_logs(ml: MLClient, cloud: Cloud) -> None:
    with pytest.raises(HttpResponseError, match="the model is missing"):
        deploy(ml, cloud, "words-ep", "red", BROKEN="1")
    red = ml.online_deployments.get("red", "words-ep")
    assert red.provisioning_state == "Failed"
    assert "the model is missing" in ml.online_deployments.get_logs("red", "words-ep", lines=50)


def deploy(ml: MLClient, cloud: Cloud, endpoint: str, name: str, **variables: str) -> None:
    built = Arm(cloud).build(f"words:{name}", VERSION=name)["outputImages"][0]
    folder = cloud.root / "environments"
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.yml"
    route = {"port": 5001, "path": "/"}
    inference = {"liveness_route": route, "readiness_route": route, "scoring_route": route | {"path": "/score"}}
    image = f"{built['registry']}/words@{built['digest']}"
    version = built["digest"][7:19]
    text = {"name": "words", "version": version, "image": image, "inference_config": inference}
    file.write_text(json.dumps(text))
    environment = ml.environments.create_or_update(load_environment(file))
    deployment = KubernetesOnlineDeployment(
        name=name, endpoint_name=endpoint, environment=environment.id, environment_variables=variables
    )
    ml.online_deployments.begin_create_or_update(deployment).result()


def set_traffic(ml: MLClient, **traffic: int) -> None:
    endpoint = ml.online_endpoints.get("words-ep")
    endpoint.traffic = traffic
    ml.online_endpoints.begin_create_or_update(endpoint).result()


def score(url: str, key: str, deployment: str | None = None) -> str:
    headers = {"Authorization": f"Bearer {key}"} | ({"azureml-model-deployment": deployment} if deployment else {})
    answer = requests.post(url, json={"week": 1}, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.text == f'hello {answer.headers["azureml-model-deployment"]} {{"week": 1}}'
    return answer.headers["azureml-model-deployment"]


def test_what_does_not_exist_is_not_found(ml: MLClient) -> None:
    for ask in (lambda: ml.jobs.get("no"), lambda: ml.models.get("no", "1"), lambda: ml.online_endpoints.get("no")):
        with pytest.raises(ResourceNotFoundError):
            ask()
    assert ml.compute.get("aks-prod").type == "kubernetes"
