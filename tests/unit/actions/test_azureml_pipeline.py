"""The Azure ML action over a workspace in memory."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from shared.actions.azureml_pipeline import AzureMLPipeline
from shared.backends import AzureMLJob, Submission
from shared.errors import NotFound, Refused, Unavailable
from shared.observations import Failure, Observation, Remote, Status
from tests.unit.worlds import SetClock

NAME = "sluice-" + "a" * 32


@dataclasses.dataclass
class Jobs:
    """Jobs are kept by name."""

    jobs: dict[str, AzureMLJob] = dataclasses.field(default_factory=dict)
    submitted: list[Submission] = dataclasses.field(default_factory=list)
    lost: bool = False

    def job(self, name: str) -> AzureMLJob | None:
        return self.jobs.get(name)

    def submit(self, submission: Submission) -> AzureMLJob:
        self.submitted.append(submission)
        found = self.jobs.setdefault(submission.name, AzureMLJob("NotStarted", "http://studio", tags=submission.tags))
        if self.lost:
            raise Unavailable("the answer was lost")
        return found

    def cancel(self, name: str) -> None:
        self.jobs[name] = AzureMLJob("Canceled")


class Models:
    def version_of(self, name: str, azureml_job: str) -> str | None:
        return "3" if (name, azureml_job) == ("demand-forecast", NAME) else None


@dataclasses.dataclass
class Reports:
    """The files that a pipeline has kept."""

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def read(self, uri: str) -> bytes:
        if uri not in self.files:
            raise NotFound(uri)
        return self.files[uri]

    def below(self, uri: str) -> list[bytes]:
        raise AssertionError(uri)


def made(jobs: Jobs, clock: SetClock | None = None, reports: Reports | None = None) -> AzureMLPipeline:
    return AzureMLPipeline(jobs, Models(), reports or Reports(), clock or SetClock())


def request(**options: Any) -> dict[str, Any]:
    given = {
        "pipeline": "demand_forecast_pipeline@latest",
        "experiment": "demand-forecast",
        "compute": "cpu-cluster",
        "inputs": {"gold_version": 7},
        "model": "demand-forecast",
        **options,
    }
    return {"run": "train-1-1", "token": "a" * 64, "correlation": "chain", "options": given}


def test_one_token_is_one_azureml_job_also_when_the_answer_is_lost() -> None:
    jobs = Jobs(lost=True)
    action = made(jobs)
    with pytest.raises(Unavailable):
        action.start(request())
    jobs.lost = False
    assert action.start(request()) == Remote(NAME, "http://studio")
    assert len(jobs.submitted) == 1


def test_the_job_is_told_where_it_belongs() -> None:
    jobs = Jobs()
    made(jobs).start(request())
    sent = jobs.submitted[0]
    assert sent.tags == {"run": "train-1-1", "correlation": "chain", "token": "a" * 64}
    assert sent.inputs == {"gold_version": 7}


def test_success_tells_the_model_that_the_job_registered() -> None:
    seen = observe(AzureMLJob("Completed"))
    assert seen.status is Status.SUCCEEDED
    assert seen.result == {"azureml_job": NAME, "model": "demand-forecast", "model_version": "3"}
    assert "has registered demand-forecast version 3" in seen.reason


def test_a_pipeline_that_registers_nothing_may_succeed() -> None:
    assert observe(AzureMLJob("Completed"), model="other").result == {"azureml_job": NAME}


@pytest.mark.parametrize(
    ("codes", "failure"),
    [
        (("ServiceUnavailable", "ServiceError"), Failure.TRANSIENT),
        (("SomethingNew", "ServiceError"), Failure.TRANSIENT),
        (("NodePreempted", "UserError"), Failure.TRANSIENT),
        (("UserError",), Failure.PERMANENT),
        (("SomethingNew",), Failure.PERMANENT),
        ((), Failure.PERMANENT),
    ],
)
def test_the_innermost_known_code_says_whether_another_attempt_helps(codes: tuple[str, ...], failure: Failure) -> None:
    seen = observe(AzureMLJob("Failed", error_codes=codes, error="seasonal naive is not beaten"))
    assert (seen.status, seen.failure) == (Status.FAILED, failure)
    assert seen.reason.endswith("seasonal naive is not beaten")


@pytest.mark.parametrize(
    "status",
    ["NotStarted", "Queued", "Preparing", "Running", "Finalizing", "CancelRequested", "Paused", "NotResponding"],
)
def test_any_status_that_is_no_end_is_active(status: str) -> None:
    assert observe(AzureMLJob(status)).status is Status.ACTIVE


def test_a_job_of_this_name_is_adopted_when_its_tag_says_that_it_is_ours() -> None:
    jobs = Jobs({NAME: AzureMLJob("Running", "http://studio", tags={"token": "a" * 64})})
    assert made(jobs).start(request()) == Remote(NAME, "http://studio")
    assert jobs.submitted == []


def test_a_job_of_this_name_that_is_not_ours_is_left_alone() -> None:
    jobs = Jobs({NAME: AzureMLJob("Running", "http://studio", tags={"token": "b" * 64})})
    with pytest.raises(Refused, match="exists that this attempt has not submitted; it is left alone"):
        made(jobs).start(request())


def test_a_job_that_stays_away_for_the_length_of_a_lease_is_for_a_person_to_decide() -> None:
    clock = SetClock()
    action = made(Jobs(), clock)
    missed = action.observe(request(), Remote(NAME), {})
    assert missed.status is Status.ACTIVE
    assert missed.progress
    clock.pass_(60)
    seen = action.observe(request(), Remote(NAME), missed.progress)
    assert (seen.status, seen.failure) == (Status.FAILED, Failure.PERMANENT)
    assert "a person must look; if it is not, `sluice retry train-1-1` does it again" in seen.reason


def test_cancel_stops_the_job() -> None:
    action = made(Jobs())
    remote = action.start(request())
    action.cancel(request(), remote)
    assert action.observe(request(), remote, {}).status is Status.CANCELLED


def test_the_faults_of_options_name_the_option() -> None:
    action = made(Jobs())
    assert action.faults(request()["options"]) == []
    faults = action.faults({"pipeline": "", "compute": 1, "inputs": 3, "speed": 1})
    for name in ("pipeline", "experiment", "compute", "inputs", "speed"):
        assert any(f"option {name}" in fault for fault in faults)


def observe(job: AzureMLJob, **options: Any) -> Observation:
    jobs = Jobs()
    action = made(jobs)
    remote = action.start(request(**options))
    jobs.jobs[NAME] = job
    return action.observe(request(**options), remote, {})


REPORTS = "abfss://azureml@lake.dfs.core.windows.net/models/other/"
RETAINED = {"verdict": "retained", "reason": "not better beyond noise", "mae": 1.2, "champion": {"mae": 1.1}}


def ended(kept: bytes | None, status: str = "Completed") -> Observation:
    files = {} if kept is None else {f"{REPORTS}{NAME}/report.json": kept}
    action = made(Jobs({NAME: AzureMLJob(status)}), reports=Reports(files))
    return action.observe(request(reports=REPORTS, model="other"), Remote(NAME), {})


def test_a_job_that_retained_the_champion_has_succeeded_with_both_numbers_and_no_model() -> None:
    seen = ended(json.dumps(RETAINED).encode())
    assert seen.status is Status.SUCCEEDED
    assert seen.result == {"azureml_job": NAME, "report": RETAINED}
    assert seen.reason == f"Azure ML job {NAME} is Completed: not better beyond noise"


@pytest.mark.parametrize("kept", [None, b"not json", b"[1]", b"{}"])
def test_a_report_that_is_not_there_or_cannot_be_read_changes_nothing(kept: bytes | None) -> None:
    assert ended(kept).result == {"azureml_job": NAME}


def test_a_job_that_failed_is_not_asked_for_a_report() -> None:
    assert "report" not in ended(json.dumps(RETAINED).encode(), "Failed").result


def test_the_folder_of_the_reports_is_an_address() -> None:
    assert made(Jobs()).faults(request(reports=3)["options"]) == [
        "option reports must be the abfss address of a folder"
    ]
