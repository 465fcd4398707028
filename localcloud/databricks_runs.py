"""What a Databricks run is, from request to end, and how the Jobs API tells it.

The functions here decide and describe; nothing in this file touches a process or a disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from localcloud.documents import Document

ACTIVE = ("QUEUED", "PENDING", "RUNNING", "TERMINATING")

# reason: (v1 life cycle, v1 result, v2 termination code, v2 type of termination)
ENDS = {
    "SUCCESS": ("TERMINATED", "SUCCESS", "SUCCESS", "SUCCESS"),
    "RUN_EXECUTION_ERROR": ("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "USER_CANCELED": ("TERMINATED", "CANCELED", "USER_CANCELED", "SUCCESS"),
    # A time-out has no code of its own: the platform has canceled the run.
    "TIMED_OUT": ("TERMINATED", "TIMEDOUT", "CANCELED", "SUCCESS"),
    "MAX_CONCURRENT_RUNS_EXCEEDED": (
        "SKIPPED",
        "MAXIMUM_CONCURRENT_RUNS_REACHED",
        "MAX_CONCURRENT_RUNS_EXCEEDED",
        "CLIENT_ERROR",
    ),
    "INTERNAL_ERROR": ("INTERNAL_ERROR", "FAILED", "INTERNAL_ERROR", "INTERNAL_ERROR"),
}

_REFERENCE = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")


def milliseconds() -> int:
    """Now, as the Jobs API counts time."""
    return int(time.time() * 1000)


def new(run_id: int, number: int, job: Document, request: Mapping[str, Any]) -> Document:
    """The run that `request` (a run-now body) asks of `job`, not yet started."""
    settings = job["settings"]
    given = {str(name): str(value) for name, value in (request.get("job_parameters") or {}).items()}
    defaults = {item["name"]: item.get("default", "") for item in settings.get("parameters", [])}
    names = [*defaults, *(name for name in given if name not in defaults)]
    tasks = [task | {"run_id": run_id + place} for place, task in enumerate(settings["tasks"], start=1)]
    return {
        "run_id": run_id,
        "job_id": job["job_id"],
        "number_in_job": number,
        "run_name": settings.get("name", "Untitled"),
        "token": request.get("idempotency_token"),
        "state": "PENDING",
        "code": None,
        "message": "",
        "created": milliseconds(),
        "started": None,
        "ended": None,
        "deleted": False,
        "timeout_seconds": settings.get("timeout_seconds", 0),
        "tasks": tasks,
        "parameters": [
            {"name": name, "default": defaults.get(name, ""), "value": given.get(name, defaults.get(name, ""))}
            for name in names
        ],
    }


def active(run: Document) -> bool:
    """Whether the run may still change."""
    return run["state"] in ACTIVE


def ended(run: Document, code: str, message: str) -> Document:
    """`run` at its end, for the reason `code` (a key of `ENDS`)."""
    return run | {"state": "TERMINATED", "code": code, "message": message, "ended": milliseconds()}


def placement(job: Document, active_runs: int) -> str:
    """What becomes of a new run of `job` that has `active_runs` others: start, queue or skip."""
    settings = job["settings"]
    if active_runs < settings.get("max_concurrent_runs", 1):
        return "start"
    return "queue" if (settings.get("queue") or {}).get("enabled") else "skip"


def arguments(run: Document, task: Document) -> list[str]:
    """The task's parameters with `{{job.parameters.x}}` and its like replaced."""
    values = {f"job.parameters.{item['name']}": item["value"] for item in run["parameters"]} | {
        "job.run_id": str(run["run_id"]),
        "job.id": str(run["job_id"]),
        "job.name": run["run_name"],
        "task.name": task["task_key"],
        "task.run_id": str(task["run_id"]),
    }
    given = task["spark_python_task"].get("parameters", [])
    return [_REFERENCE.sub(lambda match: values.get(match[1], match[0]), text) for text in given]


def view(run: Document, url: str) -> Document:
    """The run as `runs/get` answers it, with the states of API 2.0 (`state`) and 2.2 (`status`)."""
    page = f"{url}/?o=0#job/{run['job_id']}/run/{run['run_id']}"
    shared = _states(run) | _times(run)
    answer = {
        "run_id": run["run_id"],
        "job_id": run["job_id"],
        "job_run_id": run["run_id"],
        "number_in_job": run["number_in_job"],
        "original_attempt_run_id": run["run_id"],
        "run_name": run["run_name"],
        "run_page_url": page,
        "run_type": "JOB_RUN",
        "trigger": "ONE_TIME",
        "creator_user_name": "local",
        "format": "MULTI_TASK",
        "job_parameters": run["parameters"],
        "overriding_parameters": {},
        **shared,
    }
    answer["tasks"] = [task | shared | {"attempt_number": 0, "run_page_url": page} for task in run["tasks"]]
    return answer


def _states(run: Document) -> Document:
    if run["code"] is None:
        life_cycle = run["state"]
        state: Document = {"life_cycle_state": life_cycle, "state_message": run["message"]}
        status: Document = {"state": run["state"]}
        if run["state"] == "QUEUED":
            reason = "Queued due to reaching maximum concurrent runs."
            state["queue_reason"] = reason
            status["queue_details"] = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": reason}
        return {"state": state, "status": status}
    life_cycle, result, code, kind = ENDS[run["code"]]
    return {
        "state": {
            "life_cycle_state": life_cycle,
            "result_state": result,
            "state_message": run["message"],
            "user_cancelled_or_timedout": run["code"] in ("USER_CANCELED", "TIMED_OUT"),
        },
        "status": {
            "state": "TERMINATED",
            "termination_details": {"code": code, "type": kind, "message": run["message"]},
        },
    }


def _times(run: Document) -> Document:
    started, end = run["started"], run["ended"]
    executed = end - started if started and end else 0
    return {
        "start_time": run["created"],
        "setup_duration": 0,
        "execution_duration": executed,
        "cleanup_duration": 0,
        "queue_duration": started - run["created"] if started else 0,
        "run_duration": end - run["created"] if end else 0,
        "end_time": end or 0,
    }
