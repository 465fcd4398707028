"""The jobs of the workspace as they are kept, and the events that tell of their changes."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from localcloud import arm
from localcloud.cloud import WORKSPACE_ID, Cloud, now
from localcloud.documents import Document, Documents
from localcloud.event_grid import EventGrid

ENDED = ("Completed", "Failed", "Canceled")


class JobStore:
    """Pipeline jobs and their steps, which are jobs too."""

    def __init__(self, cloud: Cloud, grid: EventGrid) -> None:
        self._cloud = cloud
        self._grid = grid
        self._jobs = Documents(cloud.home / "azure_ml" / "jobs")

    def get(self, name: str) -> Document | None:
        """The job called `name`."""
        return self._jobs.get(name)

    def roots(self) -> list[Document]:
        """All jobs that are not steps, newest first."""
        return sorted((job for job in self._jobs if not job["parent"]), key=lambda job: job["created"], reverse=True)

    def children(self, name: str) -> list[Document]:
        """The steps of a job, in the order in which they began."""
        return sorted((job for job in self._jobs if job["parent"] == name), key=lambda job: job["created"])

    def create(self, name: str, properties: Document, *, parent: str | None = None, step: str = "") -> Document:
        """Keep a new job; it has not started."""
        experiment = properties.get("experimentName") or "Default"
        job = {
            "name": name,
            "properties": properties,
            "experiment": experiment,
            "status": "NotStarted",
            "created": now(),
            "started": None,
            "ended": None,
            "error": "",
            "parent": parent,
            "step": step,
            "facts": {},
        }
        self._jobs.put(name, job)
        if parent is None:
            self._cloud.record("azure_ml", "job_created", name=name, experiment=experiment)
        return job

    def change(self, name: str, **changes: Any) -> Document:
        """Keep changes of a job that are no change of its status."""
        job = self._jobs.get(name)
        assert job is not None
        return self._jobs.put(name, job | changes)

    async def move(self, name: str, status: str, *, error: str = "", **facts: Any) -> Document:
        """Give a job its new status, and tell the world of it."""
        job = self._jobs.get(name)
        assert job is not None
        changes: dict[str, Any] = {"status": status, "error": error, "facts": job["facts"] | facts}
        if status == "Running":
            changes["started"] = now()
        if status in ENDED:
            changes["ended"] = now()
        job = self._jobs.put(name, job | changes)
        self._note(job)
        await self._announce(job, "RunStatusChanged", {"runStatus": status})
        if status == "Completed":
            await self._announce(job, "RunCompleted", {})
        return job

    def _note(self, job: Document) -> None:
        """The record of a start or an end."""
        if job["parent"] is None:
            if job["status"] in ENDED:
                facts = {"name": job["name"], "status": job["status"], "error": job["error"]}
                self._cloud.record("azure_ml", "job_ended", **facts)
            return
        facts = {"job": job["parent"], "step": job["step"], "name": job["name"]}
        if job["status"] == "Running":
            self._cloud.record("azure_ml", "step_started", **facts)
        elif job["status"] in ENDED:
            self._cloud.record("azure_ml", "step_ended", **facts, status=job["status"], **job["facts"])

    async def _announce(self, job: Document, kind: str, more: Document) -> None:
        experiment = str(uuid.UUID(hashlib.md5(job["experiment"].encode(), usedforsecurity=False).hexdigest()))
        source = "azureml.StepRun" if job["parent"] else "azureml.PipelineRun"
        extra = {"azureml.runsource": source} | ({"azureml.pipelinerunid": job["parent"]} if job["parent"] else {})
        event = {
            "id": str(uuid.uuid4()),
            "subject": f"experiments/{experiment}/runs/{job['name']}",
            "eventType": f"Microsoft.MachineLearningServices.{kind}",
            "eventTime": now(),
            "dataVersion": "2",
            "data": {
                "experimentId": experiment,
                "experimentName": job["experiment"],
                "runId": job["name"],
                "runType": source,
                "runTags": job["properties"].get("tags") or {},
                "runProperties": (job["properties"].get("properties") or {}) | extra,
                **more,
            },
        }
        await self._grid.publish(WORKSPACE_ID, [event])


def view(job: Document, portal: str) -> Document:
    """A job as the resource provider answers it."""
    properties = dict(job["properties"])
    own = dict(properties.get("properties") or {})
    if job["parent"]:
        own |= {"azureml.parentRunId": job["parent"], "azureml.pipelinerunid": job["parent"]}
    if job["error"]:
        own["azureml.error"] = job["error"]
    studio = f"{portal}/runs/{job['name']}?wsid={WORKSPACE_ID}"
    properties |= {
        "status": job["status"],
        "properties": own,
        "tags": properties.get("tags") or {},
        "experimentName": job["experiment"],
        "displayName": properties.get("displayName") or job["step"] or job["name"],
        "isArchived": properties.get("isArchived", False),
        "parentJobName": job["parent"],
        "services": {
            "Tracking": {"jobServiceType": "Tracking", "endpoint": portal, "port": None, "status": None},
            "Studio": {"jobServiceType": "Studio", "endpoint": studio, "port": None, "status": None},
        },
    }
    return {
        "id": f"{WORKSPACE_ID}/jobs/{job['name']}",
        "name": job["name"],
        "type": "Microsoft.MachineLearningServices/workspaces/jobs",
        "properties": properties,
        "systemData": arm.system_data(job["created"]),
    }
