"""Connections to storage accounts, and one log line each time that one becomes unreachable or reachable again."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from localcloud.functions_host import logs
from localcloud.functions_host.settings import Settings, SettingsError, StorageConnection


class Storage:
    """One storage account. Its clients never retry by themselves: whoever uses them tries again."""

    def __init__(self, connection: StorageConnection) -> None:
        self.connection = connection
        self._options: dict[str, Any] = {
            "retry_total": 0,
            "logger": logs.quiet(),
            "connection_timeout": 5,
            "read_timeout": 30,
        }
        self._queues: QueueServiceClient | None = None
        self._blobs: BlobServiceClient | None = None
        self._lost = False

    def queue(self, name: str) -> QueueClient:
        """A client of the queue called `name`; bodies pass through as they are."""
        if self._queues is None:
            self._queues = self._service(QueueServiceClient, self.connection.queue_url)
        return self._queues.get_queue_client(name, message_encode_policy=None, message_decode_policy=None)

    def blob(self, container: str, name: str) -> Any:
        """A client of one blob."""
        if self._blobs is None:
            self._blobs = self._service(BlobServiceClient, self.connection.blob_url)
        return self._blobs.get_blob_client(container, name)

    async def make_container(self, name: str) -> None:
        """Create the container where it does not exist."""
        if self._blobs is None:
            self._blobs = self._service(BlobServiceClient, self.connection.blob_url)
        try:
            await self._blobs.create_container(name)
        except HttpResponseError as error:
            if error.status_code != 409:
                raise

    def _service(self, kind: Any, url: str | None) -> Any:
        if self.connection.connection_string:
            try:
                return kind.from_connection_string(self.connection.connection_string, **self._options)
            except ValueError as error:
                raise SettingsError(f"storage connection {self.connection.name!r}: {error}") from None
        if url is None:
            raise SettingsError(f"storage connection {self.connection.name!r} names no address for {kind.__name__}")
        from azure.identity.aio import DefaultAzureCredential

        return kind(url, credential=DefaultAzureCredential(), **self._options)

    def reached(self) -> None:
        """Say so when the account answers again."""
        if self._lost:
            self._lost = False
            logs.HOST.info(f"storage {self.connection.name} answers again")

    def lost(self, error: AzureError) -> None:
        """Say so when the account stops answering, once."""
        if not self._lost:
            self._lost = True
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            logs.HOST.warning(f"storage {self.connection.name} does not answer, trying on: {reason}")

    async def close(self) -> None:
        """Close the connections."""
        for client in (self._queues, self._blobs):
            if client is not None:
                await client.close()


class Storages:
    """The storage accounts of the app, one Storage for each connection name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[StorageConnection, Storage] = {}

    def of(self, connection: str | None) -> Storage:
        """The account behind a binding's `connection`; raises SettingsError when it is not configured."""
        found = self._settings.storage(connection)
        return self._open.setdefault(found, Storage(found))

    async def close(self) -> None:
        """Close them all."""
        for storage in self._open.values():
            await storage.close()
