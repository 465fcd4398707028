"""A whole release through the real SDKs, against the local cloud: registry, Container Instances, online endpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from azure.ai.ml.entities import KubernetesOnlineEndpoint, Model
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient

from localcloud.cloud import LAKE_ACCOUNT, LOCATION, RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, Cloud
from shared.actions.release import Release
from shared.adapters.azureml import open_workspace
from shared.adapters.azureml_client import connect
from shared.adapters.container_instances import ContainerInstances
from shared.adapters.golden_set import GoldenSet
from shared.adapters.lake import Lake
from shared.adapters.memory import SystemClock
from shared.adapters.registry import Registry
from shared.adapters.scoring import Scoring
from shared.errors import Refused, Unavailable
from shared.observations import Observation, Status
from shared.release_backends import Backends
from shared.release_facts import Limits, Plan
from tests.azurites import Azurite
from tests.localcloud.machine_learning import Arm
from tests.localcloud.running import eventually

SERVE = """
import http.server, json, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {"status": "Healthy"})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "series" not in asked:
            return self.answer(400, {"error": "series is missing"})
        told = [float(os.environ["LEVEL"])] * 3
        self.answer(200, {"predictions": {"A": told, "B": told}, "model_version": os.environ["VERSION"]})
    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        sys.stderr.write("served\\n")

if os.environ["LEVEL"] == "crash":
    sys.exit("the model is missing")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
GOLDEN = {
    "request": {"series": {"A": [1], "B": [2]}},
    "predictions": {"A": [2.0, 2.0, 2.0], "B": [2.0, 2.0, 2.0]},
    "actual": {"A": [2.5, None, 2.5], "B": [2.0, 2.0, 2.0]},
    "seasonal_naive": {"A": [4.0, 4.0, 4.0], "B": [4.0, 4.0, 4.0]},
}
ADDRESS = f"abfss://golden@{LAKE_ACCOUNT}.dfs.core.windows.net/golden.json"
BODY = json.dumps(GOLDEN).encode()


class World:
    """The services, and what a release needs to find there."""

    def __init__(self, cloud: Cloud, credential: ManagedIdentityCredential, azurite: Azurite) -> None:
        self.cloud = cloud
        manager = cloud.url("arm") + "/"
        self.client = connect(credential, SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, resource_manager=manager)
        workspace = open_workspace(credential, SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, resource_manager=manager)
        blobs = BlobServiceClient.from_connection_string(azurite.connection_string(LAKE_ACCOUNT))
        self.containers = ContainerInstances(
            credential, SUBSCRIPTION, RESOURCE_GROUP, LOCATION, resource_manager=manager
        )
        self.registry = Registry(cloud.url("registry"), credential, audience="https://management.azure.com")
        self.endpoints = workspace.endpoints
        self.backends = Backends(
            images=self.registry,
            models=workspace.models,
            containers=self.containers,
            endpoints=workspace.endpoints,
            scoring=Scoring(),
            lake=Lake(blobs),
            golden=GoldenSet,
        )
        self.release = Release(self.backends, SystemClock())
        if not blobs.get_container_client("golden").exists():
            blobs.create_container("golden")
        blobs.get_blob_client("golden", "golden.json").upload_blob(BODY, overwrite=True)
        endpoint = KubernetesOnlineEndpoint(name="demand", compute="aks-prod", auth_mode="key")
        self.client.online_endpoints.begin_create_or_update(endpoint).result()

    def image(self, version: str, level: str) -> str:
        """The digest of an image of a registered model version."""
        path = f"azureml://datastores/workspaceblobstore/paths/models/demand/{version}"
        tags = {"azureml_job": f"job-{version}", "gold_version": "7"}
        self.client.models.create_or_update(
            Model(name="demand", version=version, path=path, type="mlflow_model", tags=tags)
        )
        labels = {
            "sluice.model.name": "demand",
            "sluice.model.version": version,
            "sluice.azureml.job": f"job-{version}",
            "sluice.data.version": "7",
            "sluice.correlation": "chain-1",
            "sluice.golden.uri": ADDRESS,
            "sluice.golden.sha256": hashlib.sha256(BODY).hexdigest(),
        }
        written = " ".join(f"{name}={value}" for name, value in labels.items())
        lines = [
            "FROM python:3.11-slim",
            f"ENV LEVEL={level} VERSION={version} PORT=5001",
            f"LABEL {written}",
            "COPY requirements.lock ./",
            "RUN pip install -r requirements.lock",
            "COPY serve.py ./",
            "CMD exec python serve.py ${PORT}",
        ]
        files = {"Dockerfile": "\n".join(lines), "serve.py": SERVE, "requirements.lock": ""}
        return str(Arm(self.cloud).build(f"demand:{version}", files)["outputImages"][0]["digest"])

    def run(self, digest: str, token: str) -> Observation:
        """Observe a release until it ends."""
        asked, progress = request(digest, token), {}
        remote = self.release.start(asked)

        def step() -> Observation | None:
            nonlocal progress
            seen = observed(self.release, asked, remote, progress)
            progress = json.loads(json.dumps(seen.progress)) if seen else progress
            return seen if seen and seen.status is not Status.ACTIVE else None

        return eventually(step, 90)

    @property
    def traffic(self) -> Mapping[str, int]:
        found = self.endpoints.endpoint("demand")
        assert found
        return {name: share for name, share in found.traffic.items() if share}


def observed(release: Release, *call: Any) -> Observation | None:
    try:
        return release.observe(*call)
    except Unavailable:
        return None


def request(digest: str, token: str) -> dict[str, Any]:
    options = {
        "repository": "demand",
        "digest": digest,
        "endpoint": "demand",
        "compute": "aks-prod",
        "qa": {"requests": 3},
    }
    return {"run": "release-0123abcd-1", "token": token * 64, "correlation": "c", "options": options}


@pytest.fixture(scope="module")
def world(cloud: Cloud, credential: ManagedIdentityCredential, azurite: Azurite) -> World:
    return World(cloud, credential, azurite)


def test_version_one_then_two_go_to_production_by_digest(world: World) -> None:
    deployed = []
    for version, token in (("1", "a"), ("2", "b")):
        digest = world.image(version, "2.0")
        last = world.run(digest, token)
        assert last.status is Status.SUCCEEDED, last.reason
        result = last.result
        deployed.append(result["deployment"])
        assert world.traffic == {deployed[-1]: 100}
        assert set(world.endpoints.deployments("demand")) == {deployed[-1]}
        assert (result["model_version"], result["digest"]) == (version, digest)
        assert result["qa"]["mae"] == pytest.approx(0.2)
        assert result["qa"]["naive_mae"] == pytest.approx(1.8)
        answer = Scoring().post(
            result["scoring_uri"], json.dumps(GOLDEN["request"]).encode(), key=world.endpoints.key("demand")
        )
        assert json.loads(answer.body)["model_version"] == version
        images = {row["image"] for row in world.cloud.records("azure_ml", "deployment")}
        assert world.registry.reference("demand", digest) in images
    assert result["previous"] == {deployed[0]: 100}
    created = world.cloud.records("container_instances", "created")
    assert len(created) == len(world.cloud.records("container_instances", "deleted")) == 2


def test_an_image_that_predicts_something_else_stays_out_of_production(world: World) -> None:
    before = world.traffic
    last = world.run(world.image("3", "2.5"), "c")
    assert last.status is Status.FAILED
    assert "differ from evaluate's by up to 0.5" in last.reason
    assert world.traffic == before
    assert world.containers.group(Plan.of(request("sha256:" + "0" * 64, "c")).group) is None


def test_an_image_that_crashes_fails_with_what_it_said(world: World) -> None:
    last = world.run(world.image("4", "crash"), "d")
    assert last.status is Status.FAILED
    assert "the model is missing" in last.reason


def test_an_image_that_is_not_there_is_refused(world: World) -> None:
    last = world.run("sha256:" + "0" * 64, "e")
    assert "is not in the registry" in last.reason


def test_what_does_not_exist_is_none(world: World) -> None:
    assert world.containers.group("nothing") is None
    assert world.containers.logs("nothing") == ""
    world.containers.delete("nothing")
    assert world.endpoints.endpoint("nothing") is None
    assert world.endpoints.deployments("nothing") == {}
    assert world.endpoints.logs("demand", "nothing") == ""
    world.endpoints.remove("demand", "nothing")


def test_a_container_group_of_an_image_that_cannot_be_pulled_is_refused(world: World) -> None:
    image = world.registry.reference("demand", "sha256:" + "0" * 64)
    with pytest.raises(Refused, match="InaccessibleImage"):
        world.containers.create("qa-none", image, {}, Limits())
