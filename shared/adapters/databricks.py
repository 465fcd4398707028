"""A Databricks workspace through databricks-sdk, with the app's own Azure identity."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from databricks.sdk import WorkspaceClient
from databricks.sdk.clock import RealClock
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

from shared import patience
from shared.backends import DatabricksRun
from shared.errors import Gone, Refused, SluiceError, Unavailable

_AZURE_DATABRICKS = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"
_PASSING = (TooManyRequests, TemporarilyUnavailable, InternalError, OperationTimeout, Aborted, AlreadyExists)

_V1_RESULTS: Mapping[RunResultState, str] = {
    RunResultState.SUCCESS: "SUCCESS",
    RunResultState.SUCCESS_WITH_FAILURES: "SUCCESS_WITH_FAILURES",
    RunResultState.CANCELED: "USER_CANCELED",
    RunResultState.UPSTREAM_CANCELED: "USER_CANCELED",
    RunResultState.TIMEDOUT: "TIMED_OUT",
    RunResultState.MAXIMUM_CONCURRENT_RUNS_REACHED: "MAX_CONCURRENT_RUNS_EXCEEDED",
    RunResultState.DISABLED: "DISABLED",
    RunResultState.EXCLUDED: "SKIPPED",
}
"""The termination code of a result that came without one."""


class Once(RealClock):
    """A clock by which the SDK never sleeps, and so never repeats a call: what it would sleep over is raised.

    By itself it repeats 429, 503 and broken connections for as long as `Retry-After` says, and then forgets why.
    """

    def sleep(self, seconds: float) -> None:  # noqa: ARG002
        """Raise the error that is being handled."""
        error = sys.exception()
        if error is not None:
            raise error


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

    The SDK would block for five minutes on a dead host: `seconds` is how long a connection, and then an answer, may
    take; no call begins that could not be over before its step is.
    """

    def __init__(self, host: str, credential: TokenCredential, *, seconds: float = 10.0) -> None:
        self._host, self._credential, self._seconds = host, credential, seconds
        self._connected: WorkspaceClient | None = None

    @property
    def _client(self) -> WorkspaceClient:
        if self._connected is None:  # its constructor already calls the workspace
            config = Config(
                host=self._host,
                credentials_strategy=AzureIdentity(self._credential),
                http_timeout_seconds=self._seconds,
                retry_timeout_seconds=1,  # for the constructor's own call, which does not go by the clock
                clock=Once(),
            )
            self._connected = WorkspaceClient(config=config)
        return self._connected

    def job(self, name: str) -> int:
        """The id of the one job of this name."""
        with self._calling(f"Databricks job {name}"):
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
        """The id of the one Databricks run of this token; it is started when there is none.

        A run that was deleted still has its token: Databricks refuses it, in words that its API does not fix.
        """
        with self._calling(f"Databricks job {job_id}"):
            try:
                started = self._client.jobs.run_now(job_id, idempotency_token=token, job_parameters=dict(parameters))
            except InvalidParameterValue as error:
                if "delete" not in str(error).lower():
                    raise
                raise Gone(f"the Databricks run of token {token} was deleted: {error}") from error
        answer: RunNowResponse = started.response
        if answer.run_id is None:
            raise Unavailable(f"Databricks job {job_id}: the answer to run-now has no run_id")
        return answer.run_id

    def run(self, run_id: int) -> tuple[DatabricksRun, str | None] | None:
        """A Databricks run and its page, None when it was deleted."""
        with self._calling(f"Databricks run {run_id}"):
            try:
                found = self._client.jobs.get_run(run_id)
            except NotFound:
                return None
        return _run(found), found.run_page_url

    def cancel(self, run_id: int) -> None:
        """Ask a Databricks run to stop."""
        with self._calling(f"Databricks run {run_id}"):
            try:
                self._client.jobs.cancel_run(run_id)
            except (NotFound, InvalidParameterValue):  # it does not exist any more
                return

    @contextmanager
    def _calling(self, what: str) -> Iterator[None]:
        try:
            if patience.left(2 * self._seconds) < 2 * self._seconds:
                raise Unavailable(f"{what}: the time of this step is used up; it goes on under the next lease")
            yield
        except SluiceError:
            raise
        except _PASSING as error:
            raise Unavailable(f"{what}: {error}", retry_after=_retry_after(error)) from error
        except DatabricksError as error:
            raise Refused(f"{what}: Databricks refuses: {error}") from error
        except (TimeoutError, OSError, AzureError) as error:  # also: no token
            raise Unavailable(f"{what}: the workspace could not be reached: {error}") from error


def _run(found: Run) -> DatabricksRun:
    details = found.status.termination_details if found.status else None
    state = found.state
    life_cycle = state.life_cycle_state.value if state and state.life_cycle_state else ""
    current = found.status.state.value if found.status and found.status.state else life_cycle
    message = (details.message if details else None) or (state.state_message if state else None) or ""
    if "TERMINATED" not in (current, life_cycle) and life_cycle not in _ENDED:
        return DatabricksRun(current or "UNKNOWN", None, message)
    kind = details.type.value if details and details.type else ""
    return DatabricksRun(current, _code(found, life_cycle, kind), message, kind)


_ENDED = ("SKIPPED", "INTERNAL_ERROR")


def _code(found: Run, life_cycle: str, kind: str) -> str:
    """The termination code; the SDK knows none that a later release has brought, and a time-out has none."""
    details = found.status.termination_details if found.status else None
    result = found.state.result_state if found.state else None
    if details and details.code and result is not RunResultState.TIMEDOUT:
        return details.code.value
    if result is not None and result in _V1_RESULTS:
        return _V1_RESULTS[result]
    if life_cycle in _ENDED:
        return life_cycle
    return f"UNKNOWN_{kind}" if kind else "RUN_EXECUTION_ERROR"


def _retry_after(error: Any) -> float | None:
    seconds = getattr(error, "retry_after_secs", None)
    return float(seconds) if seconds is not None else None
