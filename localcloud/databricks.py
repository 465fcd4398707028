"""Databricks: the Jobs API 2.2 over jobs that really run, and the workspace files that they run."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud import databricks_runs as runs
from localcloud.cloud import Cloud
from localcloud.databricks_tasks import Tasks
from localcloud.databricks_workspace import Workspace, refusal
from localcloud.documents import Document, Documents
from localcloud.environments import Environments
from localcloud.processes import Processes

RUNTIME = Path(__file__).with_name("databricks_runtime.txt")
_STEP = 100  # run ids between two runs leave room for the ids of their tasks


class Databricks:
    """One workspace.  Jobs, runs and idempotency tokens outlive a restart; a run that was active then has failed."""

    def __init__(
        self, cloud: Cloud, environments: Environments, processes: Processes, *, runtime: Path = RUNTIME
    ) -> None:
        home = cloud.home / "databricks"
        self._cloud = cloud
        self._jobs = Documents(home / "jobs")
        self._runs = Documents(home / "runs")
        self._workspace = Workspace(home / "workspace")
        self._tasks = Tasks(cloud, environments, processes, self._workspace, runtime)
        self._working: dict[int, asyncio.Task[None]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Everything that databricks-sdk calls here; all but the well-known document ask for a bearer token."""
        api = "/api/2.2/jobs"
        guarded = [
            web.post(f"{api}/create", self._create),
            web.post(f"{api}/reset", self._reset),
            web.post(f"{api}/update", self._update),
            web.post(f"{api}/delete", self._delete),
            web.get(f"{api}/get", self._get),
            web.get(f"{api}/list", self._list),
            web.post(f"{api}/run-now", self._run_now),
            web.get(f"{api}/runs/get", self._get_run),
            web.get(f"{api}/runs/get-output", self._get_output),
            web.get(f"{api}/runs/list", self._list_runs),
            web.post(f"{api}/runs/cancel", self._cancel),
            web.post(f"{api}/runs/delete", self._delete_run),
            *self._workspace.routes(),
        ]
        return [
            web.get("/.well-known/databricks-config", self._well_known),
            *(web.route(route.method, route.path, _with_token(route.handler)) for route in guarded),
        ]

    async def start(self) -> None:
        """Take up what a previous process left: active runs have failed, queued ones go on."""
        left = [run for run in self._runs if runs.active(run)]
        for run in left:
            if run["state"] != "QUEUED":
                self._end(run, "INTERNAL_ERROR", "The local cloud was restarted while the run was active.")
        for job in list(self._jobs):
            self._start_queued(job)

    async def close(self) -> None:
        """Stop following the runs; their processes are ended by whoever owns `Processes`."""
        for task in list(self._working.values()):
            task.cancel()
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    # ---- jobs

    async def _create(self, request: web.Request) -> web.Response:
        settings = _checked(await request.json())
        job_id = max((job["job_id"] for job in self._jobs), default=1000) + 1
        job = {
            "job_id": job_id,
            "creator_user_name": "local",
            "created_time": runs.milliseconds(),
            "settings": settings,
        }
        self._jobs.put(str(job_id), job)
        self._cloud.record("databricks", "job_created", job_id=job_id, name=settings.get("name"))
        return web.json_response({"job_id": job_id})

    async def _reset(self, request: web.Request) -> web.Response:
        body = await request.json()
        return self._changed(self._job(body["job_id"]), body["new_settings"])

    async def _update(self, request: web.Request) -> web.Response:
        body = await request.json()
        job = self._job(body["job_id"])
        kept = {name: value for name, value in job["settings"].items() if name not in body.get("fields_to_remove", [])}
        return self._changed(job, kept | body.get("new_settings", {}))

    def _changed(self, job: Document, settings: Document) -> web.Response:
        self._jobs.put(str(job["job_id"]), job | {"settings": _checked(settings)})
        self._cloud.record("databricks", "job_changed", job_id=job["job_id"], name=settings.get("name"))
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        job_id = (await request.json())["job_id"]
        self._job(job_id)
        self._jobs.delete(str(job_id))
        return web.json_response({})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._job(request.query["job_id"]))

    async def _list(self, request: web.Request) -> web.Response:
        name = request.query.get("name")
        found = [job for job in self._jobs if name in (None, job["settings"].get("name"))]
        return web.json_response(_page(request, "jobs", sorted(found, key=lambda job: -job["job_id"]), 100))

    def _job(self, job_id: Any) -> Document:
        job = self._jobs.get(str(job_id))
        if job is None:
            raise refusal("INVALID_PARAMETER_VALUE", f"Job {job_id} does not exist.")
        return job

    # ---- runs

    async def _run_now(self, request: web.Request) -> web.Response:
        body = await request.json()
        job, token = self._job(body["job_id"]), body.get("idempotency_token")
        known = self._with_idempotency_token(token)
        if known is not None:
            self._cloud.record("databricks", "run_joined", run_id=known["run_id"], token=token)
            return web.json_response({"run_id": known["run_id"], "number_in_job": known["number_in_job"]})
        run_id = max((run["run_id"] for run in self._runs), default=10_000) + _STEP
        number = 1 + sum(run["job_id"] == job["job_id"] for run in self._runs)
        place = runs.placement(job, sum(1 for _ in self._active(job["job_id"])))
        run = runs.new(run_id, number, job, body)
        self._put(run)
        parameters = {item["name"]: item["value"] for item in run["parameters"]}
        facts = {"run_id": run_id, "job_id": job["job_id"], "token": token, "parameters": parameters}
        self._cloud.record("databricks", "run_started", **facts, placement=place)
        self._place(run, place)
        return web.json_response({"run_id": run_id, "number_in_job": number})

    def _place(self, run: Document, place: str) -> None:
        if place == "start":
            self._working[run["run_id"]] = asyncio.create_task(self._work(run["run_id"]))
        elif place == "queue":
            self._put(run | {"state": "QUEUED"})
        else:
            self._end(run, "MAX_CONCURRENT_RUNS_EXCEEDED", "Skipped: the job is at its limit of concurrent runs.")

    def _with_idempotency_token(self, token: str | None) -> Document | None:
        """The run that `token` belongs to, in whatever state; an error when that run was deleted."""
        if not token:
            return None
        if len(token) > 64:
            raise refusal("INVALID_PARAMETER_VALUE", "idempotency_token must have at most 64 characters.")
        known = next((run for run in self._runs if run["token"] == token), None)
        if known is not None and known["deleted"]:
            raise refusal("INVALID_PARAMETER_VALUE", f"The run of idempotency token {token} has been deleted.")
        return known

    async def _get_run(self, request: web.Request) -> web.Response:
        return web.json_response(runs.view(self._run(request.query["run_id"]), self._cloud.url("databricks")))

    async def _get_output(self, request: web.Request) -> web.Response:
        wanted = int(request.query["run_id"])
        if str(wanted) in self._runs:
            advice = "Please retrieve the output of each individual task run instead."
            text = f"Retrieving the output of runs with multiple tasks is not supported. {advice}"
            raise refusal("INVALID_PARAMETER_VALUE", text)
        run = self._run(wanted - (wanted - 10_000) % _STEP)
        logs = self._tasks.log(run["run_id"], wanted)
        answer = {"metadata": runs.view(run, self._cloud.url("databricks")), "logs": logs, "logs_truncated": False}
        if run["code"] not in (None, "SUCCESS"):
            answer["error"] = run["message"]
        return web.json_response(answer)

    async def _list_runs(self, request: web.Request) -> web.Response:
        query = request.query
        found = [run for run in self._runs if not run["deleted"]]
        if "job_id" in query:
            found = [run for run in found if run["job_id"] == int(query["job_id"])]
        if query.get("active_only") == "true":
            found = [run for run in found if runs.active(run)]
        if query.get("completed_only") == "true":
            found = [run for run in found if not runs.active(run)]
        views = [runs.view(run, self._cloud.url("databricks")) for run in found]
        if query.get("expand_tasks") != "true":
            views = [{name: value for name, value in view.items() if name != "tasks"} for view in views]
        return web.json_response(_page(request, "runs", sorted(views, key=lambda view: -view["run_id"]), 25))

    async def _cancel(self, request: web.Request) -> web.Response:
        run = self._run((await request.json())["run_id"])
        if runs.active(run):
            self._cloud.record("databricks", "cancel", run_id=run["run_id"])
            task = self._working.get(run["run_id"])
            if task is None:
                self._end(run, "USER_CANCELED", "Run cancelled.")
            else:
                self._put(run | {"state": "TERMINATING"})
                task.cancel()
        return web.json_response({})

    async def _delete_run(self, request: web.Request) -> web.Response:
        run = self._run((await request.json())["run_id"])
        if runs.active(run):
            raise refusal("INVALID_STATE", f"Run {run['run_id']} is active: cancel it before deleting it.")
        self._put(run | {"deleted": True})
        return web.json_response({})

    def _run(self, run_id: Any) -> Document:
        run = self._runs.get(str(run_id))
        if run is None or run["deleted"]:
            raise refusal("INVALID_PARAMETER_VALUE", f"Run {run_id} does not exist.")
        return run

    def _active(self, job_id: int) -> Iterator[Document]:
        return (run for run in self._runs if run["job_id"] == job_id and runs.active(run) and run["state"] != "QUEUED")

    def _put(self, run: Document) -> Document:
        return self._runs.put(str(run["run_id"]), run)

    async def _work(self, run_id: int) -> None:
        """Take one run from its start to its end."""
        run = self._put(self._run(run_id) | {"state": "RUNNING", "started": runs.milliseconds()})
        code, message = "INTERNAL_ERROR", "The local cloud was stopped while the run was active."
        try:
            async with asyncio.timeout(run["timeout_seconds"] or None):
                code, message = await self._tasks.work(run)
        except TimeoutError:
            code, message = "TIMED_OUT", f"Run exceeded its timeout of {run['timeout_seconds']} seconds."
        except asyncio.CancelledError:
            if self._run(run_id)["state"] == "TERMINATING":
                code, message = "USER_CANCELED", "Run cancelled."
        finally:
            self._working.pop(run_id, None)
            self._end(self._run(run_id), code, message)

    def _end(self, run: Document, code: str, message: str) -> None:
        over = self._put(runs.ended(run, code, message))
        result = runs.ENDS[code][1]
        self._cloud.record("databricks", "run_ended", run_id=run["run_id"], result_state=result, message=message)
        job = self._jobs.get(str(over["job_id"]))
        if job is not None and code != "INTERNAL_ERROR":
            self._start_queued(job)

    def _start_queued(self, job: Document) -> None:
        queued = [run for run in self._runs if run["job_id"] == job["job_id"] and run["state"] == "QUEUED"]
        for run in sorted(queued, key=lambda run: run["run_id"]):
            if runs.placement(job, sum(1 for _ in self._active(job["job_id"]))) != "start":
                return
            self._place(self._put(run | {"state": "PENDING"}), "start")

    async def _well_known(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"oidc_endpoint": f"{self._cloud.url('databricks')}/oidc", "cloud": "AZURE", "workspace_id": "1"}
        )


def _with_token(handler: Any) -> Any:
    async def checked(request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token.strip():
            raise refusal("UNAUTHENTICATED", "Credential was not sent or was of an unsupported type.", 401)
        try:
            return await handler(request)
        except (KeyError, ValueError) as error:
            raise refusal("INVALID_PARAMETER_VALUE", f"Malformed request: {error!r}") from error

    return checked


def _checked(settings: Document) -> Document:
    """Job settings with every task being of the one kind that runs here."""
    for task in settings.setdefault("tasks", []):
        task.setdefault("task_key", f"task_{secrets.token_hex(3)}")
        if "spark_python_task" not in task:
            message = f"Task {task['task_key']}: only spark_python_task runs in the local cloud."
            raise refusal("INVALID_PARAMETER_VALUE", message)
    with contextlib.suppress(KeyError):
        settings["max_concurrent_runs"] = int(settings["max_concurrent_runs"])
    return {"format": "MULTI_TASK", **settings}


def _page(request: web.Request, name: str, rows: list[Document], most: int) -> Document:
    limit = min(int(request.query.get("limit") or 20), most)
    offset = int(request.query.get("page_token") or 0)
    answer: Document = {name: rows[offset : offset + limit], "has_more": len(rows) > offset + limit}
    if answer["has_more"]:
        answer["next_page_token"] = str(offset + limit)
    return answer
