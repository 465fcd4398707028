"""The YAML, the bundle and the pins: what Azure ML, Databricks and pip will read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.ai.ml import load_component, load_job, load_online_endpoint
from databricks.sdk.service.jobs import JobSettings
from packaging.requirements import Requirement

from demand_forecasting import publish, publish_azureml, publish_databricks
from tests.workload.conftest import WORKLOAD

AZUREML = WORKLOAD / "azureml"
COMPONENTS = {step: AZUREML / "components" / step / "component.yml" for step in publish_azureml.STEPS}


def pinned(lines: list[str]) -> dict[str, set[str]]:
    requirements = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    found: dict[str, set[str]] = {}
    for requirement in requirements:
        (only,) = requirement.specifier
        assert only.operator == "==", f"{requirement} is not pinned"
        found.setdefault(requirement.name.lower(), set()).add(only.version)
    return found


def conda() -> dict[str, Any]:
    return dict(yaml.safe_load((AZUREML / "environment" / "conda.yml").read_text()))


def conda_pins() -> dict[str, set[str]]:
    return pinned(conda()["dependencies"][2]["pip"])


@pytest.mark.parametrize("step", publish_azureml.STEPS)
def test_a_component_is_valid_and_its_program_takes_exactly_what_its_command_gives(step: str) -> None:
    component = load_component(COMPONENTS[step])
    result = component._validate()
    assert result.passed, result.error_messages
    program = (AZUREML / "src" / f"{step}.py").read_text()
    given = set(re.findall(r"--([a-z-]+)", component.command))
    assert given == set(re.findall(r'"--([a-z-]+)"', program))
    assert given == {name.replace("_", "-") for name in (*component.inputs, *component.outputs)}


def test_the_pipeline_is_valid_as_a_component_and_as_a_job() -> None:
    pipeline = load_component(AZUREML / "pipeline.yml")
    assert pipeline._validate().passed
    assert list(pipeline.jobs) == list(publish_azureml.STEPS)
    assert set(pipeline.inputs) == {
        "gold", "gold_version", "model_name", "champion", "registry", "correlation_id", "run_id",
    }  # fmt: skip
    assert load_job(AZUREML / "job.yml")._validate().passed


def test_the_image_component_carries_the_files_of_the_image() -> None:
    component = load_component(COMPONENTS["image"])
    with component._build_code() as code:
        found = {path.relative_to(code.path).as_posix() for path in Path(code.path).rglob("*")}
    assert {
        "image.py",
        "scoring/Dockerfile",
        "scoring/score.py",
        "scoring/call_log.py",
        "scoring/requirements.lock",
    } <= found


def test_the_endpoint_is_on_kubernetes_and_leaves_traffic_to_releases() -> None:
    endpoint = load_online_endpoint(AZUREML / "endpoint.yml")
    assert (endpoint.name, endpoint.compute, endpoint.traffic) == ("demand-forecast", "aks-prod", {})


def test_conda_names_python_pip_and_pins_only() -> None:
    python, pip, packages = conda()["dependencies"]
    assert (python, pip, list(packages)) == ("python=3.11", "pip", ["pip"])
    assert conda_pins()


def test_the_lock_is_fully_pinned_and_satisfies_what_it_was_made_from() -> None:
    lock = pinned((WORKLOAD / "scoring" / "requirements.lock").read_text().splitlines())
    wanted = pinned((WORKLOAD / "scoring" / "requirements.in").read_text().splitlines())
    assert {name: lock[name] for name in wanted} == wanted


def test_a_model_is_read_by_the_versions_that_wrote_it() -> None:
    lock = pinned((WORKLOAD / "scoring" / "requirements.lock").read_text().splitlines())
    for name in ("scikit-learn", "numpy"):
        assert lock[name] == conda_pins()[name]


def test_the_dockerfile_declares_every_argument_that_the_image_step_gives() -> None:
    dockerfile = (WORKLOAD / "scoring" / "Dockerfile").read_text()
    declared = set(re.findall(r"^ARG (\w+)$", dockerfile, re.MULTILINE))
    given = set(re.findall(r'^ +"([A-Z_0-9]+)":', (AZUREML / "src" / "image.py").read_text(), re.MULTILINE))
    assert declared == given
    assert set(re.findall(r"^(?:ENV|LABEL| +).*?\$\{(\w+)\}", dockerfile, re.MULTILINE)) >= declared - {"MODEL_NAME"}


@pytest.mark.parametrize(
    ("name", "program", "first"),
    [
        ("demand-curate", "curate.py", "abfss://bronze@lake1.dfs.core.windows.net/demand"),
        ("demand-served", "served.py", "abfss://scoring@lake1.dfs.core.windows.net/sluice-scoring"),
    ],
)
def test_the_bundles_jobs_are_what_the_sdk_knows_and_nothing_else(name: str, program: str, first: str) -> None:
    jobs, files = publish_databricks.read({"lake": "lake1"})
    (settings,) = [job for job in jobs if job["name"] == name]
    assert JobSettings.from_dict(settings).as_dict() == settings
    assert settings["max_concurrent_runs"] == 1
    assert settings["queue"] == {"enabled": True}
    (task,) = settings["tasks"]
    assert task["max_retries"] == 0
    assert task["spark_python_task"]["python_file"] == f"{files}/{program}"
    assert settings["parameters"][0]["default"] == first
    names = {item["name"] for item in settings["parameters"]}
    used = set(re.findall(r"\{\{job\.parameters\.(\w+)\}\}", str(task["spark_python_task"]["parameters"])))
    assert used == names


def test_an_unknown_target_or_reference_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(publish_databricks.BundleError, match="staging"):
        publish_databricks.read({}, target="staging")
    (tmp_path / "databricks.yml").write_text(
        "{bundle: {name: b}, include: ['*.job.yml'], targets: {prod: {workspace: {file_path: /x}}}}"
    )
    (tmp_path / "a.job.yml").write_text("resources: {jobs: {a: {name: '${var.nowhere}'}}}")
    monkeypatch.setattr(publish_databricks, "BUNDLE", tmp_path)
    with pytest.raises(publish_databricks.BundleError, match=r"var\.nowhere"):
        publish_databricks.read({})


def test_all_missing_settings_are_named_at_once() -> None:
    with pytest.raises(publish.Incomplete, match=r"AZURE_RESOURCE_GROUP, AZUREML_WORKSPACE, DATABRICKS_HOST"):
        publish.Target.read({"AZURE_SUBSCRIPTION_ID": "s"})


def test_the_content_of_a_component_changes_with_its_code_and_its_pins() -> None:
    files = {path.relative_to(WORKLOAD).as_posix() for path in publish_azureml._snapshot(COMPONENTS["image"])}
    assert {"azureml/src/features.py", "scoring/score.py", "azureml/environment/conda.yml"} <= files
    one, other = COMPONENTS["train"], COMPONENTS["evaluate"]
    assert publish_azureml.content([one]) == publish_azureml.content([one])
    assert len({publish_azureml.content(paths) for paths in ([one], [other], [one, other])}) == 3
    assert publish_azureml.content([one], "a:1") != publish_azureml.content([one], "a:2")
