"""Small stand-ins for the workload, under the real one's names: a Databricks task, a pipeline, an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from azure.ai.ml import MLClient, load_component
from azure.ai.ml.entities import KubernetesOnlineEndpoint, Model

from tests.localcloud.machine_learning import Arm
from tests.scenarios.town import Town

CURATE = '''
"""Commits version 7 of the gold table, stamped with the run's id: what the real task does, without Spark."""
import base64, email.utils, hashlib, hmac, json, os, sys, urllib.parse, urllib.request

gold, run_id = sys.argv[1:]
account, key = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
place = urllib.parse.urlsplit(gold)
path = f"/{account}/{place.username}{place.path}/_delta_log/{7:020d}.json"
body = json.dumps({"commitInfo": {"operation": "WRITE", "userMetadata": run_id}}).encode()
headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-08-06"}
headers["x-ms-date"] = email.utils.formatdate(usegmt=True)
signed = ["PUT", "", "", str(len(body)), "", "application/json", "", "", "", "", "", ""]
signed += [f"{name}:{headers[name]}" for name in sorted(headers)] + [f"/{account}{path}"]
digest = hmac.new(base64.b64decode(key), "\\n".join(signed).encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
headers["Content-Type"] = "application/json"
request = urllib.request.Request(os.environ["AZURITE_BLOB_STORAGE_URL"] + path, body, headers, method="PUT")
urllib.request.urlopen(request, timeout=20)
'''

STEP = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: scenario_step
version: "1"
inputs:
  gold: {type: string}
  gold_version: {type: integer}
code: src
environment: {image: "python:3.11-slim", conda_file: conda.yml}
command: python step.py ${{inputs.gold}} ${{inputs.gold_version}}
"""

PIPELINE = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: demand_forecast_pipeline
version: "1"
inputs:
  gold: {type: string}
  gold_version: {type: integer}
  model_name: {type: string}
  champion: {type: string}
  registry: {type: string}
  correlation_id: {type: string}
  run_id: {type: string}
jobs:
  step:
    type: command
    component: azureml:scenario_step:1
    inputs: {gold: "${{parent.inputs.gold}}", gold_version: "${{parent.inputs.gold_version}}"}
"""

SERVE = """
import http.server, json, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {})
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = "series" in request
        predictions = {name: [value + 0.5 for value in hours] for name, hours in request.get("series", {}).items()}
        self.answer(200 if known else 400, {"predictions": predictions, "model_version": os.environ["MODEL_VERSION"]})
    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

_LABELS = (
    "sluice.model.name", "sluice.model.version", "sluice.azureml.job", "sluice.data.version",
    "sluice.golden.uri", "sluice.golden.sha256", "sluice.correlation",
)  # fmt: skip


def register_pipeline(workspace: MLClient, folder: Path) -> None:
    """A pipeline component with the real one's name and inputs, and one step that says what it was given."""
    (folder / "src").mkdir()
    (folder / "src" / "step.py").write_text("import sys\nprint('trained on', sys.argv[1:])\n")
    (folder / "conda.yml").write_text("dependencies:\n  - python=3.11\n  - pip\n  - pip: []\n")
    for name, text in (("step", STEP), ("pipeline", PIPELINE)):
        (folder / f"{name}.yml").write_text(text)
        workspace.components.create_or_update(load_component(folder / f"{name}.yml"))


def register_model(town: Town, name: str, tags: Mapping[str, str]) -> str:
    """Register a model; its version."""
    town.lake.get_blob_client("azureml", f"models/{name}/MLmodel").upload_blob(b"flavors: {}\n", overwrite=True)
    path = f"azureml://datastores/workspaceblobstore/paths/models/{name}"
    model = Model(name=name, path=path, type="mlflow_model", tags=dict(tags))
    return str(town.workspace.models.create_or_update(model).version)


def create_endpoint(workspace: MLClient) -> None:
    """The production endpoint, without deployments."""
    endpoint = KubernetesOnlineEndpoint(name="demand-forecast", compute="aks-prod", auth_mode="key")
    workspace.online_endpoints.begin_create_or_update(endpoint).result()


def build_image(town: Town, model: str, version: str, *, job: str) -> str:
    """Build and push an image that says it holds this model, with a golden set that it reproduces; its digest."""
    golden = json.dumps(
        {
            "request": {"series": {"a": [1.0, 2.0]}},
            "predictions": {"a": [1.5, 2.5]},
            "actual": {"a": [1.6, 2.6]},
            "seasonal_naive": {"a": [3.0, 4.0]},
        }
    ).encode()
    blob = town.lake.get_blob_client("silver", f"golden/{model}.json")
    blob.upload_blob(golden, overwrite=True)
    uri = f"abfss://silver@devstoreaccount1.dfs.core.windows.net/golden/{model}.json"
    values = (model, version, job, "7", uri, hashlib.sha256(golden).hexdigest(), "")
    labels = "\n".join(f"LABEL {name}={value}" for name, value in zip(_LABELS, values, strict=True) if value)
    dockerfile = (
        f"FROM python:3.11-slim\nENV MODEL_VERSION={version}\n{labels}\n"
        "COPY requirements.lock ./\nRUN pip install -r requirements.lock\nCOPY serve.py ./\n"
        "CMD exec python serve.py ${PORT}\n"
    )
    files = {"Dockerfile": dockerfile, "serve.py": SERVE, "requirements.lock": ""}
    built = Arm(town.cloud).build(f"demand-forecast:{model}", files)
    assert built["status"] == "Succeeded", built
    return str(built["outputImages"][0]["digest"])
