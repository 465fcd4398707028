"""Azure ML jobs and models through azure-ai-ml, against the local cloud."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from azure.ai.ml import load_component
from azure.ai.ml.entities import Model
from azure.identity import ManagedIdentityCredential

from localcloud.cloud import RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, Cloud
from shared.adapters.azureml import AzureML, open_workspace
from shared.adapters.azureml_client import connect
from shared.backends import AzureMLJob, Submission
from shared.errors import Refused
from tests.localcloud.running import eventually

STEP = """
import argparse, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--word")
parser.add_argument("--number", type=int)
given = parser.parse_args()
if given.word == "slow":
    time.sleep(30)
if given.word == "bad":
    sys.exit("seasonal naive is not beaten")
assert given.number == 7
"""
COMPONENT = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: say
version: "1"
inputs:
  word: {type: string}
  number: {type: integer}
code: src
environment: {image: "python:3.11-slim", conda_file: conda.yml}
command: python step.py --word ${{inputs.word}} --number ${{inputs.number}}
"""
PIPELINE = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: words
version: "4"
inputs:
  word: {type: string}
  number: {type: integer}
jobs:
  say:
    type: command
    component: azureml:say:1
    inputs: {word: "${{parent.inputs.word}}", number: "${{parent.inputs.number}}"}
"""


def submission(name: str, word: str) -> Submission:
    return Submission(
        name=name,
        pipeline="words@latest",
        experiment="words",
        compute="cpu-cluster",
        inputs={"word": word, "number": 7},
        tags={"run": "train-1-1", "correlation": "chain"},
    )


@pytest.fixture(scope="module")
def workspace(cloud: Cloud, credential: ManagedIdentityCredential, tmp_path_factory: pytest.TempPathFactory) -> AzureML:
    folder: Path = tmp_path_factory.mktemp("components")
    (folder / "src").mkdir()
    (folder / "src" / "step.py").write_text(STEP)
    (folder / "conda.yml").write_text("dependencies:\n  - python=3.11\n  - pip\n  - pip: []\n")
    address = {"resource_manager": cloud.url("arm") + "/"}
    client = connect(credential, SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, **address)
    for name, text in (("say", COMPONENT), ("words", PIPELINE)):
        (folder / f"{name}.yml").write_text(text)
        client.components.create_or_update(load_component(folder / f"{name}.yml"))
    path = "azureml://datastores/workspaceblobstore/paths/models/words/1"
    tags = {"azureml_job": "words-0", "gold_version": "7"}
    client.models.create_or_update(Model(name="words", path=path, type="mlflow_model", tags=tags))
    return open_workspace(credential, SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, **address)


def ended(workspace: AzureML, name: str) -> AzureMLJob:
    def over() -> AzureMLJob | None:
        found = workspace.jobs.job(name)
        return found if found and found.status in ("Completed", "Failed", "Canceled") else None

    return eventually(over, 40)


def test_a_submitted_job_runs_the_registered_component_with_its_inputs(workspace: AzureML, cloud: Cloud) -> None:
    submitted = workspace.jobs.submit(submission("words-1", "hello"))
    assert submitted.url
    again = workspace.jobs.submit(submission("words-1", "hello"))
    assert again.url == submitted.url
    assert ended(workspace, "words-1").status == "Completed"
    assert [row["name"] for row in cloud.records("azure_ml", "job_created")].count("words-1") == 1


def test_a_job_of_this_name_that_differs_is_adopted_not_repeated(workspace: AzureML, cloud: Cloud) -> None:
    workspace.jobs.submit(submission("words-2", "hello"))
    assert workspace.jobs.submit(submission("words-2", "other")).status
    assert ended(workspace, "words-2").status == "Completed"
    assert [row["name"] for row in cloud.records("azure_ml", "job_created")].count("words-2") == 1


def test_a_failed_job_tells_what_failed(workspace: AzureML) -> None:
    workspace.jobs.submit(submission("words-3", "bad"))
    failed = ended(workspace, "words-3")
    assert failed.status == "Failed"
    assert failed.error_code == "UserError"
    assert "seasonal naive is not beaten" in failed.error


def test_a_job_can_be_cancelled(workspace: AzureML) -> None:
    workspace.jobs.submit(submission("words-4", "slow"))
    workspace.jobs.cancel("words-4")
    assert ended(workspace, "words-4").status == "Canceled"
    workspace.jobs.cancel("words-4")


def test_what_does_not_exist_is_none_or_refused(workspace: AzureML) -> None:
    assert workspace.jobs.job("no-such-job") is None
    workspace.jobs.cancel("no-such-job")
    missing = dataclasses.replace(submission("words-5", "hello"), pipeline="nothing@latest")
    with pytest.raises(Refused, match=r"nothing@latest.*does not exist"):
        workspace.jobs.submit(missing)
    missing = dataclasses.replace(missing, pipeline="words:99")
    with pytest.raises(Refused, match="there is no pipeline component words:99"):
        workspace.jobs.submit(missing)
    with pytest.raises(Refused, match="does not take these inputs"):
        workspace.jobs.submit(dataclasses.replace(submission("words-5", "hello"), inputs={"colour": 1}))
    assert workspace.jobs.job("words-5") is None


def test_models_are_found_by_version_and_by_the_job_that_registered_them(workspace: AzureML) -> None:
    assert workspace.models.tags("words", "1") == {"azureml_job": "words-0", "gold_version": "7"}
    assert workspace.models.tags("words", "99") is None
    assert workspace.models.tags("nothing", "1") is None
    assert workspace.models.version_of("words", "words-0") == "1"
    assert workspace.models.version_of("words", "words-9") is None
    assert workspace.models.version_of("nothing", "words-0") is None
