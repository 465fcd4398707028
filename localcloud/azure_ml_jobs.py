"""The jobs of the workspace: submitted by name, run to their end, canceled, told."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from localcloud import arm
from localcloud import azure_ml_pipeline as pipelines
from localcloud.azure_ml_assets import Assets
from localcloud.azure_ml_job_store import ENDED, JobStore, view
from localcloud.azure_ml_steps import StepFailed, Steps
from localcloud.cloud import WORKSPACE_ID, Cloud
from localcloud.documents import Document
from localcloud.environments import EnvironmentFailed

_FIXED = ("jobType", "jobs", "inputs", "outputs", "settings", "componentId", "experimentName")
_log = logging.getLogger(__name__)


class Jobs:
    """Pipeline jobs.  A job's name is its identity: the same job again is the job that exists."""

    def __init__(self, cloud: Cloud, store: JobStore, assets: Assets, steps: Steps) -> None:
        self._cloud = cloud
        self._store = store
        self._assets = assets
        self._steps = steps
        self._operations = arm.Operations(cloud, "Microsoft.MachineLearningServices.Jobs")
        self._working: dict[str, asyncio.Task[None]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Jobs, and what the SDK reads of them in the run history."""
        jobs = f"{WORKSPACE_ID}/jobs"
        runs = f"/history/v1.0{WORKSPACE_ID}/runs/{{job}}"
        return [
            web.get(jobs, self._list),
            web.put(f"{jobs}/{{job}}", self._put),
            web.get(f"{jobs}/{{job}}", self._get),
            web.post(f"{jobs}/{{job}}/cancel", self._cancel),
            web.get(f"{runs}/children", self._history_children),
            web.get(f"{runs}/details", self._history_details),
            *self._operations.routes(),
        ]

    async def start(self) -> None:
        """Jobs that were active when the services ended have failed, and their steps with them."""
        reason = "The local cloud was restarted while the job was active."
        for job in self._store.roots():
            for one in [*self._store.children(job["name"]), job]:
                if one["status"] not in ENDED:
                    await self._store.move(one["name"], "Failed", error=reason)

    async def close(self) -> None:
        """Stop the jobs under way; they stay active on disk, and have failed at the next start."""
        tasks = list(self._working.values())
        self._working.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._operations.close()

    async def _put(self, request: web.Request) -> web.Response:
        name, properties = request.match_info["job"], (await request.json())["properties"]
        known = self._store.get(name)
        if known is not None:
            return self._again(known, properties)
        if properties.get("jobType") != "Pipeline":
            raise arm.fault(400, "UserError", f"Only pipeline jobs run here, not {properties.get('jobType')}.")
        try:
            steps = pipelines.steps(properties, self._component)
        except pipelines.Invalid as error:
            raise arm.fault(400, "UserError", f"The pipeline job is not valid: {error}") from error
        job = self._store.create(name, properties)
        self._working[name] = asyncio.create_task(self._work(job, steps))
        return web.json_response(view(job, self._cloud.url("arm")), status=201)

    def _again(self, known: Document, properties: Document) -> web.Response:
        """The answer to a job whose name is taken: itself when it is the same, else what Azure ML says."""
        changed = [field for field in _FIXED if known["properties"].get(field) != properties.get(field)]
        if changed:
            names = ", ".join(field[0].upper() + field[1:] for field in changed)
            message = (
                "A job with this name already exists. If you are trying to create a new job, use a different name. "
                f"If you are trying to update an existing job, the existing job's {names} cannot be changed. "
                "Only description, tags, displayName, properties, and isArchived can be updated."
            )
            inner = {"code": "Immutable", "innererror": {"code": "JobPropertyImmutable"}}
            raise arm.fault(400, "UserError", message, innererror=inner)
        merged = known["properties"] | properties
        merged["tags"] = (known["properties"].get("tags") or {}) | (properties.get("tags") or {})
        job = self._store.change(known["name"], properties=merged)
        self._cloud.record("azure_ml", "job_joined", name=known["name"])
        return web.json_response(view(job, self._cloud.url("arm")))

    def _component(self, identity: str) -> Document | None:
        asset = self._assets.asset(identity, "components")
        return None if asset is None else asset["componentSpec"]

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(view(self._known(request), self._cloud.url("arm")))

    async def _list(self, request: web.Request) -> web.Response:
        jobs = self._store.roots()
        if tag := request.query.get("tag"):
            name, given, value = tag.partition("=")
            tags = [(job, job["properties"].get("tags") or {}) for job in jobs]
            jobs = [job for job, own in tags if name in own and (not given or own[name] == value)]
        return web.json_response({"value": [view(job, self._cloud.url("arm")) for job in jobs]})

    async def _cancel(self, request: web.Request) -> web.Response:
        name = self._known(request)["name"]
        self._cloud.record("azure_ml", "cancel", name=name)
        _, headers = self._operations.begin(self._end(name))
        return web.Response(status=202, headers=headers)

    async def _end(self, name: str) -> None:
        task = self._working.get(name)
        if task is not None:
            self._store.change(name, status="CancelRequested")
            task.cancel()
            await asyncio.wait([task])

    def _known(self, request: web.Request) -> Document:
        job = self._store.get(request.match_info["job"])
        if job is None:
            raise arm.missing("job", request.match_info["job"])
        return job

    async def _history_children(self, request: web.Request) -> web.Response:
        children = self._store.children(self._known(request)["name"])
        return web.json_response({"value": [_history(child) for child in children]})

    async def _history_details(self, request: web.Request) -> web.Response:
        return web.json_response(_history(self._known(request)))

    # ---- execution

    async def _work(self, job: Document, steps: list[pipelines.Step]) -> None:
        """Take one pipeline job from its start to its end."""
        name = job["name"]
        status, error = "Failed", ""
        try:
            await self._store.move(name, "Running")
            error = await self._run_steps(job, steps)
            status = "Failed" if error else "Completed"
        except asyncio.CancelledError:
            if name not in self._working:
                return
            status = "Canceled"
        except Exception as broken:
            _log.exception("the job %s broke", name)
            error = f"{type(broken).__name__}: {broken}"
        self._working.pop(name, None)
        await self._store.move(name, status, error=error)

    async def _run_steps(self, job: Document, steps: list[pipelines.Step]) -> str:
        """Run the steps in order; the error that fails the job, or nothing."""
        settings = job["properties"].get("settings") or {}
        go_on = str(settings.get("continue_on_step_failure", False)).lower() == "true"
        failed: set[str] = set()
        first = ""
        for step in steps:
            if (first and not go_on) or step.after & failed:
                failed.add(step.name)
                continue
            error = await self._run_step(job, step)
            if error:
                failed.add(step.name)
                first = first or f"Step '{step.name}' failed with {error}"
        return first

    async def _run_step(self, job: Document, step: pipelines.Step) -> str:
        child = f"{job['name']}_{step.name}"
        properties = {
            "jobType": "Command",
            "command": step.component.get("command"),
            "environmentId": step.component.get("environment"),
            "computeId": job["properties"].get("computeId"),
            "experimentName": job["experiment"],
            "inputs": {},
            "outputs": {},
        }
        self._store.create(child, properties, parent=job["name"], step=step.name)
        await self._store.move(child, "Running")
        try:
            facts = await self._steps.run(job["name"], child, step)
        except (StepFailed, EnvironmentFailed, pipelines.Invalid) as error:
            await self._store.move(child, "Failed", error=str(error))
            return str(error)
        except asyncio.CancelledError:
            if job["name"] in self._working:
                await self._store.move(child, "Canceled")
            raise
        await self._store.move(child, "Completed", **facts)
        return ""


def _history(job: Document) -> Document:
    """A job as the run history tells it."""
    error = {"error": {"code": "UserError", "message": job["error"]}} if job["error"] else None
    return {
        "runId": job["name"],
        "displayName": job["step"] or job["name"],
        "status": job["status"],
        "parentRunId": job["parent"],
        "startTimeUtc": job["started"],
        "endTimeUtc": job["ended"],
        "error": error,
        "logFiles": {},
    }
