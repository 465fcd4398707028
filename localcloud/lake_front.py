"""The lake: a streaming reverse proxy before Azurite's blobs which raises Event Grid events after successful changes.

Path, query and headers pass byte for byte, because they are signed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web
from azure.core.exceptions import AzureError
from azure.storage.blob.aio import BlobServiceClient
from yarl import URL

from localcloud import lake_events
from localcloud.blob_files import BlobFiles
from localcloud.cloud import LAKE_ACCOUNT, LAKE_CONTAINERS, LAKE_KEY, STORAGE_ID, Cloud
from localcloud.event_grid import EventGrid
from localcloud.lake_events import Change

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect", "proxy-connection"}
)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_AUTOMATIC = ("User-Agent", "Content-Type", "Accept", "Accept-Encoding")


class LakeFront:
    """What clients of the lake account talk to."""

    def __init__(self, cloud: Cloud, grid: EventGrid) -> None:
        self._cloud = cloud
        self._grid = grid
        self._sequencer = lake_events.Sequencer()
        self._session: aiohttp.ClientSession | None = None
        self._blobs: BlobServiceClient | None = None

    def routes(self) -> list[web.RouteDef]:
        """Everything: the front knows no blob API of its own."""
        return [web.route("*", "/{path:.*}", self._handle)]

    async def start(self) -> None:
        """Make the lake's containers, as a deployment would have."""
        files = BlobFiles(self._cloud, "azurite_blob")
        for container in LAKE_CONTAINERS:
            await files.ensure(container)
        await files.close()

    async def close(self) -> None:
        """Close the connections to Azurite."""
        if self._session is not None:
            await self._session.close()
        if self._blobs is not None:
            await self._blobs.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        batch = await request.read() if request.query.get("comp") == "batch" else None
        try:
            async with self._upstream(request, batch) as upstream:
                if request.method in {"GET", "HEAD"}:
                    return await _stream(request, upstream)
                answer = await upstream.read()
                if 200 <= upstream.status < 300:
                    await self._raise_events(request, upstream, batch, answer)
                return web.Response(status=upstream.status, body=answer, headers=_passed_back(upstream))
        except aiohttp.ClientConnectorError:
            message = "Azurite, which keeps the lake's blobs, does not answer; is it being restarted?"
            return web.Response(status=503, text=message, headers={"Retry-After": "1", "x-ms-error-code": "ServerBusy"})

    def _upstream(self, request: web.Request, batch: bytes | None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                timeout=_NO_TIMEOUT,
                skip_auto_headers=_AUTOMATIC,
                connector=aiohttp.TCPConnector(limit=0),
            )
        address = URL(f"{self._cloud.url('azurite_blob')}{request.raw_path}", encoded=True)
        headers = [(key, value) for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP]
        body: bytes | AsyncIterator[bytes] | None = batch
        if batch is None and request.body_exists:
            body = request.content.iter_any()
        return self._session.request(request.method, address, headers=headers, data=body, allow_redirects=False)

    async def _raise_events(
        self, request: web.Request, upstream: aiohttp.ClientResponse, batch: bytes | None, answer: bytes
    ) -> None:
        raw_path = request.raw_path.split("?")[0]
        if batch is not None:
            changes = lake_events.deleted_in_batch(LAKE_ACCOUNT, batch, answer)
        else:
            found = lake_events.change(request.method, raw_path, request.query, request.headers)
            changes = [found] if found else []
        for change in changes:
            facts = {} if change.deleted else await self._facts(request, upstream, change)
            event = lake_events.event(
                change,
                base=self._cloud.url("lake"),
                sequencer=self._sequencer.next(),
                request_id=upstream.headers.get("x-ms-request-id", ""),
                facts=facts,
            )
            await self._grid.publish(STORAGE_ID, [event])

    async def _facts(self, request: web.Request, upstream: aiohttp.ClientResponse, change: Change) -> dict[str, Any]:
        """What the event says of the blob; asked of Azurite when the request itself does not show it."""
        facts: dict[str, Any] = {"eTag": upstream.headers.get("ETag", "").strip('"')}
        if client := request.headers.get("x-ms-client-request-id"):
            facts["clientRequestId"] = client
        if change.api == "PutBlob":
            given = request.headers.get("x-ms-blob-content-type") or request.headers.get("Content-Type")
            return facts | {
                "contentType": given or "application/octet-stream",
                "contentLength": int(request.headers.get("Content-Length") or 0),
                "blobType": request.headers.get("x-ms-blob-type", "BlockBlob"),
            }
        try:
            blob = self._client().get_blob_client(change.container, change.blob)
            properties = await blob.get_blob_properties()
        except AzureError:
            # Deleted or replaced meanwhile: the event is raised all the same, with less in it.
            return facts
        return facts | {
            "contentType": properties.content_settings.content_type or "application/octet-stream",
            "contentLength": properties.size,
            "blobType": str(properties.blob_type.value),
        }

    def _client(self) -> BlobServiceClient:
        if self._blobs is None:
            address = f"{self._cloud.url('azurite_blob')}/{LAKE_ACCOUNT}"
            self._blobs = BlobServiceClient(address, credential={"account_name": LAKE_ACCOUNT, "account_key": LAKE_KEY})
        return self._blobs


def _passed_back(upstream: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    dropped = _HOP_BY_HOP | {"content-length"}
    return [(key, value) for key, value in upstream.headers.items() if key.lower() not in dropped]


async def _stream(request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=_passed_back(upstream))
    if "Content-Length" in upstream.headers:
        response.content_length = int(upstream.headers["Content-Length"])
    await response.prepare(request)
    async for chunk in upstream.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
