"""The report is honest: a step that did not happen makes it not ok."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from demo import records, summary
from demo.progress import Progress
from demo.report import Report, StepFailed
from localcloud.cloud import Cloud


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_a_finished_demonstration_is_ok_and_written_whole(tmp_path: Path) -> None:
    report = Report()
    with Progress(report, quiet()).step("cloud", "Local cloud") as step:
        step.prove(name="x")
    report.finished = True
    report.write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["ok"] is True
    assert written["steps"][0]["name"] == "x"
    assert set(written) == {"ok", "seconds", "steps", "effects", "journal"}


def test_a_failed_step_is_kept_with_its_reason() -> None:
    report = Report()
    with pytest.raises(StepFailed), Progress(report, quiet()).step("cloud", "Local cloud"):
        raise StepFailed("no port is free")
    report.finished = True
    assert report.document()["ok"] is False
    assert report.document()["steps"][0]["error"] == "no port is free"


def test_an_interrupted_demonstration_is_not_ok() -> None:
    report = Report()
    with pytest.raises(KeyboardInterrupt), Progress(report, quiet()).step("cloud", "Local cloud"):
        raise KeyboardInterrupt
    assert report.document()["ok"] is False
    assert report.document()["steps"][0]["error"] == "interrupted"


def test_a_demonstration_without_steps_is_not_ok() -> None:
    assert Report().document()["ok"] is False


def test_the_summary_of_a_failure_names_the_step_and_the_reason(tmp_path: Path) -> None:
    report, console = Report(), quiet()
    with pytest.raises(StepFailed), Progress(report, console).step("publish", "Workload published"):
        raise StepFailed("the workspace said no")
    summary.show(console, report, tmp_path / "report.json", "demo", kept=False)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "Workload published: the workspace said no" in said


def test_effects_are_counted_from_the_records(tmp_path: Path) -> None:
    cloud = Cloud("counted", {}, tmp_path)
    cloud.record("databricks", "run_started", run_id=1)
    cloud.record("databricks", "run_joined", run_id=1)
    cloud.record("azure_ml", "job_created", name="j")
    for traffic in ({}, {"v1": 100}, {"v1": 0, "v2": 100}, {"v1": 50, "v2": 50}):
        cloud.record("azure_ml", "traffic", endpoint="e", traffic=traffic)
    assert records.effects(cloud) == {"databricks_runs": 1, "azureml_jobs": 1, "releases": 2}


def test_a_service_that_saw_another_digest_is_found(tmp_path: Path) -> None:
    cloud = Cloud("digests", {}, tmp_path)
    cloud.record("registry", "push", repository="r", tag="1", digest="sha256:a")
    cloud.record("container_instances", "created", name="qa-run-1-x", digest="sha256:a")
    cloud.record("azure_ml", "deployment_ended", deployment="e/v1", state="Succeeded", digest="sha256:b")
    with pytest.raises(StepFailed, match="production sha256:b"):
        records.digests(cloud, "sha256:a", "qa-run-1-", "v1")


def test_a_delivery_that_was_sent_twice_counts_twice(tmp_path: Path) -> None:
    cloud = Cloud("delivered", {}, tmp_path)
    for status, fault in ((202, None), (202, "duplicate"), (500, None)):
        cloud.record("event_grid", "delivered", status=status, fault=fault)
    assert records.delivered(cloud) == 3
