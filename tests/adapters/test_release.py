"""A whole release through the real SDKs, against the local cloud: registry, Container Instances, online endpoint."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests
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
from shared.adapters.memory_releases import MemoryEvidence, MemoryServedCalls
from shared.adapters.registry import Registry
from shared.adapters.scoring import Scoring
from shared.errors import Refused, Unavailable
from shared.observations import Observation, Status
from shared.release_backends import Backends, LoggedCall
from shared.release_facts import Limits, Plan
from shared.tallies import relative
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
        self.served, self.evidence = MemoryServedCalls(), MemoryEvidence()
        self.backends = Backends(
            images=self.registry,
            models=workspace.models,
            containers=self.containers,
            endpoints=workspace.endpoints,
            scoring=Scoring(),
            lake=Lake(blobs),
            golden=GoldenSet,
            served=self.served,
            evidence=self.evidence,
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

    def run(
        self, digest: str, token: str, *, at: Callable[[str], None] = lambda _: None, **options: Any
    ) -> Observation:
        """Observe a release until it ends; `at` is told each step."""
        asked, progress = request(digest, token, **options), {}
        remote = self.release.start(asked)

        def step() -> Observation | None:
            nonlocal progress
            at(str(progress.get("step")))
            seen = observed(self.release, asked, remote, progress)
            progress = json.loads(json.dumps(seen.progress)) if seen else progress
            return seen if seen and seen.status is not Status.ACTIVE else None

        return eventually(step, 120)

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


def request(digest: str, token: str, **more: Any) -> dict[str, Any]:
    options = {
        "repository": "demand",
        "digest": digest,
        "endpoint": "demand",
        "compute": "aks-prod",
        "qa": {"requests": 3},
        **more,
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


@contextlib.contextmanager
def steady(world: World) -> Iterator[Counter[tuple[str, int]]]:
    """A client that asks production all the time; what answered, and how, is counted and logged."""
    told: Counter[tuple[str, int]] = Counter()
    found = world.endpoints.endpoint("demand")
    assert found
    headers, body = {"Authorization": f"Bearer {world.endpoints.key('demand')}"}, json.dumps(GOLDEN["request"]).encode()
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            began = time.monotonic()
            answer = requests.post(str(found.scoring_uri), data=body, headers=headers, timeout=20)
            ms, name = (time.monotonic() - began) * 1000, answer.headers.get("azureml-model-deployment", "nobody")
            predictions = relative(answer.json().get("predictions"), {})
            call = LoggedCall(dt.datetime.now(dt.UTC), body, answer.status_code, ms, tuple(predictions))
            world.served.add("demand", name, call)
            told[name, answer.status_code] += 1
            time.sleep(0.02)

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield told
    finally:
        ended.set()
        client.join()


STAGES: dict[str, Any] = {
    "analysis": {
        "interval": "500ms",
        "patience": "60s",
        "checks": [
            {"metric": "failure_rate", "most": 0.05, "samples": 5},
            {"metric": "prediction_shift", "most": 1, "samples": 5, "dry_run": True},
        ],
    },
    "steps": [{"shadow": 5}, {"weight": 20, "hold": "1s"}, {"weight": 100, "hold": "1s"}],
}


def test_a_release_in_stages_moves_real_traffic_by_weights_and_no_caller_sees_a_failure(world: World) -> None:
    champion = next(iter(world.traffic))
    digest = world.image("5", "2.0")
    written = len(world.cloud.records("azure_ml", "traffic"))
    with steady(world) as told:
        eventually(lambda: told.total() > 10)
        last = world.run(digest, "5", tag="5", **STAGES)
    assert last.status is Status.SUCCEEDED, last.reason
    new = last.result["deployment"]
    maps = [row["traffic"] for row in world.cloud.records("azure_ml", "traffic")[written:]]
    assert [{name: share for name, share in each.items() if share} for each in maps] == [
        {champion: 80, new: 20},
        {new: 100},
    ]
    assert {status for _, status in told} == {200}
    assert told[new, 200] >= 5
    assert [gate["step"] for gate in last.result["gates"]] == ["shadow 5", "weight 20", "weight 100"]
    assert last.result["gates"][0]["checks"][0]["samples"] == 5


def test_a_challenger_that_fails_in_production_is_rolled_back_and_only_its_share_has_seen_it(world: World) -> None:
    before = world.traffic
    digest = world.image("6", "2.0")
    name = Plan.of(request(digest, "6")).deployment("6")

    def break_it(step: str) -> None:
        if step == "hold" and not broken:
            rule = {"operation": "score", "match": f"/{name}$", "status": 500, "count": 10_000}
            requests.post(f"{world.cloud.url('scoring')}/_faults", json=rule, timeout=10).raise_for_status()
            broken.append(step)

    broken: list[str] = []
    options = {**STAGES, "steps": [{"weight": 20, "hold": "20s"}, {"weight": 100}]}
    with steady(world) as told:
        last = world.run(digest, "6", at=break_it, **options)
        eventually(lambda: told.total() > 10)
    requests.delete(f"{world.cloud.url('scoring')}/_faults", timeout=10)
    assert last.status is Status.FAILED
    assert "hold: weight 20: failure_rate" in last.reason
    assert world.traffic == before
    assert name not in world.endpoints.deployments("demand")
    failed = sum(count for (_, status), count in told.items() if status != 200)
    assert failed == told[name, 500]
    assert 0 < failed <= 0.2 * told.total() + 1


def test_a_map_that_has_changed_since_it_was_looked_at_is_not_written_over(world: World) -> None:
    with pytest.raises(Unavailable, match="has changed since it was looked at"):
        world.endpoints.write_traffic("demand", world.traffic, {"somebody": 100})


def test_the_registry_tells_what_a_tag_names_and_which_image_is_newest(world: World) -> None:
    first = world.image("7", "2.0")
    assert world.registry.tagged("demand", "7") == world.registry.newest("demand") == first
    second = world.image("7", "2.5")
    assert world.registry.tagged("demand", "7") == world.registry.newest("demand") == second
    assert world.registry.tagged("demand", "none") is None
    assert world.registry.newest("nothing") is None
    last = world.run(first, "7", tag="7")
    assert f"identify: tag demand:7 names {second} now" in last.reason


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
