"""The Databricks service, through databricks-sdk."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from aiohttp import web
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import DatabricksError
from databricks.sdk.service import jobs
from databricks.sdk.service.workspace import ImportFormat

from localcloud import ports
from localcloud.cloud import Cloud
from localcloud.databricks import Databricks
from localcloud.environments import Environments
from localcloud.processes import Processes
from tests.localcloud.running import Stop, eventually, running

PROGRAM = """
import sys, time
print("arguments", sys.argv[1:])
if "slow" in sys.argv:
    time.sleep(30)
if "bad" in sys.argv:
    raise SystemExit("the table is not there")
"""
Service = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    return Cloud("databricks", ports.choose({}), tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="module")
def service(cloud: Cloud) -> Service:
    """`with service():` serves the workspace, each time as a new process would."""
    runtime = cloud.root / "runtime.txt"
    runtime.write_text("# nothing but Python\n")

    async def start() -> Stop:
        processes = Processes(cloud.home)
        databricks = Databricks(cloud, Environments(cloud.root / ".envs"), processes, runtime=runtime)
        app = web.Application()
        app.add_routes(databricks.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", cloud.ports["databricks"]).start()
        await databricks.start()

        async def stop() -> None:
            await runner.cleanup()
            await databricks.close()
            await processes.close()

        return stop

    return lambda: running(start)


@pytest.fixture
def workspace(cloud: Cloud, service: Service) -> Iterator[WorkspaceClient]:
    with service():
        yield client(cloud)


def client(cloud: Cloud) -> WorkspaceClient:
    return WorkspaceClient(config=Config(host=cloud.url("databricks"), token="local", retry_timeout_seconds=5))


def job(workspace: WorkspaceClient, **settings: object) -> int:
    workspace.workspace.mkdirs("/Shared/bundle")
    content = textwrap.dedent(PROGRAM).encode()
    workspace.workspace.upload("/Shared/bundle/curate.py", content, format=ImportFormat.RAW, overwrite=True)
    task = jobs.SparkPythonTask(
        python_file="/Workspace/Shared/bundle/curate.py",
        parameters=["--table", "{{job.parameters.table}}", "{{job.parameters.mode}}", "--run", "{{job.run_id}}"],
    )
    given = {"queue": jobs.QueueSettings(enabled=True), "max_concurrent_runs": 1} | settings
    parameters = [jobs.JobParameterDefinition("table", "none"), jobs.JobParameterDefinition("mode", "quick")]
    created = workspace.jobs.create(
        name="curate", tasks=[jobs.Task(task_key="curate", spark_python_task=task)], parameters=parameters, **given
    )
    assert created.job_id
    return created.job_id


def start(workspace: WorkspaceClient, job_id: int, token: str | None = None, **parameters: str) -> int:
    answer = workspace.jobs.run_now(job_id, idempotency_token=token, job_parameters=parameters).response
    assert answer.run_id
    return answer.run_id


def ended(workspace: WorkspaceClient, run_id: int) -> jobs.Run:
    def over() -> jobs.Run | None:
        run = workspace.jobs.get_run(run_id)
        return run if run.status and run.status.state == jobs.RunLifecycleStateV2State.TERMINATED else None

    return eventually(over)


def code(run: jobs.Run) -> str:
    assert run.status
    assert run.status.termination_details
    assert run.status.termination_details.code
    return run.status.termination_details.code.value


def test_a_job_runs_its_file_with_its_parameters(workspace: WorkspaceClient) -> None:
    job_id = job(workspace)
    run = ended(workspace, start(workspace, job_id, table="demand"))
    assert code(run) == "SUCCESS"
    assert run.state
    assert run.state.result_state == jobs.RunResultState.SUCCESS
    assert run.tasks
    assert {item.name: item.value for item in run.job_parameters or []} == {"table": "demand", "mode": "quick"}
    output = workspace.jobs.get_run_output(run.tasks[0].run_id or 0)
    assert f"arguments ['--table', 'demand', 'quick', '--run', '{run.run_id}']" in (output.logs or "")


def test_the_same_token_is_the_same_run_even_when_that_failed(workspace: WorkspaceClient) -> None:
    job_id = job(workspace)
    first = start(workspace, job_id, "token-1", mode="bad")
    run = ended(workspace, first)
    assert code(run) == "RUN_EXECUTION_ERROR"
    assert run.state
    assert "the table is not there" in (run.state.state_message or "")
    assert start(workspace, job_id, "token-1", mode="quick") == first


def test_the_token_of_a_deleted_run_is_refused(workspace: WorkspaceClient) -> None:
    job_id = job(workspace)
    run_id = start(workspace, job_id, "token-2")
    ended(workspace, run_id)
    workspace.jobs.delete_run(run_id)
    with pytest.raises(DatabricksError, match="deleted"):
        start(workspace, job_id, "token-2")
    with pytest.raises(DatabricksError, match="does not exist"):
        workspace.jobs.get_run(run_id)


def test_a_second_run_queues_and_starts_when_the_first_is_canceled(workspace: WorkspaceClient) -> None:
    job_id = job(workspace)
    slow, next_one = start(workspace, job_id, mode="slow"), start(workspace, job_id)
    queued = workspace.jobs.get_run(next_one)
    assert queued.status
    assert queued.status.state == jobs.RunLifecycleStateV2State.QUEUED
    assert [run.run_id for run in workspace.jobs.list_runs(job_id=job_id, active_only=True)] == [next_one, slow]
    workspace.jobs.cancel_run(slow)
    assert code(ended(workspace, slow)) == "USER_CANCELED"
    assert code(ended(workspace, next_one)) == "SUCCESS"


def test_without_a_queue_a_run_over_the_limit_is_skipped(workspace: WorkspaceClient) -> None:
    job_id = job(workspace, queue=jobs.QueueSettings(enabled=False))
    slow, skipped = start(workspace, job_id, mode="slow"), start(workspace, job_id)
    run = workspace.jobs.get_run(skipped)
    assert run.state
    assert run.state.life_cycle_state == jobs.RunLifeCycleState.SKIPPED
    assert code(run) == "MAX_CONCURRENT_RUNS_EXCEEDED"
    workspace.jobs.cancel_run(slow)
    ended(workspace, slow)


def test_a_run_over_its_time_is_ended(workspace: WorkspaceClient) -> None:
    run = ended(workspace, start(workspace, job(workspace, timeout_seconds=1), mode="slow"))
    assert run.state
    assert run.state.result_state == jobs.RunResultState.TIMEDOUT
    assert code(run) == "CANCELED"


def test_lists_are_paged_and_jobs_are_found_by_name(workspace: WorkspaceClient) -> None:
    job_id = job(workspace, max_concurrent_runs=3)
    started = [start(workspace, job_id) for _ in range(3)]
    assert [run.run_id for run in workspace.jobs.list_runs(job_id=job_id, limit=2)] == started[::-1]
    assert job_id in [found.job_id for found in workspace.jobs.list(name="curate")]
    workspace.jobs.update(job_id, new_settings=jobs.JobSettings(name="renamed"))
    settings = workspace.jobs.get(job_id).settings
    assert settings
    assert settings.name == "renamed"
    assert settings.tasks
    for run_id in started:
        ended(workspace, run_id)


def test_a_restart_remembers_tokens_and_fails_what_was_active(cloud: Cloud, service: Service) -> None:
    with service():
        workspace = client(cloud)
        job_id = job(workspace)
        done, active = start(workspace, job_id, "kept"), 0
        ended(workspace, done)
        active = start(workspace, job_id, mode="slow")
    with service():
        workspace = client(cloud)
        assert start(workspace, job_id, "kept") == done
        run = workspace.jobs.get_run(active)
        assert code(run) == "INTERNAL_ERROR"
        assert run.state
        assert run.state.life_cycle_state == jobs.RunLifeCycleState.INTERNAL_ERROR


def test_a_call_without_a_token_is_refused(cloud: Cloud, workspace: WorkspaceClient) -> None:
    anonymous = WorkspaceClient(config=Config(host=cloud.url("databricks"), token="x", retry_timeout_seconds=5))
    anonymous.config._header_factory = dict
    with pytest.raises(DatabricksError, match="Credential was not sent"):
        list(anonymous.jobs.list())


def test_the_service_keeps_a_record(cloud: Cloud) -> None:
    started = cloud.records("databricks", "run_started")
    over = {row["run_id"] for row in cloud.records("databricks", "run_ended")}
    assert {row["run_id"] for row in started} == over
    assert [row["token"] for row in cloud.records("databricks", "run_joined")] == ["token-1", "kept"]
    assert Path(cloud.home, "databricks", "logs").is_dir()
