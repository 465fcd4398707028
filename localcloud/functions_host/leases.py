"""The singleton lease: of several hosts on one store, one holds the blob lease of a timer and runs it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient

from localcloud.functions_host import logs
from localcloud.functions_host.storage import Storage

CONTAINER = "azure-webjobs-hosts"
SECONDS = 15
"""How long a lease lasts. (The real host takes 60: here a killed host's timers should move on sooner.)"""


class Lease:
    """A lease on the blob `locks/<host id>/<function>.Listener`.

    `holder` is the lease id: a host that was killed and started again with the same state takes its own lease over.
    """

    def __init__(self, storage: Storage, host_id: str, function: str, holder: str) -> None:
        self._storage = storage
        self._name = f"locks/{host_id}/{function}.Listener"
        self._blob = storage.blob(CONTAINER, self._name)
        self._holder = holder
        self._held_until = 0.0
        self._client: BlobLeaseClient | None = None

    async def acquire(self) -> None:
        """Return when this host holds the lease; waits as long as another one does."""
        while not await self._try():
            await asyncio.sleep(SECONDS / 3)

    async def keep(self) -> None:
        """Renew the lease; returns when it is lost."""
        while self._client is not None:
            await asyncio.sleep(SECONDS / 3)
            asked = time.monotonic()
            try:
                await self._client.renew(logger=logs.quiet())
            except HttpResponseError as error:
                logs.HOST.warning(f"the lease {self._name} is lost (status {error.status_code})")
                return
            except AzureError as error:
                self._storage.lost(error)
                if time.monotonic() >= self._held_until:
                    return
            else:
                self._storage.reached()
                self._held_until = asked + SECONDS

    async def release(self) -> None:
        """Let another host have it at once."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.release()
            except AzureError as error:
                logs.HOST.debug(f"the lease {self._name} was not released: {error}")

    async def _try(self) -> bool:
        asked = time.monotonic()
        client = BlobLeaseClient(self._blob, lease_id=self._holder)
        try:
            await self._acquire(client)
        except HttpResponseError as error:
            if error.status_code != 409:
                self._storage.lost(error)
            return False
        except AzureError as error:
            self._storage.lost(error)
            return False
        self._storage.reached()
        self._client, self._held_until = client, asked + SECONDS
        return True

    async def _acquire(self, client: Any) -> None:
        try:
            await client.acquire(lease_duration=SECONDS)
        except ResourceNotFoundError:
            await self._storage.make_container(CONTAINER)
            await self._make_blob()
            await client.acquire(lease_duration=SECONDS)

    async def _make_blob(self) -> None:
        try:
            await self._blob.upload_blob(b"", overwrite=False)
        except HttpResponseError as error:
            if error.status_code not in {409, 412}:
                raise
