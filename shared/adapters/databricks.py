"""A Databricks workspace through databricks-sdk, with the app's own Azure identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.credentials import TokenCredential
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.credentials_provider import CredentialsStrategy
from databricks.sdk.errors import (
    Aborted,
    AlreadyExists,
    InternalError,
    InvalidParameterValue,
    NotFound,
    OperationTimeout,
    TemporarilyUnavailable,
    TooManyRequests,
)
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.jobs import Run, RunNowResponse, RunResultState

from shared.backends import DatabricksRun
from shared.errors import Refused, SluiceError, Unavailable

_AZURE_DATABRICKS = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"
_PASSING = (TooManyRequests, TemporarilyUnavailable, InternalError, OperationTimeout, Aborted, AlreadyExists)

_V1_RESULTS: Mapping[RunResultState, str] = {
    RunResultState.SUCCESS: "SUCCESS",
    RunResultState.CANCELED: "CANCELED",
    RunResultState.TIMEDOUT: "TIMED_OUT",
    RunResultState.MAXIMUM_CONCURRENT_RUNS_REACHED: "MAX_CONCURRENT_RUNS_EXCEEDED",
}


class AzureIdentity(CredentialsStrategy):
    """Signs the SDK's requests with a token of azure-identity: the SDK itself knows no managed identity."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def auth_type(self) -> str:
        """Its name in the SDK's User-Agent."""
        return "azure-identity"

    def __call__(self, cfg: Config) -> Callable[[], dict[str, str]]:  # noqa: ARG002
        """A function that makes the headers of a request."""
        return lambda: {"Authorization": f"Bearer {self._credential.get_token(_AZURE_DATABRICKS).token}"}


class Workspace:
    """One Databricks workspace.

    The SDK would block for five minutes on a dead host: `patience` seconds is how long a call may take.
    """

    def __init__(self, host: str, credential: TokenCredential, *, patience: int = 15) -> None:
        self._host, self._credential, self._patience = host, credential, patience
        self._connected: WorkspaceClient | None = None

    @property
    def _client(self) -> WorkspaceClient:
        if self._connected is None:  # its constructor already calls the workspace
            config = Config(
                host=self._host,
                credentials_strategy=AzureIdentity(self._credential),
                retry_timeout_seconds=self._patience,
                http_timeout_seconds=self._patience,
            )
            self._connected = WorkspaceClient(config=config)
        return self._connected

    def job(self, name: str) -> int:
        """The id of the one job of this name."""
        with _calling(f"Databricks job {name}"):
            found = [
                job.job_id
                for job in self._client.jobs.list(name=name)
                if job.job_id is not None and job.settings is not None and job.settings.name == name
            ]
        if len(found) == 1:
            return found[0]
        if not found:
            raise Refused(f"there is no Databricks job {name} that the app may see: publish the workload first")
        raise Refused(f"there are {len(found)} Databricks jobs named {name}, there must be one: {sorted(found)}")

    def run_now(self, job_id: int, token: str, parameters: Mapping[str, str]) -> int:
        """The id of the one Databricks run of this token; it is started when there is none."""
        with _calling(f"Databricks job {job_id}"):
            started = self._client.jobs.run_now(job_id, idempotency_token=token, job_parameters=dict(parameters))
        answer: RunNowResponse = started.response
        if answer.run_id is None:
            raise Unavailable(f"Databricks job {job_id}: the answer to run-now has no run_id")
        return answer.run_id

    def run(self, run_id: int) -> tuple[DatabricksRun, str | None] | None:
        """A Databricks run and its page, None when it was deleted."""
        with _calling(f"Databricks run {run_id}"):
            try:
                found = self._client.jobs.get_run(run_id)
            except NotFound:
                return None
        return _run(found), found.run_page_url

    def cancel(self, run_id: int) -> None:
        """Ask a Databricks run to stop."""
        with _calling(f"Databricks run {run_id}"):
            try:
                self._client.jobs.cancel_run(run_id)
            except (NotFound, InvalidParameterValue):  # it does not exist any more
                return


def _run(found: Run) -> DatabricksRun:
    details = found.status.termination_details if found.status else None
    state = found.state
    life_cycle = state.life_cycle_state.value if state and state.life_cycle_state else ""
    current = found.status.state.value if found.status and found.status.state else life_cycle
    message = (details.message if details else None) or (state.state_message if state else None) or ""
    if "TERMINATED" not in (current, life_cycle) and life_cycle not in ("SKIPPED", "INTERNAL_ERROR"):
        return DatabricksRun(current or "UNKNOWN", None, message)
    result = state.result_state if state else None
    code = details.code.value if details and details.code else None
    if result is RunResultState.TIMEDOUT or code is None:  # a time-out has no code of its own
        code = (_V1_RESULTS.get(result) if result else None) or _life(life_cycle)
    return DatabricksRun(current, code, message)


def _life(life_cycle: str) -> str:
    return life_cycle if life_cycle in ("SKIPPED", "INTERNAL_ERROR") else "RUN_EXECUTION_ERROR"


@contextmanager
def _calling(what: str) -> Iterator[None]:
    try:
        yield
    except SluiceError:
        raise
    except _PASSING as error:
        raise Unavailable(f"{what}: {error}", retry_after=_retry_after(error)) from error
    except DatabricksError as error:
        raise Refused(f"{what}: Databricks refuses: {error}") from error
    except (TimeoutError, OSError) as error:
        raise Unavailable(f"{what}: the workspace could not be reached: {error}") from error


def _retry_after(error: Any) -> float | None:
    seconds = getattr(error, "retry_after_secs", None)
    return float(seconds) if seconds is not None else None
