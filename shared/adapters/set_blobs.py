"""Manifests as blobs, written once."""

from __future__ import annotations

from shared.adapters.blob_rest import RestContainer
from shared.errors import NotFound
from shared.event_loop import EventLoop

_PREFIX = "sets/"


class BlobSets:
    """See `ports.Sets`."""

    def __init__(self, container: RestContainer, loop: EventLoop) -> None:
        self._container, self._loop = container, loop

    def write(self, name: str, body: bytes) -> tuple[str, bytes]:
        """See `ports.Sets`."""
        written = self._loop.wait(self._container.write(_PREFIX + name, body))
        return self._container.address(_PREFIX + name), body if written else self.read(name)

    def read(self, name: str) -> bytes:
        """See `ports.Sets`."""
        body = self._loop.wait(self._container.read(_PREFIX + name))
        if body is None:
            raise NotFound(f"there is no manifest {name}")
        return body
