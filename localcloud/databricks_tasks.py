"""Runs the tasks of a Databricks run as processes in the environment of the runtime."""

from __future__ import annotations

import os
from pathlib import Path

from localcloud import databricks_runs as runs
from localcloud.cloud import Cloud
from localcloud.databricks_workspace import Workspace
from localcloud.documents import Document
from localcloud.environments import Environments, pins
from localcloud.processes import Processes

_TAIL = 2000


class Tasks:
    """The cluster: one Python environment, one process a task."""

    def __init__(
        self, cloud: Cloud, environments: Environments, processes: Processes, workspace: Workspace, runtime: Path
    ) -> None:
        self._cloud = cloud
        self._environments = environments
        self._processes = processes
        self._workspace = workspace
        self._runtime = runtime

    async def work(self, run: Document) -> tuple[str, str]:
        """Run all tasks one after the other; the termination code and message of the run.

        A cancellation kills the task's process group before it goes on.
        """
        python = await self._environments.python(pins(self._runtime), label="databricks")
        for task in run["tasks"]:
            file = self._workspace.file(task["spark_python_task"]["python_file"])
            if not file.is_file():
                return "RUN_EXECUTION_ERROR", f"Cannot read the python file {task['spark_python_task']['python_file']}."
            status = await self._execute(run, task, python, file)
            if status:
                tail = self.log(run["run_id"], task["run_id"])[-_TAIL:]
                return "RUN_EXECUTION_ERROR", f"Task {task['task_key']} failed with exit code {status}:\n{tail}"
        return "SUCCESS", ""

    def log(self, run_id: int, task_run_id: int) -> str:
        """What the task wrote to its standard streams."""
        path = self._log(run_id, task_run_id)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    async def _execute(self, run: Document, task: Document, python: Path, file: Path) -> int:
        environment = self._cloud.workload_environment() | {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": "",
        }
        argv = [str(python), str(file), *runs.arguments(run, task)]
        name = f"databricks-{run['run_id']}-{task['task_key']}"
        log = self._log(run["run_id"], task["run_id"])
        process = await self._processes.start(name, argv, env=environment, cwd=file.parent, log=log)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await self._processes.stop(process)

    def _log(self, run_id: int, task_run_id: int) -> Path:
        return self._cloud.home / "databricks" / "logs" / f"{run_id}-{task_run_id}.log"
