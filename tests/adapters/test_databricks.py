"""A Databricks workspace through databricks-sdk, against the local cloud's Jobs API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from databricks.sdk.service import jobs
from databricks.sdk.service.workspace import ImportFormat

from localcloud import ports
from localcloud.cloud import Cloud
from localcloud.databricks import Databricks
from localcloud.environments import Environments
from localcloud.faults import Faults
from localcloud.processes import Processes
from shared import patience
from shared.actions.databricks_job import DatabricksJob
from shared.adapters.databricks import Workspace
from shared.backends import DatabricksRun
from shared.errors import Gone, Refused, Unavailable
from shared.phases import Phase
from tests.adapters.flight import cancelled_in_flight, fault, faults_left, flying
from tests.localcloud.running import Stop, eventually, running

PROGRAM = """
import sys, time
if "slow" in sys.argv:
    time.sleep(30)
if "bad" in sys.argv:
    raise SystemExit("the table is not there")
"""


class Identity:
    """A credential that needs no identity service."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        assert scopes == ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default",)
        return AccessToken("a token", int(time.time()) + 3600)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    return Cloud("databricks", ports.choose({}), tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="module")
def workspace(cloud: Cloud) -> Iterator[Workspace]:
    runtime = cloud.root / "runtime.txt"
    runtime.write_text("# nothing but Python\n")

    async def start() -> Stop:
        processes = Processes(cloud.home)
        service = Databricks(cloud, Environments(cloud.root / ".envs"), processes, runtime=runtime)
        faults = Faults()
        app = web.Application(middlewares=[faults.middleware])
        app.add_routes([*service.routes(), *faults.routes()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", cloud.ports["databricks"]).start()
        await service.start()

        async def stop() -> None:
            await runner.cleanup()
            await service.close()
            await processes.close()

        return stop

    with running(start):
        workspace = Workspace(cloud.url("databricks"), Identity(), seconds=5)
        publish(workspace)
        yield workspace


def publish(workspace: Workspace) -> None:
    client = workspace._client
    client.workspace.mkdirs("/Shared/bundle")
    client.workspace.upload("/Shared/bundle/x.py", PROGRAM.encode(), format=ImportFormat.RAW, overwrite=True)
    file = jobs.SparkPythonTask(python_file="/Workspace/Shared/bundle/x.py", parameters=["{{job.parameters.mode}}"])
    for name in ("curate", "twice", "twice"):
        client.jobs.create(
            name=name,
            tasks=[jobs.Task(task_key="x", spark_python_task=file)],
            parameters=[jobs.JobParameterDefinition("mode", "quick")],
        )


def ended(workspace: Workspace, run_id: int) -> DatabricksRun:
    def over() -> DatabricksRun | None:
        found = workspace.run(run_id)
        return found[0] if found and found[0].ended else None

    return eventually(over)


def test_a_job_is_found_by_its_name_and_only_when_there_is_one(workspace: Workspace) -> None:
    assert workspace.job("curate") > 0
    with pytest.raises(Refused, match="there is no Databricks job nothing"):
        workspace.job("nothing")
    with pytest.raises(Refused, match="there are 2 Databricks jobs named twice"):
        workspace.job("twice")


def test_one_token_is_one_databricks_run(workspace: Workspace) -> None:
    job = workspace.job("curate")
    run = workspace.run_now(job, "token-1", {"mode": "quick"})
    assert workspace.run_now(job, "token-1", {"mode": "quick"}) == run
    assert ended(workspace, run).ended == "SUCCESS"
    found = workspace.run(run)
    assert found
    assert str(run) in str(found[1])


def test_a_failed_databricks_run_says_why(workspace: Workspace) -> None:
    seen = ended(workspace, workspace.run_now(workspace.job("curate"), "token-2", {"mode": "bad"}))
    assert seen.ended == "RUN_EXECUTION_ERROR"
    assert "the table is not there" in seen.message


def test_a_run_over_the_limit_of_its_job_is_skipped_and_a_cancelled_one_is_cancelled(workspace: Workspace) -> None:
    job = workspace.job("curate")
    slow = workspace.run_now(job, "token-3", {"mode": "slow"})
    assert ended(workspace, workspace.run_now(job, "token-4", {})).ended == "MAX_CONCURRENT_RUNS_EXCEEDED"
    found = workspace.run(slow)
    assert found
    assert found[0].ended is None
    workspace.cancel(slow)
    assert ended(workspace, slow).ended == "USER_CANCELED"
    workspace.cancel(slow)


def test_a_deleted_databricks_run_is_none_and_its_token_is_refused(workspace: Workspace) -> None:
    job = workspace.job("curate")
    run = workspace.run_now(job, "token-5", {})
    ended(workspace, run)
    workspace._client.jobs.delete_run(run)
    assert workspace.run(run) is None
    workspace.cancel(run)
    with pytest.raises(Gone, match="token-5 was deleted"):
        workspace.run_now(job, "token-5", {})


def test_a_workspace_that_does_not_answer_is_unavailable_soon() -> None:
    dead = Workspace(f"http://127.0.0.1:{ports.choose({})['databricks']}", Identity(), seconds=1)
    with pytest.raises(Unavailable):
        dead.job("curate")
    with pytest.raises(Unavailable):
        dead.run_now(1, "token", {})


START = {"method": "POST", "path": "run-now$"}


def started(cloud: Cloud, token: str, action: str = "run_started") -> int:
    return [row["token"] for row in cloud.records("databricks", action)].count(token)


def test_an_answer_that_was_lost_is_seen_at_once_and_the_same_token_adopts_the_run(
    workspace: Workspace, cloud: Cloud
) -> None:
    job = workspace.job("curate")
    fault(cloud, "databricks", START | {"lose_response": True})
    with pytest.raises(Unavailable, match="could not be reached"):
        workspace.run_now(job, "token-6", {})
    assert (started(cloud, "token-6"), started(cloud, "token-6", "run_joined")) == (1, 0)
    workspace.run_now(job, "token-6", {})
    assert (started(cloud, "token-6"), started(cloud, "token-6", "run_joined")) == (1, 1)


@pytest.mark.parametrize(("status", "wish"), [(429, 40), (503, 7)])
def test_the_client_does_not_sleep_over_a_throttled_call_but_says_for_how_long(
    workspace: Workspace, cloud: Cloud, status: int, wish: int
) -> None:
    job = workspace.job("curate")
    fault(cloud, "databricks", START | {"status": status, "retry_after": wish})
    with pytest.raises(Unavailable) as caught:
        workspace.run_now(job, f"token-{status}", {})
    assert caught.value.retry_after == wish
    assert started(cloud, f"token-{status}") == 0


def test_a_server_that_fails_is_unavailable(workspace: Workspace, cloud: Cloud) -> None:
    fault(cloud, "databricks", {"path": "runs/get", "status": 500})
    with pytest.raises(Unavailable):
        workspace.run(1)


def test_no_call_begins_that_could_outlive_its_step(workspace: Workspace, cloud: Cloud) -> None:
    job = workspace.job("curate")
    with patience.until(patience.MARGIN + 9), pytest.raises(Unavailable, match="next lease"):
        workspace.run_now(job, "token-7", {})
    assert started(cloud, "token-7") == 0


class NoLake:
    def version_stamped(self, uri: str, user_metadata: str) -> int | None:
        raise AssertionError(f"nobody asks for {user_metadata} in {uri}")


LATE = 3.0


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(
            [START | {"lose_response": True}, START | {"status": 429}], id="the answer is lost after the effect"
        ),
        pytest.param([START | {"delay": LATE}], id="the effect comes after the client has given up"),
    ],
)
def test_a_cancel_while_the_start_is_in_flight_leaves_no_databricks_run_alive(
    workspace: Workspace, cloud: Cloud, rules: list[dict[str, Any]]
) -> None:
    hasty = Workspace(cloud.url("databricks"), Identity(), seconds=1)
    hasty.job("curate")
    before = len(cloud.records("databricks", "run_started"))
    options = {"job": "curate", "parameters": {"mode": "slow"}}
    with flying("databricks_job", lambda clock: DatabricksJob(hasty, NoLake(), clock), options) as flight:
        fault(cloud, "databricks", *rules)
        run = cancelled_in_flight(flight, lambda: faults_left(cloud, "databricks") < len(rules))
    time.sleep(LATE)
    assert run.phase is Phase.CANCELLED, run.history
    assert len(cloud.records("databricks", "run_started")) == before + 1
    assert started(cloud, run.request["token"], "run_joined") >= 1
    assert list(workspace._client.jobs.list_runs(active_only=True)) == []
