"""Azure ML jobs and models through azure-ai-ml, against the local cloud."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from azure.ai.ml import load_component
from azure.ai.ml.entities import Model
from azure.identity import ManagedIdentityCredential

from localcloud.cloud import RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, Cloud
from shared.actions.azureml_pipeline import AzureMLPipeline
from shared.adapters.azureml import AzureML, open_workspace
from shared.adapters.azureml_client import connect
from shared.backends import AzureMLJob, Submission
from shared.errors import Refused, Unavailable
from shared.failures import of_azure_ml
from shared.observations import Failure
from shared.phases import Phase
from tests.adapters.flight import cancelled_in_flight, fault, faults_left, flying
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
    assert failed.error_codes == ("UserError",)
    assert of_azure_ml(failed.error_codes) is Failure.PERMANENT
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


# -- calls that are not answered as they should be ------------------------------------------------------------------


def created(cloud: Cloud, name: str) -> int:
    return [row["name"] for row in cloud.records("azure_ml", "job_created")].count(name)


def test_a_submission_whose_answer_was_lost_is_seen_at_once_and_the_same_name_finds_the_job(
    workspace: AzureML, cloud: Cloud
) -> None:
    fault(cloud, "arm", {"method": "PUT", "path": "/jobs/words-6$", "lose_response": True})
    with pytest.raises(Unavailable):
        workspace.jobs.submit(submission("words-6", "hello"))
    assert created(cloud, "words-6") == 1
    found = workspace.jobs.job("words-6")
    assert found
    assert found.tags["run"] == "train-1-1"


def test_a_submission_that_needs_what_does_not_exist_is_refused(workspace: AzureML, cloud: Cloud) -> None:
    fault(cloud, "arm", {"method": "PUT", "path": "/jobs/words-9$", "status": 404})
    with pytest.raises(Refused, match="Azure ML job words-9 needs what does not exist"):
        workspace.jobs.submit(submission("words-9", "hello"))


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        ({"Retry-After": "40"}, 40.0),
        ({"Retry-After": "Wed, 25 Nov 2026 00:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
    ],
)
def test_the_client_does_not_sleep_over_a_throttled_call_but_says_for_how_long(
    workspace: AzureML, cloud: Cloud, headers: dict[str, str], wish: float
) -> None:
    fault(cloud, "arm", {"method": "GET", "path": "/jobs/words-7$", "status": 429, "headers": headers})
    with pytest.raises(Unavailable) as caught:
        workspace.jobs.job("words-7")
    assert caught.value.retry_after == wish
    assert workspace.jobs.job("words-7") is None


def test_why_a_job_failed_is_asked_again_when_the_history_does_not_answer(workspace: AzureML, cloud: Cloud) -> None:
    workspace.jobs.submit(submission("words-8", "bad"))
    assert ended(workspace, "words-8").error_codes
    fault(cloud, "arm", {"path": "/runs/words-8/details$", "status": 503, "retry_after": 9})
    with pytest.raises(Unavailable, match="run history") as caught:
        workspace.jobs.job("words-8")
    assert caught.value.retry_after == 9.0


PUT = {"method": "PUT", "path": "/jobs/sluice-"}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([PUT | {"lose_response": True}], id="the answer is lost after the effect"),
        pytest.param([PUT | {"delay": 3.0}], id="the answer takes its time"),
    ],
)
def test_a_cancel_while_the_start_is_in_flight_leaves_no_job_alive(
    workspace: AzureML, cloud: Cloud, rules: list[dict[str, object]]
) -> None:
    options = {
        "pipeline": "words@latest",
        "experiment": "words",
        "compute": "cpu-cluster",
        "inputs": {"word": "slow", "number": 7},
    }

    def make(clock: object) -> AzureMLPipeline:
        return AzureMLPipeline(workspace.jobs, workspace.models, None, clock)  # type: ignore[arg-type]

    before = len(cloud.records("azure_ml", "job_created"))
    with flying("azureml_pipeline", make, options) as flight:
        fault(cloud, "arm", *rules)
        run = cancelled_in_flight(flight, lambda: faults_left(cloud, "arm") < len(rules))
    assert run.phase is Phase.CANCELLED, run.history
    assert run.remote
    made = cloud.records("azure_ml", "job_created")[before:]
    assert [row["name"] for row in made] == [run.remote.id]
    last = workspace.jobs.job(run.remote.id)
    assert last
    assert last.status == "Canceled"
