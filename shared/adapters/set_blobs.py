"""Manifests as blobs, written once."""

from __future__ import annotations

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated
from shared.errors import NotFound

_PREFIX = "sets/"


class BlobSets:
    """See `ports.Sets`."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def write(self, name: str, body: bytes) -> tuple[str, bytes]:
        """See `ports.Sets`."""
        blob = self._container.get_blob_client(_PREFIX + name)
        with translated(f"manifest {name}"):
            try:
                blob.upload_blob(body, overwrite=False)
            except ResourceExistsError:
                body = self.read(name)
        return str(blob.url).partition("?")[0], body

    def read(self, name: str) -> bytes:
        """See `ports.Sets`."""
        with translated(f"manifest {name}"):
            try:
                body: bytes = self._container.download_blob(_PREFIX + name).readall()
            except ResourceNotFoundError as error:
                raise NotFound(f"there is no manifest {name}") from error
        return body
