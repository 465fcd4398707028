"""One container over REST, as far as events and runs write to it and read from it.

(learn.microsoft.com/rest/api/storageservices/append-block)
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from shared.adapters.storage_rest import Answer, Request, StorageRest

_BYTES = {"Content-Type": "application/octet-stream"}


class RestContainer:
    """One container.  What it raises is Unavailable."""

    def __init__(self, service: StorageRest, name: str) -> None:
        self._service, self._name = service, name

    def address(self, name: str) -> str:
        """The address of a blob."""
        return self._service.endpoint + self._path(name)

    async def make(self) -> None:
        """Make the container where there is none."""
        answer = await self._service.send(
            f"container {self._name}", Request("PUT", f"/{self._name}", query="restype=container")
        )
        if answer.status not in (201, 409):
            raise answer.unavailable(f"container {self._name}")

    async def create(self, name: str) -> bool:
        """An append blob, empty; False when it exists, be it by its own first effect."""
        return await self._make(name, {"x-ms-blob-type": "AppendBlob"}, b"")

    async def write(self, name: str, body: bytes) -> bool:
        """A blob, whole; False when it exists, be it by its own first effect."""
        return await self._make(name, {"x-ms-blob-type": "BlockBlob", **_BYTES}, body)

    async def read(self, name: str, at: int = 0, length: int | None = None) -> bytes | None:
        """A blob, or part of it, empty when it ends before; None when it does not exist."""
        part = {} if length is None else {"x-ms-range": f"bytes={at}-{at + length - 1}"}
        answer = await self._send(name, "GET", part)
        if answer.status in (404, 416):
            return None if answer.status == 404 else b""
        if answer.status not in (200, 206):
            raise answer.unavailable(f"blob {name}")
        return answer.body

    async def append(self, name: str, block: bytes, at: int) -> None:
        """Append to a blob that is `at` bytes long."""
        headers = {"x-ms-blob-condition-appendpos": str(at), **_BYTES}
        answer = await self._send(name, "PUT", headers, block, "comp=appendblock")
        if answer.status != 201:
            raise answer.unavailable(f"blob {name}")

    async def size(self, name: str) -> int:
        """How long a blob is."""
        answer = await self._send(name, "HEAD", {})
        if answer.status != 200:
            raise answer.unavailable(f"blob {name}")
        return int(answer.headers["Content-Length"])

    async def _make(self, name: str, headers: Mapping[str, str], body: bytes) -> bool:
        answer = await self._send(name, "PUT", {**headers, "If-None-Match": "*"}, body)
        if answer.status != 201 and answer.code != "BlobAlreadyExists":
            raise answer.unavailable(f"blob {name}")
        return answer.status == 201

    async def _send(
        self, name: str, method: str, headers: Mapping[str, str], body: bytes = b"", query: str = ""
    ) -> Answer:
        return await self._service.send(f"blob {name}", Request(method, self._path(name), headers, body, query))

    def _path(self, name: str) -> str:
        return f"/{self._name}/{urllib.parse.quote(name, safe='/~')}"
