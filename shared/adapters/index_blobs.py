"""The blobs of the id index."""

from __future__ import annotations

import contextlib
import datetime as dt

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated
from shared.errors import Conflict, NotFound

_PREFIX = "index/"


class BlobIndex:
    """See `ports.IndexBlobs`."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def write(self, name: str, body: bytes) -> None:
        """See `ports.IndexBlobs`."""
        with translated(f"index blob {name}"):
            self._container.upload_blob(_PREFIX + name, body, overwrite=True)

    def read(self, name: str) -> tuple[bytes, str] | None:
        """See `ports.IndexBlobs`."""
        with translated(f"index blob {name}"):
            try:
                found = self._container.download_blob(_PREFIX + name)
                return found.readall(), str(found.properties.etag)
            except ResourceNotFoundError:
                return None

    def part(self, name: str, at: int, length: int) -> bytes:
        """See `ports.IndexBlobs`."""
        with translated(f"index blob {name}"):
            try:
                body: bytes = self._container.download_blob(_PREFIX + name, offset=at, length=length).readall()
            except ResourceNotFoundError as error:
                raise NotFound(f"the index has no blob {name}") from error
        return body

    def replace(self, name: str, body: bytes, version: str | None) -> str:
        """See `ports.IndexBlobs`."""
        blob = self._container.get_blob_client(_PREFIX + name)
        with translated(f"index blob {name}"):
            try:
                if version is None:
                    return str(blob.upload_blob(body, overwrite=False)["etag"])
                same = MatchConditions.IfNotModified
                return str(blob.upload_blob(body, overwrite=True, etag=version, match_condition=same)["etag"])
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict(f"the index's blob {name} has changed since it was read") from error

    def names(self, prefix: str) -> list[tuple[str, dt.datetime]]:
        """See `ports.IndexBlobs`."""
        with translated("the index"):
            found = self._container.list_blobs(name_starts_with=_PREFIX + prefix)
            return [(blob.name.removeprefix(_PREFIX), blob.last_modified) for blob in found]

    def delete(self, name: str) -> None:
        """See `ports.IndexBlobs`."""
        with translated(f"index blob {name}"), contextlib.suppress(ResourceNotFoundError):
            self._container.delete_blob(_PREFIX + name)
