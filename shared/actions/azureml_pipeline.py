"""Submits a registered pipeline component as one Azure ML job for each attempt, named by the attempt's token.

Options: `pipeline` (`name`, `name@latest` or `name:version` of a pipeline component), `experiment`, `compute`,
optionally `inputs` (a mapping), `model` (the name under which the pipeline registers its model: when the pipeline has
tagged a version of it with `azureml_job`, its version is the result `model_version`) and `reports` (the abfss address
of a folder: where the pipeline has kept `<Azure ML job>/report.json` in it, that is the result `report`, and what it
says under `reason` is told).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.actions import absence
from shared.backends import Files, Jobs, RegisteredModels, Submission
from shared.errors import NotFound, Refused
from shared.failures import of_azure_ml
from shared.observations import Observation, Remote, Status
from shared.ports import Clock

JSON = Mapping[str, Any]

_ENDS: Mapping[str, Status] = {
    "Completed": Status.SUCCEEDED,
    "Finished": Status.SUCCEEDED,
    "Failed": Status.FAILED,
    "Canceled": Status.CANCELLED,
}


class AzureMLPipeline:
    """The action `azureml_pipeline`."""

    exclusive = False

    def __init__(self, jobs: Jobs, models: RegisteredModels, files: Files, clock: Clock) -> None:
        self._jobs, self._models, self._files, self._clock = jobs, models, files, clock

    def faults(self, options: JSON) -> list[str]:
        """What is wrong with a route's options."""
        known = {"pipeline", "experiment", "compute", "inputs", "model", "reports"}
        wrong = [f"option {name} is not known" for name in sorted(set(options) - known)]
        wrong += [
            f"option {name} is missing: it must be a string"
            for name in ("pipeline", "experiment", "compute")
            if not isinstance(options.get(name), str) or not options[name]
        ]
        if not isinstance(options.get("reports", ""), str):
            wrong.append("option reports must be the abfss address of a folder")
        if not isinstance(options.get("inputs", {}), Mapping):
            wrong.append("option inputs must be a mapping of names to values")
        return wrong

    def start(self, request: JSON) -> Remote:
        """Submit the Azure ML job of the request's token, or adopt it: the tag `token` says that it is ours."""
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
        if found.tags.get("token") != request["token"]:
            raise Refused(f"an Azure ML job {name} exists that this attempt has not submitted; it is left alone")
        return Remote(name, found.url)

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:
        """The Azure ML job's state; when it has completed, with the model that it registered."""
        job = self._jobs.job(remote.id)
        if job is None:
            return absence.missing(f"Azure ML job {remote.id}", request, progress, self._clock.now())
        status = _ENDS.get(job.status, Status.ACTIVE)
        reason = f"Azure ML job {remote.id} is {job.status}"
        if status is Status.ACTIVE:
            return Observation(status, reason, progress=absence.seen(progress))
        result: dict[str, Any] = {"azureml_job": remote.id}
        if status is Status.FAILED:
            told = ": ".join(part for part in (reason, *job.error_codes[:1], job.error) if part)
            return Observation(status, told, of_azure_ml(job.error_codes), result=result)
        if status is Status.SUCCEEDED:
            said, more = self._ended(request["options"], remote.id)
            return Observation(status, reason + said, result=result | more)
        return Observation(status, reason, result=result)

    def _ended(self, options: JSON, job: str) -> tuple[str, dict[str, Any]]:
        """What a completed job has to show: the model that it has registered, and its report."""
        said, result = "", dict[str, Any]()
        version = self._models.version_of(options["model"], job) if options.get("model") else None
        if version is not None:
            said = f" and has registered {options['model']} version {version}"
            result |= {"model": options["model"], "model_version": version}
        report = self._report(options, job)
        if report.get("reason"):
            said += f": {report['reason']}"
        return said, result | ({"report": report} if report else {})

    def _report(self, options: JSON, job: str) -> dict[str, Any]:
        """The report that the pipeline has kept; nothing where it keeps none, or not as an object of JSON."""
        if not options.get("reports"):
            return {}
        try:
            found = json.loads(self._files.read(f"{options['reports'].rstrip('/')}/{job}/report.json"))
        except (NotFound, ValueError):
            return {}
        return dict(found) if isinstance(found, dict) else {}

    def cancel(self, request: JSON, remote: Remote) -> None:  # noqa: ARG002
        """Ask the Azure ML job to stop."""
        self._jobs.cancel(remote.id)


def job_name(token: str) -> str:
    """The name of the one Azure ML job of a token."""
    return f"sluice-{token[:32]}"
