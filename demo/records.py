"""What the services' own records say: the effects that there were, and the digest that each of them saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demo.report import StepFailed
from localcloud.cloud import Cloud

Row = Mapping[str, Any]


def effects(cloud: Cloud) -> dict[str, int]:
    """How many Databricks runs, Azure ML jobs and moves of production traffic the services have carried out."""
    moves = [row for row in cloud.records("azure_ml", "traffic") if 100 in dict(row["traffic"]).values()]
    return {
        "databricks_runs": len(cloud.records("databricks", "run_started")),
        "azureml_jobs": len(cloud.records("azure_ml", "job_created")),
        "releases": len(moves),
    }


def told(runs: Sequence[Row]) -> dict[str, int]:
    """The same effects as the control plane tells them: its runs that had a remote."""

    def count(route: str) -> int:
        return sum(run["route"] == route and run["remote"] is not None for run in runs)

    return {
        "databricks_runs": count("curate") + count("served"),
        "azureml_jobs": count("train"),
        "releases": count("release"),
    }


def digests(cloud: Cloud, digest: str, group_prefix: str, deployment: str) -> dict[str, str]:
    """The digest in registry, QA and production, each by that service's own record; they must be one.

    Raises StepFailed when a service has no record of it, or another digest.
    """
    pushed = [row["digest"] for row in cloud.records("registry", "push") if row["digest"] == digest]
    tested = [
        row["digest"]
        for row in cloud.records("container_instances", "created")
        if row["name"].startswith(group_prefix) and row["digest"] == digest
    ]
    ended = cloud.records("azure_ml", "deployment_ended")
    serving = [row.get("digest") for row in ended if row["deployment"].endswith(f"/{deployment}")]
    found = {"registry": pushed, "qa": tested, "production": serving}
    seen = {place: str(rows[-1]) if rows else "nothing" for place, rows in found.items()}
    if set(seen.values()) != {digest}:
        told_ = ", ".join(f"{place} {value}" for place, value in seen.items())
        raise StepFailed(f"the release is of {digest}, but the services' records say: {told_}")
    return seen


def traffic(cloud: Cloud, since: str) -> list[Row]:
    """The traffic maps that Azure ML has taken since a time, the oldest first."""
    return [row for row in cloud.records("azure_ml", "traffic") if row["at"] >= since]


def in_words(shares: Mapping[str, Any]) -> str:
    """The shares of a traffic map."""
    return ", ".join(f"{share} % to {name}" for name, share in shares.items())


def serving(cloud: Cloud, deployment: str) -> str | None:
    """The digest that a deployment serves, None when it is not there (any more)."""
    rows = cloud.records("azure_ml", "deployment_ended")
    gone = cloud.records("azure_ml", "deployment_deleted")
    if any(row["deployment"] == deployment for row in gone):
        return None
    return next((str(row.get("digest")) for row in rows[::-1] if row["deployment"].endswith(f"/{deployment}")), None)


def delivered(cloud: Cloud) -> int:
    """How many deliveries of Event Grid the app has acknowledged; one that was sent twice counts twice."""
    rows = cloud.records("event_grid", "delivered")
    return sum(1 + (row["fault"] == "duplicate") for row in rows if 200 <= row["status"] < 300)
