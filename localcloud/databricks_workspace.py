"""The files of the Databricks workspace: import, export, folders, status."""

from __future__ import annotations

import base64
import binascii
import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import web


def refusal(code: str, message: str, status: int = 400) -> web.HTTPException:
    """An error answer as Databricks words it; to be raised."""
    kind = {400: web.HTTPBadRequest, 401: web.HTTPUnauthorized, 404: web.HTTPNotFound}[status]
    return kind(text=json.dumps({"error_code": code, "message": message}), content_type="application/json")


class Workspace:
    """The workspace's tree, kept as files below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def routes(self) -> list[web.RouteDef]:
        """The Workspace API 2.0."""
        base = "/api/2.0/workspace"
        return [
            web.post(f"{base}/import", self._import),
            web.get(f"{base}/export", self._export),
            web.post(f"{base}/mkdirs", self._mkdirs),
            web.get(f"{base}/get-status", self._get_status),
            web.get(f"{base}/list", self._list),
            web.post(f"{base}/delete", self._delete),
        ]

    def file(self, path: str) -> Path:
        """Where the workspace file `path` lies on this machine, whether it exists or not."""
        parts = [part for part in PurePosixPath(path).parts if part != "/"]
        if parts[:1] == ["Workspace"]:
            parts = parts[1:]
        if not path.startswith("/") or not parts or ".." in parts:
            raise refusal("INVALID_PARAMETER_VALUE", f"Path ({path}) must be an absolute workspace path.")
        return self._root.joinpath(*parts)

    async def _import(self, request: web.Request) -> web.Response:
        path, content, overwrite = await _imported(request)
        target = self.file(path)
        if target.is_dir() or (target.exists() and not overwrite):
            raise refusal("RESOURCE_ALREADY_EXISTS", f"Path ({path}) already exists.")
        if not target.parent.is_dir():
            raise refusal("RESOURCE_DOES_NOT_EXIST", f"The parent folder ({target.parent.name}) does not exist.", 404)
        target.write_bytes(content)
        return web.json_response({})

    async def _export(self, request: web.Request) -> web.Response:
        content = self._existing(request.query["path"]).read_bytes()
        if request.query.get("direct_download", "").lower() == "true":
            return web.Response(body=content)
        return web.json_response({"content": base64.b64encode(content).decode(), "file_type": "py"})

    async def _mkdirs(self, request: web.Request) -> web.Response:
        self.file((await request.json())["path"]).mkdir(parents=True, exist_ok=True)
        return web.json_response({})

    async def _get_status(self, request: web.Request) -> web.Response:
        return web.json_response(self._status(self._existing(request.query["path"])))

    async def _list(self, request: web.Request) -> web.Response:
        folder = self._existing(request.query["path"])
        return web.json_response({"objects": [self._status(path) for path in sorted(folder.iterdir())]})

    async def _delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        target = self._existing(body["path"])
        if target.is_file():
            target.unlink()
        elif body.get("recursive") or not any(target.iterdir()):
            shutil.rmtree(target)
        else:
            raise refusal("DIRECTORY_NOT_EMPTY", f"Folder ({body['path']}) is not empty")
        return web.json_response({})

    def _existing(self, path: str) -> Path:
        found = self.file(path)
        if not found.exists():
            raise refusal("RESOURCE_DOES_NOT_EXIST", f"Path ({path}) doesn't exist.", 404)
        return found

    def _status(self, path: Path) -> dict[str, Any]:
        about = path.stat()
        return {
            "object_type": "DIRECTORY" if path.is_dir() else "FILE",
            "path": "/" + path.relative_to(self._root).as_posix(),
            "object_id": about.st_ino,
            "modified_at": int(about.st_mtime * 1000),
            "size": about.st_size,
        }


async def _imported(request: web.Request) -> tuple[str, bytes, bool]:
    """Path, content and overwrite of an import, which comes as JSON or as a form."""
    if request.content_type == "application/json":
        body = await request.json()
        try:
            content = base64.b64decode(body.get("content", ""), validate=True)
        except binascii.Error as error:
            raise refusal("INVALID_PARAMETER_VALUE", "content must be base64-encoded.") from error
        return body["path"], content, bool(body.get("overwrite"))
    form = await request.post()
    part = form["content"]
    content = part.file.read() if isinstance(part, web.FileField) else str(part).encode()
    return str(form["path"]), content, str(form.get("overwrite", "")).lower() == "true"
