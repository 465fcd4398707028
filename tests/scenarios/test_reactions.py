"""Each event that the app reacts to, from the event to the work that it starts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient
from databricks.sdk.service import jobs
from databricks.sdk.service.workspace import ImportFormat

from localcloud.cloud import STORE_ACCOUNT, STORE_KEY
from tests.localcloud.running import trusted
from tests.scenarios import workload
from tests.scenarios.town import Town, event, eventually


@pytest.fixture(scope="module", autouse=True)
def trust(town: Town) -> Iterator[None]:
    """The SDKs of this process trust the cloud's certificates."""
    with trusted(town.cloud):
        yield


@pytest.fixture(scope="module", autouse=True)
def curation(town: Town) -> None:
    """A Databricks job with the name of the real one, which only commits to gold, stamped with our run's id."""
    databricks = town.databricks
    databricks.workspace.mkdirs("/Shared/scenario")
    databricks.workspace.upload("/Shared/scenario/curate.py", workload.CURATE.encode(), format=ImportFormat.RAW)
    task = jobs.SparkPythonTask(
        "/Workspace/Shared/scenario/curate.py", parameters=["{{job.parameters.gold}}", "{{job.parameters.run_id}}"]
    )
    names = ("bronze", "silver", "gold", "manifest", "run_id", "correlation_id")
    databricks.jobs.create(
        name="demand-curate",
        parameters=[jobs.JobParameterDefinition(name=name, default="") for name in names],
        tasks=[jobs.Task(task_key="curate", spark_python_task=task, environment_key="default")],
        environments=[jobs.JobEnvironment(environment_key="default")],
    )


@pytest.fixture(scope="module", autouse=True)
def pipeline(town: Town, trust: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pipeline with the name of the real one and one small step."""
    workload.register_pipeline(town.workspace, tmp_path_factory.mktemp("pipeline"))


def test_a_delta_commit_becomes_one_databricks_run_and_its_gold_version_one_azure_ml_job(town: Town) -> None:
    landed = town.land("orders", 1)
    [curated] = town.ended("curate", "orders")
    assert (curated["phase"], curated["result"]["gold_version"]) == ("succeeded", 7), curated["reason"]
    started = [
        row for row in town.cloud.records("databricks", "run_started") if row["parameters"]["run_id"] == curated["run"]
    ]
    assert [str(row["run_id"]) for row in started] == [curated["remote"]["id"]]
    [trained] = town.ended("train", "orders")
    assert (trained["phase"], trained["correlation"]) == ("succeeded", curated["correlation"]), trained["reason"]
    assert trained["remote"]["id"] in [row["name"] for row in town.cloud.records("azure_ml", "job_created")]
    told = town.api(f"explain/{landed}")[1]
    assert [run["route"] for run in told["led_to"]] == ["curate"]
    assert {run["route"] for run in told["led_to"][0]["led_to"]} == {"train"}
    because = town.api(f"explain/{told['led_to'][0]['told']}")[1]["because"]
    assert [found["id"] for found in because[0]["events"]] == [landed]


def test_a_set_of_commits_becomes_one_run_and_a_compaction_none(town: Town) -> None:
    landed = {town.land("sets", version) for version in range(1, 6)}
    [run] = town.ended("curate", "sets")
    assert run["phase"] == "succeeded", run["reason"]
    manifests = [
        json.loads(blob) for blob in _manifests(town) if {entry["id"] for entry in json.loads(blob)["events"]} == landed
    ]
    assert len(manifests) == 1
    town.land("sets", 6, data_change=False)
    runs = town.ended("curate", "sets", count=2)
    assert (runs[1]["phase"], runs[1]["remote"]) == ("skipped", None)
    assert "changes no data" in runs[1]["reason"]


def test_a_commit_that_is_renamed_into_place_counts_like_one_that_is_created(town: Town) -> None:
    subject = f"/blobServices/default/containers/bronze/blobs/renamed/_delta_log/{3:020d}.json"
    renamed = event("Storage.BlobRenamed", subject, {"api": "RenameFile", "sourceUrl": "a", "destinationUrl": "b"})
    assert town.deliver(renamed) == 202
    [run] = town.ended("curate", "renamed")
    assert (run["phase"], run["result"]["gold_version"]) == ("succeeded", 7), run["reason"]


def drift(run: str) -> dict[str, str]:
    return {
        "DataDriftId": "01d29aa4-e6a4-470a-9ef3-66660d21f8ef", "DataDriftName": "monitor", "RunId": run,
        "BaseDatasetId": "1", "TargetDatasetId": "2", "DriftCoefficient": "0.83",
        "StartTime": "2026-01-01T00:00:00Z", "EndTime": "2026-01-05T00:00:00Z",
    }  # fmt: skip


def test_drift_trains_on_the_newest_version_and_never_twice_on_one(town: Town) -> None:
    commit = json.dumps({"commitInfo": {"operation": "WRITE", "operationParameters": {"mode": "Overwrite"}}})
    town.lake.get_blob_client("gold", f"demand/_delta_log/{3:020d}.json").upload_blob(commit)
    subject = "datadrift/01d29aa4-e6a4-470a-9ef3-66660d21f8ef/run/"
    for run in ("run_1", "run_2"):
        detected = event("MachineLearningServices.DatasetDriftDetected", f"{subject}{run}", drift(run))
        assert town.deliver(detected) == 202
        town.ended("train", "demand", count=int(run[-1]))
    first, second = sorted(town.ended("train", "demand", count=2), key=lambda run: str(run["created"]))
    assert first["phase"] == "succeeded", first["reason"]
    assert first["remote"]["id"] in [row["name"] for row in town.cloud.records("azure_ml", "job_created")]
    assert first["result"]["guard"] | {"reason": ""} == {
        "proceed": True, "rule": "first", "cause": "drift", "data_version": 3, "rows": 0, "escalate": False,
        "champion": "none", "reason": "",
    }  # fmt: skip
    assert (second["phase"], second["remote"]) == ("skipped", None)
    assert second["reason"] == f"guard training: version 3 is already trained on: run {first['run']}"


def test_a_registered_model_is_journalled_and_told(town: Town) -> None:
    version = workload.register_model(town, "registered-model", {"stage": "test"})
    [run] = town.ended("registered", f"registered-model:{version}")
    assert run["phase"] == "succeeded", run["reason"]
    own = eventually(lambda: [row for row in town.deliveries() if row["type"] == "Sluice.ModelRegistered"])
    assert own[-1]["outcome"] == "ignored"


def test_an_image_of_an_unknown_model_is_refused_with_the_reason(town: Town) -> None:
    digest = workload.build_image(town, "unknown-model", "9", job="no-such-job")
    runs = town.ended("release", "demand-forecast")
    [run] = [run for run in runs if run["result"].get("digest") == digest]
    assert run["phase"] == "failed"
    assert "says that it holds unknown-model version 9, which is not in the model registry" in run["reason"]


def test_a_pushed_image_of_a_known_model_is_released_by_its_digest(town: Town) -> None:
    workload.create_endpoint(town.workspace)
    tags = {"azureml_job": "job-of-the-image", "gold_version": "7"}
    version = workload.register_model(town, "released-model", tags)
    digest = workload.build_image(town, "released-model", version, job="job-of-the-image")
    run = eventually(
        lambda: next(
            (
                run
                for run in town.ended("release", "demand-forecast")
                if run["result"].get("digest") == digest and run["phase"] != "running"
            ),
            None,
        ),
        60,
    )
    assert run["phase"] == "succeeded", run["reason"]
    assert [row["digest"] for row in town.cloud.records("container_instances", "created")][-1] == digest
    traffic = [row["traffic"] for row in town.cloud.records("azure_ml", "traffic")]
    assert {name: share for name, share in traffic[-1].items() if share} == {run["result"]["deployment"]: 100}
    status, chain, _ = town.sluice("evidence", "demand-forecast")
    assert (status, chain["ok"]) == (0, True)
    assert (chain["records"][0]["outcome"], chain["records"][0]["digest"]) == ("promoted", digest)
    again = event(
        "ContainerRegistry.ImagePushed",
        "demand-forecast:again",
        {"target": {"repository": "demand-forecast", "digest": digest, "tag": "again"}, "action": "push"},
    )
    assert town.deliver(again) == 202
    joined = eventually(
        lambda: [row for row in town.runs("release", "demand-forecast") if "already gets" in row["reason"]]
    )
    assert joined[0]["phase"] == "succeeded"
    assert len([row for row in town.cloud.records("azure_ml", "traffic") if 100 in row["traffic"].values()]) == 1


def _manifests(town: Town) -> list[bytes]:
    """Every set that was written down for the route curate."""
    store = BlobServiceClient(f"{town.cloud.url('azurite_blob')}/{STORE_ACCOUNT}", credential=STORE_KEY)
    return [
        store.get_blob_client(container.name, blob.name).download_blob().readall()
        for container in store.list_containers()
        for blob in store.get_container_client(container.name).list_blobs()
        if blob.name.startswith("sets/curate/")
    ]
