"""One container over REST, as far as the intake writes to it.

(learn.microsoft.com/rest/api/storageservices/append-block)
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

from shared.adapters.storage_rest import Answer, Request, StorageRest

_BYTES = {"Content-Type": "application/octet-stream"}


class RestContainer:
    """One container.  What it raises is Unavailable.

    Names of new blobs are the writer's own, so a blob that exists already is its own first effect.
    """

    def __init__(self, service: StorageRest, name: str) -> None:
        self._service, self._name = service, name

    async def create(self, name: str) -> None:
        """An append blob, empty."""
        await self._make(name, {"x-ms-blob-type": "AppendBlob"}, b"")

    async def write(self, name: str, body: bytes) -> None:
        """A blob, whole."""
        await self._make(name, {"x-ms-blob-type": "BlockBlob", **_BYTES}, body)

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

    async def close(self) -> None:
        """Let go of the connections."""
        await self._service.close()

    async def _make(self, name: str, headers: Mapping[str, str], body: bytes) -> None:
        answer = await self._send(name, "PUT", {**headers, "If-None-Match": "*"}, body)
        if answer.status != 201 and answer.code != "BlobAlreadyExists":
            raise answer.unavailable(f"blob {name}")

    async def _send(
        self, name: str, method: str, headers: Mapping[str, str], body: bytes = b"", query: str = ""
    ) -> Answer:
        path = f"/{self._name}/{urllib.parse.quote(name, safe='/~')}"
        return await self._service.send(f"blob {name}", Request(method, path, headers, body, query))
