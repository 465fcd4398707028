"""Jobs and models of an Azure ML workspace through azure-ai-ml; its online endpoints are in `online_endpoints`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from azure.ai.ml import MLClient
from azure.ai.ml.dsl import pipeline
from azure.ai.ml.entities import Component, Job
from azure.ai.ml.exceptions import MlException
from azure.core.credentials import TokenCredential

from shared.adapters.azureml_client import calling_azure_ml, connect, word
from shared.adapters.azureml_history import RunHistory
from shared.adapters.online_endpoints import OnlineEndpoints
from shared.backends import AzureMLJob, Submission
from shared.errors import NotFound, Refused


class AzureMLJobs:
    """Azure ML jobs of one workspace."""

    def __init__(self, client: MLClient, history: RunHistory) -> None:
        self._client, self._history = client, history

    def job(self, name: str) -> AzureMLJob | None:
        """A job, None when there is none."""
        try:
            with calling_azure_ml(f"Azure ML job {name}"):
                found = _job(self._client.jobs.get(name))
        except NotFound:
            return None
        if found.status != "Failed":
            return found
        codes, message = self._history.error(name)
        return dataclasses.replace(found, error_codes=codes, error=message)

    def submit(self, submission: Submission) -> AzureMLJob:
        """Submit a pipeline job of one registered component; answers the job that has its name, whoever made it."""
        component = self._component(submission.pipeline)
        try:
            with calling_azure_ml(f"Azure ML job {submission.name}"):
                return _job(self._client.jobs.create_or_update(_pipeline_job(submission, component)))
        except NotFound as error:
            raise Refused(f"Azure ML job {submission.name} needs what does not exist: {error.__cause__}") from error
        except Refused:
            taken = self.job(submission.name)  # a job that exists and has moved on does not take the same PUT
            if taken is None:
                raise
            return taken

    def cancel(self, name: str) -> None:
        """Ask a job to stop; does not wait for it."""
        try:
            with calling_azure_ml(f"Azure ML job {name}"):
                self._client.jobs.begin_cancel(name)
        except NotFound:
            return

    def _component(self, wanted: str) -> Component:
        """A pipeline component by `name`, `name@label` or `name:version`; without either the latest."""
        name, _, version = wanted.partition(":")
        name, _, label = name.partition("@")
        try:
            with calling_azure_ml(f"pipeline component {wanted}"):
                at = {"version": version} if version else {"label": label or "latest"}
                found: Component = self._client.components.get(name, **at)
                return found
        except NotFound as error:
            raise Refused(f"there is no pipeline component {wanted} in the workspace: publish the workload") from error


class AzureMLModels:
    """The model registry of one workspace."""

    def __init__(self, client: MLClient) -> None:
        self._client = client

    def tags(self, name: str, version: str) -> Mapping[str, str] | None:
        """The tags of a model version, None when it is not registered."""
        try:
            with calling_azure_ml(f"model {name} version {version}"):
                return self._client.models.get(name, version=version).tags or {}
        except NotFound:
            return None

    def version_of(self, name: str, azureml_job: str) -> str | None:
        """The version of a model that is tagged with a job's name, None when there is none."""
        try:
            with calling_azure_ml(f"model {name}"):
                for model in self._client.models.list(name):
                    if (model.tags or {}).get("azureml_job") == azureml_job:
                        return str(model.version)
        except NotFound:
            return None
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class AzureML:
    """One workspace."""

    jobs: AzureMLJobs
    models: AzureMLModels
    endpoints: OnlineEndpoints


def open_workspace(
    credential: TokenCredential,
    subscription: str,
    resource_group: str,
    workspace: str,
    *,
    resource_manager: str,
    variables: Mapping[str, str] | None = None,
) -> AzureML:
    """A workspace; nothing is called yet.  `variables` are told to every deployment that is made."""
    client = connect(credential, subscription, resource_group, workspace, resource_manager=resource_manager)
    history = RunHistory(client, credential, resource_manager)
    return AzureML(AzureMLJobs(client, history), AzureMLModels(client), OnlineEndpoints(client, variables or {}))


def _pipeline_job(submission: Submission, component: Component) -> Job:
    def whole() -> None:
        component(**submission.inputs)

    try:
        job: Any = pipeline(whole, name=component.name, experiment_name=submission.experiment)()
    except (TypeError, MlException) as error:
        raise Refused(f"pipeline component {submission.pipeline} does not take these inputs: {error}") from error
    job.name, job.tags = submission.name, dict(submission.tags)
    job.settings.default_compute = submission.compute
    job.settings.force_rerun = True  # an attempt is asked for when the work must be done, not remembered
    return job  # type: ignore[no-any-return]


def _job(found: Job) -> AzureMLJob:
    studio = (found.services or {}).get("Studio")
    return AzureMLJob(status=word(found.status), url=getattr(studio, "endpoint", None), tags=found.tags or {})
