"""What the actions ask of Databricks and Azure ML, as small protocols, and the values that they exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

JSON = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class DatabricksRun:
    """A Databricks run: `ended` is its termination code, `SUCCESS` or another, None while it is active.

    `kind` is the type of its termination, which also a code of a later release has.
    """

    state: str
    ended: str | None = None
    message: str = ""
    kind: str = ""


class Databricks(Protocol):
    """The workspace.  Every call raises Unavailable or Refused."""

    def job(self, name: str) -> int:
        """The id of the one job of this name."""

    def run_now(self, job_id: int, token: str, parameters: Mapping[str, str]) -> int:
        """The id of the one Databricks run of this token; it is started when there is none.

        Raises Gone when the run of the token was deleted.
        """

    def run(self, run_id: int) -> tuple[DatabricksRun, str | None] | None:
        """A Databricks run and its page, None when it was deleted."""

    def cancel(self, run_id: int) -> None:
        """Ask a Databricks run to stop."""


class DeltaLog(Protocol):
    """Commits of Delta tables."""

    def version_stamped(self, uri: str, user_metadata: str) -> int | None:
        """The newest version whose commit carries this `userMetadata`, None when there is none.  Raises Unavailable."""


@dataclasses.dataclass(frozen=True, slots=True)
class Submission:
    """An Azure ML job to submit under a name that is its identity."""

    name: str
    pipeline: str
    experiment: str
    compute: str
    inputs: JSON
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class AzureMLJob:
    """An Azure ML job as the workspace shows it; `error_codes` say why it has failed, the innermost first."""

    status: str
    url: str | None = None
    error_codes: tuple[str, ...] = ()
    error: str = ""
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Jobs(Protocol):
    """Azure ML jobs.  Every call raises Unavailable or Refused."""

    def job(self, name: str) -> AzureMLJob | None:
        """A job, None when there is none."""

    def submit(self, submission: Submission) -> AzureMLJob:
        """Submit a job; answers the one that has the name: this one, or one that had it before."""

    def cancel(self, name: str) -> None:
        """Ask a job to stop."""


class RegisteredModels(Protocol):
    """The model registry.  Raises Unavailable or Refused."""

    def version_of(self, name: str, azureml_job: str) -> str | None:
        """The version of a model that is tagged with a job's name, None when there is none."""


class Tables(Protocol):
    """Delta tables by their abfss address.  Every call raises Unavailable or Refused."""

    def newest(self, uri: str) -> int | None:
        """The newest version, None when there is no table."""

    def rows(self, uri: str, version: int) -> int | None:
        """How many rows a version has; None where its log does not say."""


class Files(Protocol):
    """Files of the lake by their abfss address.  Every call raises Unavailable or Refused."""

    def read(self, uri: str) -> bytes:
        """A file's content.  Raises NotFound."""

    def below(self, uri: str) -> list[bytes]:
        """The contents of all files below a folder, in the order of their names."""
