"""What the `sluice` command asks of a control plane; every answer is plain data, every failure a Problem."""

from __future__ import annotations

import collections
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from console import local
from console.local import Problem
from shared import process
from shared.errors import ConfigurationError, Conflict, NotFound, SluiceError
from shared.operations import Operations

Row = dict[str, Any]


@contextlib.contextmanager
def _operations(name: str | None, listing: str = "sluice events") -> Iterator[Operations]:
    """The operations of a control plane; what goes wrong with them becomes a Problem."""
    local.enter(name)
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    try:
        yield process.operations()
    except NotFound as missing:
        raise Problem(f"{missing}; `{listing}` lists what it has") from None
    except ValueError as error:
        raise Problem(str(error)) from None
    except Conflict as lost:
        raise Problem(f"{lost}: it moves just now, try again") from None
    except ConfigurationError as error:
        raise Problem("the configuration is faulty:\n" + "\n".join(f"  {fault}" for fault in error.faults)) from None
    except SluiceError as error:
        raise Problem(f"the store cannot be reached: {error}") from None


def events(name: str | None, outcome: str | None, limit: int) -> list[Row]:
    """The newest deliveries."""
    with _operations(name) as operations:
        return [dict(row) for row in operations.events(outcome, limit)]


def runs(name: str | None) -> list[Row]:
    """Every run."""
    with _operations(name) as operations:
        return [dict(row) for row in operations.runs()]


def lanes(name: str | None) -> list[Row]:
    """Every lane."""
    with _operations(name) as operations:
        return [dict(row) for row in operations.lanes()]


def explain(name: str | None, event: str) -> Row:
    """What came of an event, and what it came from."""
    with _operations(name) as operations:
        return dict(operations.explain(event))


def evidence(name: str | None, endpoint: str) -> Row:
    """The evidence of an endpoint's releases."""
    with _operations(name, "sluice runs") as operations:
        return dict(operations.evidence(endpoint))


def replay(name: str | None, event: str) -> Row:
    """What putting an event through again did."""
    with _operations(name) as operations:
        return dict(operations.replay(event))


def train(name: str | None, table: str, by: str, note: str = "") -> Row:
    """What asking for a training did."""
    with _operations(name) as operations:
        return dict(operations.train(table, by, note))


def command(name: str | None, what: str, run: str, by: str, note: str = "") -> Row:
    """What a command about a run did: one of `Operations.command`."""
    with _operations(name, "sluice runs") as operations:
        return dict(operations.command(process.control_plane().commands, what, run, by, note))


def status(name: str | None) -> Row:
    """What runs and how much there is; `ok` only when everything that should run does."""
    cloud = local.enter(name)
    parts = local.processes(cloud) if cloud else []
    host = _host(cloud) if cloud else {}
    where = local.addresses(cloud) if cloud else {}
    answer = {"cloud": cloud, "processes": parts, "host": host, **where}
    try:
        with _operations(cloud) as operations:
            health = dict(operations.health())
            counts = operations.counts()
            phases = collections.Counter(row["phase"] for row in operations.runs())
    except Problem as problem:
        return answer | {"ok": False, "problem": str(problem)}
    ok = all(part["alive"] for part in parts) and not host.get("errors") and host.get("healthy", True)
    return answer | {"ok": ok, "health": health, "deliveries": counts, "runs": dict(phases)}


def _host(cloud: str) -> Row:
    """The state of the Functions host and what its health function says."""
    if not any(part["name"] == "functions" for part in local.processes(cloud)):
        return {"state": "not started here", "healthy": True}
    try:
        _, host = local.ask_host(cloud, "/admin/host/status", "master")
        code, health = local.ask_host(cloud, "/api/health", "default")
    except (OSError, ValueError, KeyError) as error:
        return {"state": f"does not answer: {error}", "healthy": False}
    found = {key: host[key] for key in ("state", "version", "processUptime", "errors") if key in host}
    return found | {"healthy": code == 200, "health": health}
