"""Runs one step of a pipeline job: fetches code and inputs, runs the command, stores outputs and log."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from localcloud import azure_ml_pipeline as pipelines
from localcloud.azure_ml_assets import Assets
from localcloud.blob_files import BlobFiles
from localcloud.cloud import LAKE_ACCOUNT, Cloud
from localcloud.environments import Environments, pins
from localcloud.processes import Processes

CONTAINER = "azureml"
"""The container of the datastore `workspaceblobstore`."""

_DATASTORE = re.compile(r"azureml:(?://.*?|/.*?)datastores/workspaceblobstore/paths/(.*)", re.IGNORECASE)
_JOB = re.compile(r"azureml:(?://.*?|/.*?)jobs/([^/]+)/outputs/([^/]+)(?:/paths/(.*))?", re.IGNORECASE)
_TAIL = 15


class StepFailed(Exception):
    """A step ended badly; the message holds its last lines."""


class Steps:
    """One node of the compute cluster."""

    def __init__(
        self, cloud: Cloud, environments: Environments, processes: Processes, assets: Assets, files: BlobFiles
    ) -> None:
        self._cloud = cloud
        self._environments = environments
        self._processes = processes
        self._assets = assets
        self._files = files

    async def run(self, job: str, child: str, step: pipelines.Step) -> dict[str, Any]:
        """Run `step` of pipeline job `job` as the job `child`; facts worth recording.

        Raises `StepFailed`.  A cancellation kills the step's process group before it goes on.
        """
        home = self._cloud.home / "azure_ml" / "steps" / job / step.name
        code = home / "code"
        code.mkdir(parents=True, exist_ok=True)
        await self._fetch_code(step, code)
        inputs = {name: await self._input(job, home, step, name, value) for name, value in step.inputs.items()}
        outputs = {name: home / "outputs" / name for name in step.outputs}
        for folder in outputs.values():
            folder.mkdir(parents=True, exist_ok=True)
        python, facts = await self._environment(step, home)
        line = pipelines.command(step, inputs, {name: str(folder) for name, folder in outputs.items()})
        status = await self._execute(job, child, step, line, python, home)
        tail = _tail(home / "log.txt")
        await self._store_log(child, home / "log.txt")
        if status:
            raise StepFailed(f"exit code {status}:\n{tail}")
        for name, folder in outputs.items():
            await self._files.upload(folder, CONTAINER, output_path(job, step.name, name))
        return facts

    async def _execute(self, job: str, child: str, step: pipelines.Step, line: str, python: Path, home: Path) -> int:
        environment = (
            self._cloud.workload_environment()
            | {name: str(value) for name, value in step.environment_variables.items()}
            | {
                "AZUREML_RUN_ID": child,
                "AZUREML_ROOT_RUN_ID": job,
                "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                "PYTHONUNBUFFERED": "1",
                "PYTHONPATH": "",
            }
        )
        argv = ["/bin/sh", "-c", line]
        name = f"azureml-{child}"
        process = await self._processes.start(name, argv, env=environment, cwd=home / "code", log=home / "log.txt")
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await self._processes.stop(process)

    async def _fetch_code(self, step: pipelines.Step, folder: Path) -> None:
        identity = step.component.get("code")
        if not identity:
            return
        asset = self._assets.asset(identity, "codes")
        if asset is None:
            raise StepFailed(f"the code {identity} does not exist")
        container, prefix = self._place(asset["codeUri"])
        if not await self._files.download(container, prefix, folder):
            raise StepFailed(f"the code {asset['codeUri']} is empty")

    async def _environment(self, step: pipelines.Step, home: Path) -> tuple[Path, dict[str, Any]]:
        """The interpreter of the step's environment: the pip pins of its conda file, on the Python at hand."""
        identity = step.component.get("environment") or ""
        asset = self._assets.asset(identity, "environments")
        if asset is None:
            raise StepFailed(f"the environment {identity} does not exist")
        conda = home / "conda.yml"
        conda.write_text(asset.get("condaFile") or "dependencies: []\n", encoding="utf-8")
        python = await self._environments.python(pins(conda), label="azureml")
        wanted = _python_pin(conda)
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        return python, {"python": here, "python_pin": wanted, "python_pin_honoured": wanted in (None, here)}

    async def _input(self, job: str, home: Path, step: pipelines.Step, name: str, binding: pipelines.Binding) -> str:
        """The value or local path of one input."""
        if isinstance(binding, pipelines.Literal):
            return binding.value
        declared = (step.component.get("inputs") or {}).get(name, {})
        if isinstance(binding, pipelines.Output):
            container, prefix = CONTAINER, output_path(job, binding.step, binding.name)
        else:
            if declared.get("mode") == "direct":
                return binding.uri
            container, prefix = self._place(binding.uri)
        folder = home / "inputs" / name
        if not await self._files.download(container, prefix, folder) and isinstance(binding, pipelines.Stored):
            raise StepFailed(f"the input {name} at {binding.uri} is empty")
        return str(folder / Path(prefix).name) if declared.get("type") == "uri_file" else str(folder)

    def _place(self, uri: str) -> tuple[str, str]:
        """Container and folder that a URI means."""
        if found := _DATASTORE.fullmatch(uri):
            return CONTAINER, found[1]
        if found := _JOB.fullmatch(uri):
            job, _, step = found[1].partition("_")
            return CONTAINER, f"{output_path(job, step, found[2])}/{found[3] or ''}"
        model = self._assets.asset(uri, "models")
        if model is not None:
            return self._place(model["modelUri"])
        parts = urlsplit(uri)
        if parts.scheme in ("abfss", "abfs") and parts.username:
            return parts.username, parts.path
        if parts.scheme in ("http", "https"):
            container, _, path = parts.path.removeprefix(f"/{LAKE_ACCOUNT}").strip("/").partition("/")
            return container, path
        raise StepFailed(f"the address {uri} is not understood here")

    async def _store_log(self, child: str, log: Path) -> None:
        name = f"ExperimentRun/dcid.{child}/user_logs/std_log.txt"
        await self._files.write(CONTAINER, name, log.read_bytes())


def output_path(job: str, step: str, output: str) -> str:
    """Where an output lies in the container."""
    return f"azureml/{job}/{step}/{output}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-_TAIL:])


def _python_pin(conda: Path) -> str | None:
    """The minor version that a conda file asks for, such as `3.11`."""
    document = yaml.safe_load(conda.read_text(encoding="utf-8")) or {}
    for entry in document.get("dependencies") or []:
        found = re.fullmatch(r"python\s*={1,2}\s*(\d+\.\d+).*", entry) if isinstance(entry, str) else None
        if found:
            return found[1]
    return None
