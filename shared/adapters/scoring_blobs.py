"""The scoring log's messages as blobs of the lake, each with the sequence number that it goes up to in its metadata."""

from __future__ import annotations

import contextlib
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated
from shared.errors import Unavailable

_TRIES = 10
_LAST = "last_sequence"


class BlobScoringArchive:
    """See `ports.ScoringArchive`.  The container is made when it is first written to."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def keep(self, name: str, last: int, body: bytes) -> None:
        """See `ports.ScoringArchive`."""
        blob = self._container.get_blob_client(name)
        with translated(f"scoring log {name}"):
            for _ in range(_TRIES):
                found = self._properties(blob)
                if found is not None and int(found.metadata.get(_LAST, -1)) >= last:
                    return
                with contextlib.suppress(ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
                    blob.upload_blob(body, overwrite=True, metadata={_LAST: str(last)}, **_unless_changed(found))
                    return
                self._make_container()
        raise Unavailable(f"scoring log {name} changed {_TRIES} times while it was written")

    def _properties(self, blob: Any) -> Any:
        try:
            return blob.get_blob_properties()
        except ResourceNotFoundError:
            return None

    def _make_container(self) -> None:
        with contextlib.suppress(ResourceExistsError):
            self._container.create_container()


def _unless_changed(found: Any) -> dict[str, Any]:
    if found is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": found.etag, "match_condition": MatchConditions.IfNotModified}
