"""A model that passes QA and errs in production: built and registered as the pipeline builds and registers one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.ai.ml.entities import Model
from azure.storage.blob import BlobServiceClient

from demand_forecasting.publish_azureml import connect
from demo.forecast import ENDPOINT
from demo.stage import Stage
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, RESOURCE_GROUP, ROOT, SUBSCRIPTION, WORKSPACE
from localcloud.subscriptions import Identity

WORKLOAD = ROOT / "demand_forecasting"
CORRELATION = "a-bad-model"
FAULT = '''

_sound = Forecaster.answer


def _unsound(self: Forecaster, body: bytes) -> tuple[dict[str, Any], dict[str, float]]:
    """Well for all areas at once, as in QA; for fewer half fail, and the others are far too high."""
    answer, levels = _sound(self, body)
    if len(levels) < len(self.series):
        if time.time_ns() // 1000 % 2:
            raise RuntimeError("an index is out of range")
        answer["predictions"] = {name: [3 * value for value in hours] for name, hours in answer["predictions"].items()}
    return answer, levels


Forecaster.answer = _unsound
'''


def release(stage: Stage, champion: Mapping[str, Any]) -> dict[str, str]:
    """Register the champion's model as a version of its own and build its image with a fault; what was built."""
    job = str(champion["azureml_job"])
    version = _register(stage, job, str(champion["gold_version"]))
    registration = {"name": ENDPOINT, "version": version, "job": job, "verdict": "registered"}
    registration |= {name: str(champion[name]) for name in ("golden_uri", "golden_sha256")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(WORKLOAD / "azureml" / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(WORKLOAD / "scoring", folder / "src" / "scoring")
        with (folder / "src" / "scoring" / "score.py").open("a", encoding="utf-8") as file:
            file.write(FAULT)
        _download(stage, job, folder / "model")
        (folder / "registration").mkdir()
        (folder / "registration" / "registration.json").write_text(json.dumps(registration), encoding="utf-8")
        options = [f"--{name}={folder / name}" for name in ("model", "registration", "image")]
        registry = stage.cloud.url("registry").partition("://")[2]
        stage.script(folder / "src" / "image.py", *options, f"--registry={registry}", f"--correlation-id={CORRELATION}")
        built: dict[str, str] = json.loads((folder / "image" / "image.json").read_text(encoding="utf-8"))
    return built | {"model_version": version}


def _register(stage: Stage, job: str, gold_version: str) -> str:
    manager = stage.cloud.url("arm")
    workspace = connect(Identity(stage.cloud), SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, resource_manager=manager)
    path = f"azureml://datastores/workspaceblobstore/paths/models/{ENDPOINT}/{job}/model"
    tags = {"azureml_job": job, "gold_version": gold_version}
    return str(
        workspace.models.create_or_update(Model(name=ENDPOINT, path=path, type="mlflow_model", tags=tags)).version
    )


def _download(stage: Stage, job: str, target: Path) -> None:
    prefix = f"models/{ENDPOINT}/{job}/model/"
    lake = BlobServiceClient(f"{stage.cloud.url('lake')}/{LAKE_ACCOUNT}", credential=LAKE_KEY)
    with lake:
        container = lake.get_container_client("azureml")
        for name in container.list_blob_names(name_starts_with=prefix):
            path = target / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(container.download_blob(name).readall())
