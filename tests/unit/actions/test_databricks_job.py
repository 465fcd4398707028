"""The Databricks action over a workspace in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from shared.actions.databricks_job import DatabricksJob
from shared.backends import DatabricksRun
from shared.errors import Gone, Refused, Unavailable
from shared.observations import Failure, Remote, Status
from tests.unit.worlds import SetClock

GOLD = "abfss://gold@lake.dfs.core.windows.net/demand"


@dataclasses.dataclass
class Workspace:
    """Runs are kept by token, as the real one does."""

    jobs: dict[str, int] = dataclasses.field(default_factory=lambda: {"demand-curate": 7})
    tokens: dict[str, int] = dataclasses.field(default_factory=dict)
    runs: dict[int, DatabricksRun] = dataclasses.field(default_factory=dict)
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    looked_up: int = 0
    lost: bool = False
    deleted: set[str] = dataclasses.field(default_factory=set)

    def job(self, name: str) -> int:
        self.looked_up += 1
        if name not in self.jobs:
            raise Refused(f"there is no Databricks job {name}")
        return self.jobs[name]

    def run_now(self, job_id: int, token: str, parameters: Mapping[str, str]) -> int:
        if job_id not in self.jobs.values():
            raise Refused(f"job {job_id} does not exist")
        if token in self.deleted:
            raise Gone(f"the Databricks run of token {token} was deleted")
        self.parameters = parameters
        run_id = self.tokens.setdefault(token, 1000 + len(self.tokens))
        self.runs.setdefault(run_id, DatabricksRun("RUNNING"))
        if self.lost:
            raise Unavailable("the answer was lost")
        return run_id

    def run(self, run_id: int) -> tuple[DatabricksRun, str | None] | None:
        return (self.runs[run_id], f"http://page/{run_id}") if run_id in self.runs else None

    def cancel(self, run_id: int) -> None:
        self.runs[run_id] = DatabricksRun("TERMINATED", "USER_CANCELED")


@dataclasses.dataclass
class Lake:
    stamps: dict[str, int] = dataclasses.field(default_factory=lambda: {"curate-1-1": 12})

    def version_stamped(self, uri: str, user_metadata: str) -> int | None:
        assert uri == GOLD
        return self.stamps.get(user_metadata)


def made(workspace: Workspace, lake: Lake | None = None, clock: SetClock | None = None) -> DatabricksJob:
    return DatabricksJob(workspace, lake or Lake(), clock or SetClock())


def request(**options: Any) -> dict[str, Any]:
    given = {"job": "demand-curate", "parameters": {"gold": GOLD, "days": 7}, "result": {"table": GOLD}, **options}
    return {"run": "curate-1-1", "token": "t" * 64, "correlation": "c", "options": given}


def test_one_token_is_one_databricks_run_also_when_the_answer_is_lost() -> None:
    workspace = Workspace(lost=True)
    action = made(workspace)
    with pytest.raises(Unavailable):
        action.start(request())
    workspace.lost = False
    assert action.start(request()) == action.start(request()) == Remote("1000")
    assert len(workspace.runs) == 1


def test_what_is_seen_tells_where_a_person_can_look() -> None:
    workspace = Workspace()
    action = made(workspace)
    remote = action.start(request())
    assert action.observe(request(), remote, {}).url == "http://page/1000"


def test_parameters_become_text() -> None:
    workspace = Workspace()
    made(workspace).start(request())
    assert workspace.parameters == {"gold": GOLD, "days": "7"}


def test_the_job_is_looked_up_once_and_again_when_it_was_made_anew() -> None:
    workspace = Workspace()
    action = made(workspace)
    action.start(request())
    action.start(request())
    assert workspace.looked_up == 1
    workspace.jobs["demand-curate"] = 8
    action.start({**request(), "token": "u" * 64})
    assert workspace.tokens == {"t" * 64: 1000, "u" * 64: 1001}


def test_a_job_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="no Databricks job other"):
        made(Workspace()).start(request(job="other"))


def test_success_tells_the_version_that_carries_the_run_id() -> None:
    seen = observe(DatabricksRun("TERMINATED", "SUCCESS"))
    assert seen.status is Status.SUCCEEDED
    assert seen.result == {"databricks_run": "1000", "gold_version": 12}
    assert seen.reason == f"Databricks run 1000 succeeded and wrote version 12 of {GOLD}"


def test_success_without_a_stamped_commit_is_a_failure_that_says_so() -> None:
    seen = observe(DatabricksRun("TERMINATED", "SUCCESS"), Lake({}))
    assert (seen.status, seen.failure) == (Status.FAILED, Failure.PERMANENT)
    assert "no commit of abfss://gold@lake.dfs.core.windows.net/demand carries userMetadata curate-1-1" in seen.reason


def test_success_is_enough_where_no_table_is_asked_for() -> None:
    workspace = Workspace()
    asked = {**request(), "options": {"job": "demand-curate"}}
    remote = made(workspace).start(asked)
    workspace.runs[1000] = DatabricksRun("TERMINATED", "SUCCESS")
    assert made(workspace).observe(asked, remote, {}).result == {"databricks_run": "1000"}


@pytest.mark.parametrize(
    ("run", "status", "failure"),
    [
        (DatabricksRun("TERMINATED", "MAX_CONCURRENT_RUNS_EXCEEDED", "why"), Status.FAILED, Failure.TRANSIENT),
        (DatabricksRun("TERMINATED", "CANCELED", "why"), Status.FAILED, Failure.TIMEOUT),
        (DatabricksRun("TERMINATED", "RUN_EXECUTION_ERROR", "why"), Status.FAILED, Failure.PERMANENT),
        (DatabricksRun("TERMINATED", "OF_LATER", "why", "CLOUD_FAILURE"), Status.FAILED, Failure.TRANSIENT),
        (DatabricksRun("TERMINATED", "USER_CANCELED", "why"), Status.CANCELLED, None),
    ],
)
def test_the_end_of_a_databricks_run_says_whether_another_attempt_helps(
    run: DatabricksRun, status: Status, failure: Failure | None
) -> None:
    seen = observe(run)
    assert (seen.status, seen.failure) == (status, failure)
    assert seen.reason == f"Databricks run 1000 ended with {run.ended}: why"


def test_a_run_whose_last_tasks_succeeded_has_succeeded_and_says_what_did_not() -> None:
    seen = observe(DatabricksRun("TERMINATED", "SUCCESS_WITH_FAILURES"))
    assert seen.status is Status.SUCCEEDED
    assert seen.reason.startswith("Databricks run 1000 succeeded (SUCCESS_WITH_FAILURES) and wrote version 12")


def test_an_active_databricks_run_is_active() -> None:
    assert observe(DatabricksRun("QUEUED")).status is Status.ACTIVE


def test_a_databricks_run_that_is_not_to_be_seen_may_still_come_for_the_length_of_a_lease() -> None:
    workspace, clock = Workspace(), SetClock()
    action = made(workspace, clock=clock)
    missed = action.observe(request(), Remote("1000"), {})
    assert missed.status is Status.ACTIVE
    assert missed.progress
    clock.pass_(59)
    assert action.observe(request(), Remote("1000"), missed.progress).status is Status.ACTIVE
    action.start(request())
    found = action.observe(request(), Remote("1000"), missed.progress)
    assert (found.status, found.progress) == (Status.ACTIVE, {})


def test_a_databricks_run_that_stays_away_was_deleted_and_a_person_must_decide() -> None:
    clock = SetClock()
    action = made(Workspace(), clock=clock)
    missed = action.observe(request(), Remote("999"), {})
    assert missed.progress
    clock.pass_(60)
    seen = action.observe(request(), Remote("999"), missed.progress)
    assert (seen.status, seen.failure) == (Status.FAILED, Failure.PERMANENT)
    assert "Databricks run 999 was started and has been deleted" in seen.reason
    assert "a person must look; if it is not, `sluice retry curate-1-1` does it again" in seen.reason


def test_a_token_whose_run_was_deleted_is_not_started_again_and_says_what_to_do() -> None:
    workspace = Workspace(deleted={"t" * 64})
    with pytest.raises(Refused, match=r"has been deleted.*a person must look.*`sluice retry curate-1-1`"):
        made(workspace).start(request())
    assert workspace.runs == {}


def test_cancel_stops_the_databricks_run() -> None:
    workspace = Workspace()
    action = made(workspace)
    remote = action.start(request())
    action.cancel(request(), remote)
    assert action.observe(request(), remote, {}).status is Status.CANCELLED


def test_the_faults_of_options_name_the_option() -> None:
    action = made(Workspace())
    assert action.faults(request()["options"]) == []
    faults = action.faults({"job": "", "parameters": [], "result": "x", "speed": 1})
    for name in ("job", "parameters", "result", "speed"):
        assert any(f"option {name}" in fault for fault in faults)


def observe(run: DatabricksRun, lake: Lake | None = None) -> Any:
    workspace = Workspace()
    action = made(workspace, lake)
    remote = action.start(request())
    workspace.runs[1000] = run
    return action.observe(request(), remote, {})
