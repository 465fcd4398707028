"""Runs a Databricks job once for each attempt and finds the version of the table that the run has written.

Options: `job` (its name), `parameters` (a mapping; values become text), and optionally `result: {table: <abfss URI>}`:
the run stamps its commit's `userMetadata` with our run id, and that commit's version is the result `gold_version`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from shared.actions import absence
from shared.backends import Databricks, DatabricksRun, DeltaLog
from shared.errors import Gone, NotFound, Refused
from shared.failures import of_databricks
from shared.observations import Failure, Observation, Remote, Status
from shared.ports import Clock

JSON = Mapping[str, Any]


class DatabricksJob:
    """The action `databricks_job`."""

    exclusive = False

    def __init__(self, databricks: Databricks, lake: DeltaLog, clock: Clock) -> None:
        self._databricks, self._lake, self._clock = databricks, lake, clock
        self._jobs: dict[str, int] = {}

    def faults(self, options: JSON) -> list[str]:
        """What is wrong with a route's options."""
        wrong = [f"option {name} is not known" for name in sorted(set(options) - {"job", "parameters", "result"})]
        if not isinstance(options.get("job"), str) or not options["job"]:
            wrong.append("option job is missing: it must be the name of a Databricks job")
        if not isinstance(options.get("parameters", {}), Mapping):
            wrong.append("option parameters must be a mapping of names to values")
        result = options.get("result", {"table": ""})
        if not isinstance(result, Mapping) or set(result) != {"table"}:
            wrong.append("option result must be a mapping with one name, table: an abfss URI")
        return wrong

    def start(self, request: JSON) -> Remote:
        """Start the Databricks run of the request's token, or find it."""
        options = request["options"]
        parameters = {name: _text(value) for name, value in options.get("parameters", {}).items()}
        try:
            return Remote(str(self._run_now(options["job"], request["token"], parameters)))
        except Gone as error:
            raise Refused(absence.deleted(f"the Databricks run of token {request['token']}", request)) from error

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:
        """The Databricks run's state; when it has succeeded, with the version that it wrote."""
        found = self._databricks.run(int(remote.id))
        if found is None:
            return absence.missing(f"Databricks run {remote.id}", request, progress, self._clock.now())
        run, url = found
        return dataclasses.replace(self._told(request, remote, progress, run), url=url)

    def cancel(self, request: JSON, remote: Remote) -> None:  # noqa: ARG002
        """Ask the Databricks run to stop."""
        self._databricks.cancel(int(remote.id))

    def _told(self, request: JSON, remote: Remote, progress: JSON, run: DatabricksRun) -> Observation:
        if run.ended is None:
            return Observation(
                Status.ACTIVE, f"Databricks run {remote.id} is {run.state}", progress=absence.seen(progress)
            )
        reason = f"Databricks run {remote.id} ended with {run.ended}" + (f": {run.message}" if run.message else "")
        result, verdict = {"databricks_run": remote.id}, of_databricks(run.ended, run.kind)
        if isinstance(verdict, Failure):
            return Observation(Status.FAILED, reason, verdict, result=result)
        if verdict is Status.SUCCEEDED:
            return self._succeeded(request, remote, run.ended, result)
        return Observation(verdict, reason, result=result)

    def _run_now(self, name: str, token: str, parameters: Mapping[str, str]) -> int:
        known = name in self._jobs
        job_id = self._jobs.setdefault(name, self._jobs.get(name) or self._databricks.job(name))
        try:
            return self._databricks.run_now(job_id, token, parameters)
        except Gone:
            raise
        except (NotFound, Refused):
            del self._jobs[name]
            if not known or self._databricks.job(name) == job_id:
                raise
            return self._run_now(name, token, parameters)

    def _succeeded(self, request: JSON, remote: Remote, ended: str, result: dict[str, Any]) -> Observation:
        said = f"Databricks run {remote.id} succeeded" + ("" if ended == "SUCCESS" else f" ({ended})")
        table = request["options"].get("result", {}).get("table")
        if not table:
            return Observation(Status.SUCCEEDED, said, result=result)
        version = self._lake.version_stamped(table, request["run"])
        if version is None:
            reason = (
                f"{said}, but no commit of {table} carries userMetadata {request['run']}: "
                f"does the job stamp its commits with the run id that it is given?"
            )
            return Observation(Status.FAILED, reason, Failure.PERMANENT, result=result)
        return Observation(
            Status.SUCCEEDED,
            f"{said} and wrote version {version} of {table}",
            result={**result, "gold_version": version},
        )


def _text(value: Any) -> str:
    """Parameters of Databricks jobs are text."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
