"""What all services behind Azure Resource Manager share: errors and long running operations."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from localcloud.cloud import LOCATION, SUBSCRIPTION, Cloud, now
from localcloud.documents import Document, Documents

_FAULTS: dict[int, type[web.HTTPException]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    404: web.HTTPNotFound,
    409: web.HTTPConflict,
}
_log = logging.getLogger(__name__)


class Failed(Exception):
    """Work behind an operation ended badly; the operation says so with this code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def fault(status: int, code: str, message: str, **more: Any) -> web.HTTPException:
    """An error answer in the shape that Azure SDKs read; to be raised."""
    body = {"error": {"code": code, "message": message, **more}}
    return _FAULTS[status](text=json.dumps(body), content_type="application/json")


def missing(kind: str, name: str) -> web.HTTPException:
    """The 404 of a resource that does not exist."""
    return fault(404, "ResourceNotFound", f"The {kind} '{name}' was not found.")


def system_data(created: str | None = None) -> dict[str, str]:
    """Who made a resource and when, as every Azure ML answer holds it."""
    at = created or now()
    return {
        "createdAt": at,
        "createdBy": "local",
        "createdByType": "Application",
        "lastModifiedAt": now(),
        "lastModifiedBy": "local",
        "lastModifiedByType": "Application",
    }


class Operations:
    """The long running operations of one provider, answered under `Azure-AsyncOperation`.

    Answers carry `retry-after-ms`, without which the SDKs wait 30 seconds between two looks.  An operation that was
    under way when the services process ended is `Failed`, unless its owner takes it up again with `resume`.
    """

    def __init__(self, cloud: Cloud, provider: str) -> None:
        self._cloud = cloud
        self._path = f"/subscriptions/{SUBSCRIPTION}/providers/{provider}/locations/{LOCATION}/operations"
        self._documents = Documents(cloud.home / "operations" / provider)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Where the state of an operation is read."""
        return [web.get(self._path + "/{operation}", self._get)]

    def begin(self, work: Coroutine[Any, Any, None]) -> tuple[str, dict[str, str]]:
        """Start `work` and answer the operation's name and the headers that tell the caller where to look."""
        name = str(uuid.uuid4())
        self.resume(name, work)
        return name, self.headers(name)

    def resume(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` decide the end of operation `name`, new or left over."""
        self._documents.put(name, {"id": f"{self._path}/{name}", "name": name, "status": "InProgress"})
        self._tasks[name] = asyncio.create_task(self._follow(name, work))

    def headers(self, name: str) -> dict[str, str]:
        """The headers of the answer that starts operation `name`."""
        at = f"{self._cloud.url('arm')}{self._path}/{name}?api-version=2023-04-01"
        return {"Azure-AsyncOperation": at, "Location": at, "retry-after-ms": "200"}

    async def close(self) -> None:
        """Stop the work that is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        document: Document = {"id": f"{self._path}/{name}", "name": name, "status": "Succeeded"}
        try:
            await work
        except Failed as error:
            document |= {"status": "Failed", "error": {"code": error.code, "message": str(error), "details": []}}
        except Exception as error:
            _log.exception("operation %s broke", name)
            message = f"{type(error).__name__}: {error}"
            document |= {"status": "Failed", "error": {"code": "InternalServerError", "message": message}}
        self._documents.put(name, document)
        self._tasks.pop(name, None)

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["operation"]
        document = self._documents.get(name)
        if document is None:
            raise missing("operation", name)
        if document["status"] == "InProgress" and name not in self._tasks:
            document = document | {
                "status": "Failed",
                "error": {
                    "code": "OperationLost",
                    "message": "The local cloud was restarted meanwhile.",
                    "details": [],
                },
            }
        return web.json_response(document, headers={"retry-after-ms": "200"})
