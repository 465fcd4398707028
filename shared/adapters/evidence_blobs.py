"""The evidence of releases as blobs, one a record, each written once."""

from __future__ import annotations

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated

_PREFIX = "evidence"


class BlobEvidence:
    """See `release_backends.EvidenceChain`.  Names are padded, so that their order is that of the numbers."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def newest(self, endpoint: str, most: int) -> list[bytes]:
        """See `release_backends.EvidenceChain`."""
        return [self._read(name) for name in reversed(self._names(endpoint)[-most:])]

    def all(self, endpoint: str) -> list[bytes]:
        """See `release_backends.EvidenceChain`."""
        return [self._read(name) for name in self._names(endpoint)]

    def write(self, endpoint: str, number: int, body: bytes) -> bool:
        """See `release_backends.EvidenceChain`."""
        blob = self._container.get_blob_client(f"{_PREFIX}/{endpoint}/{number:08d}.json")
        with translated(f"evidence record {number} of {endpoint}"):
            try:
                blob.upload_blob(body, overwrite=False)
            except ResourceExistsError:
                return False
        return True

    def _names(self, endpoint: str) -> list[str]:
        with translated(f"the evidence of {endpoint}"):
            return sorted(self._container.list_blob_names(name_starts_with=f"{_PREFIX}/{endpoint}/"))

    def _read(self, name: str) -> bytes:
        with translated(name):
            body: bytes = self._container.download_blob(name).readall()
            return body
