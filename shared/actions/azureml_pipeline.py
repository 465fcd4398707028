"""Submits a registered pipeline component as one Azure ML job for each attempt, named by the attempt's token.

Options: `pipeline` (`name`, `name@latest` or `name:version` of a pipeline component), `experiment`, `compute`,
optionally `inputs` (a mapping) and `model` (the name under which the pipeline registers its model: when the pipeline
has tagged a version of it with `azureml_job`, its version is the result `model_version`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.backends import Jobs, RegisteredModels, Submission
from shared.observations import Failure, Observation, Remote, Status

JSON = Mapping[str, Any]

# Error codes of Azure ML that blame the platform; anything else is the work's own fault.
TRANSIENT_CODES: frozenset[str] = frozenset(
    {
        "AllocationFailed",
        "ComputeNodePreempted",
        "InternalServerError",
        "JobPreempted",
        "NodePreempted",
        "RequestThrottled",
        "ServiceError",
        "ServiceUnavailable",
        "SystemError",
        "TooManyRequests",
    }
)

_ENDS: Mapping[str, Status] = {
    "Completed": Status.SUCCEEDED,
    "Finished": Status.SUCCEEDED,
    "Failed": Status.FAILED,
    "Canceled": Status.CANCELLED,
}


class AzureMLPipeline:
    """The action `azureml_pipeline`."""

    exclusive = False

    def __init__(self, jobs: Jobs, models: RegisteredModels) -> None:
        self._jobs, self._models = jobs, models

    def faults(self, options: JSON) -> list[str]:
        """What is wrong with a route's options."""
        known = {"pipeline", "experiment", "compute", "inputs", "model"}
        wrong = [f"option {name} is not known" for name in sorted(set(options) - known)]
        wrong += [
            f"option {name} is missing: it must be a string"
            for name in ("pipeline", "experiment", "compute")
            if not isinstance(options.get(name), str) or not options[name]
        ]
        if not isinstance(options.get("inputs", {}), Mapping):
            wrong.append("option inputs must be a mapping of names to values")
        return wrong

    def start(self, request: JSON) -> Remote:
        """Submit the Azure ML job of the request's token, or adopt it."""
        name = job_name(request["token"])
        options = request["options"]
        found = self._jobs.job(name) or self._jobs.submit(
            Submission(
                name=name,
                pipeline=options["pipeline"],
                experiment=options["experiment"],
                compute=options["compute"],
                inputs=options.get("inputs", {}),
                tags={"run": request["run"], "correlation": request["correlation"], "token": request["token"]},
            )
        )
        return Remote(name, found.url)

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        """The Azure ML job's state; when it has completed, with the model that it registered."""
        job = self._jobs.job(remote.id)
        if job is None:
            reason = f"Azure ML job {remote.id} is gone: a person must decide whether to replay this"
            return Observation(Status.FAILED, reason, Failure.PERMANENT)
        status = _ENDS.get(job.status, Status.ACTIVE)
        reason = f"Azure ML job {remote.id} is {job.status}"
        if status is Status.ACTIVE:
            return Observation(status, reason)
        result: dict[str, Any] = {"azureml_job": remote.id}
        if status is Status.FAILED:
            blamed = Failure.TRANSIENT if job.error_code in TRANSIENT_CODES else Failure.PERMANENT
            told = ": ".join(part for part in (reason, job.error_code, job.error) if part)
            return Observation(status, told, blamed, result=result)
        model = request["options"].get("model")
        if status is Status.SUCCEEDED and model:
            version = self._models.version_of(model, remote.id)
            if version is not None:
                reason += f" and has registered {model} version {version}"
                result |= {"model": model, "model_version": version}
        return Observation(status, reason, result=result)

    def cancel(self, request: JSON, remote: Remote) -> None:  # noqa: ARG002
        """Ask the Azure ML job to stop."""
        self._jobs.cancel(remote.id)


def job_name(token: str) -> str:
    """The name of the one Azure ML job of a token."""
    return f"sluice-{token[:32]}"
