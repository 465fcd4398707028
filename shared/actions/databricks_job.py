"""Runs a Databricks job once for each attempt and finds the version of the table that the run has written.

Options: `job` (its name), `parameters` (a mapping; values become text), and optionally `result: {table: <abfss URI>}`:
the run stamps its commit's `userMetadata` with our run id, and that commit's version is the result `gold_version`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.backends import Databricks, DeltaLog
from shared.errors import NotFound, Refused
from shared.observations import Failure, Observation, Remote, Status

JSON = Mapping[str, Any]

# Codes of runs.TerminationCode in the Jobs API 2.2 (databricks-sdk 0.156.0, service/jobs.py).  A code that is not
# here is the work's own fault: the same input fails again.
ENDINGS: Mapping[str, Failure] = dict.fromkeys(
    (
        "CLOUD_FAILURE",
        "CLUSTER_ERROR",
        "CLUSTER_REQUEST_LIMIT_EXCEEDED",
        "DRIVER_ERROR",
        "DRIVER_UNREACHABLE",
        "INTERNAL_ERROR",
        "MAX_CONCURRENT_RUNS_EXCEEDED",
        "MAX_JOB_QUEUE_SIZE_EXCEEDED",
        "MAX_SPARK_CONTEXTS_EXCEEDED",
        "SKIPPED",
        "WORKSPACE_RUN_LIMIT_EXCEEDED",
    ),
    Failure.TRANSIENT,
) | {"TIMED_OUT": Failure.TIMEOUT}

_CANCELLED = frozenset({"CANCELED", "USER_CANCELED"})


class DatabricksJob:
    """The action `databricks_job`."""

    exclusive = False

    def __init__(self, databricks: Databricks, lake: DeltaLog) -> None:
        self._databricks, self._lake = databricks, lake
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
        run_id = self._run_now(options["job"], request["token"], parameters)
        found = self._databricks.run(run_id)
        return Remote(str(run_id), found[1] if found else None)

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        """The Databricks run's state; when it has succeeded, with the version that it wrote."""
        found = self._databricks.run(int(remote.id))
        if found is None:
            reason = f"Databricks run {remote.id} has been deleted: a person must decide whether to replay this"
            return Observation(Status.FAILED, reason, Failure.PERMANENT)
        run, _ = found
        if run.ended is None:
            return Observation(Status.ACTIVE, f"Databricks run {remote.id} is {run.state}")
        reason = f"Databricks run {remote.id} ended with {run.ended}" + (f": {run.message}" if run.message else "")
        result = {"databricks_run": remote.id}
        if run.ended == "SUCCESS":
            return self._succeeded(request, remote, result)
        if run.ended in _CANCELLED:
            return Observation(Status.CANCELLED, reason, result=result)
        return Observation(Status.FAILED, reason, ENDINGS.get(run.ended, Failure.PERMANENT), result=result)

    def cancel(self, request: JSON, remote: Remote) -> None:  # noqa: ARG002
        """Ask the Databricks run to stop."""
        self._databricks.cancel(int(remote.id))

    def _run_now(self, name: str, token: str, parameters: Mapping[str, str]) -> int:
        known = name in self._jobs
        job_id = self._jobs.setdefault(name, self._jobs.get(name) or self._databricks.job(name))
        try:
            return self._databricks.run_now(job_id, token, parameters)
        except (NotFound, Refused):
            del self._jobs[name]
            if not known or self._databricks.job(name) == job_id:
                raise
            return self._run_now(name, token, parameters)

    def _succeeded(self, request: JSON, remote: Remote, result: dict[str, Any]) -> Observation:
        said = f"Databricks run {remote.id} succeeded"
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
