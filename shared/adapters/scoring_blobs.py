"""The scoring log's messages as blobs of the lake, each with the sequence number that it goes up to in its metadata."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated
from shared.errors import Unavailable
from shared.ports import JSON
from shared.settings import Storage

CONTAINER = "scoring"
_TRIES = 10
_LAST = "last_sequence"


def open_archive(storage: Storage, hub: str, credential: Callable[[], Any]) -> BlobScoringArchive:
    """The archive of a hub in the lake's account."""
    if storage.connection:
        return BlobScoringArchive(ContainerClient.from_connection_string(storage.connection, CONTAINER), hub)
    return BlobScoringArchive(ContainerClient(storage.url("blob"), CONTAINER, credential=credential()), hub)


class BlobScoringArchive:
    """See `ports.ScoringArchive`.  The container is made when it is first written to."""

    def __init__(self, container: ContainerClient, hub: str) -> None:
        self._container, self._hub = container, hub

    def keep(self, name: str, last: int, body: bytes) -> None:
        """See `ports.ScoringArchive`."""
        blob = self._container.get_blob_client(name)
        with translated(f"scoring log {name}"):
            for _ in range(_TRIES):
                found = _properties(blob)
                if found is not None and int(found.metadata.get(_LAST, -1)) >= last:
                    return
                with contextlib.suppress(ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
                    blob.upload_blob(body, overwrite=True, metadata={_LAST: str(last)}, **_unless_changed(found))
                    return
                with contextlib.suppress(ResourceExistsError):
                    self._container.create_container()
        raise Unavailable(f"scoring log {name} changed {_TRIES} times while it was written")

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[JSON]:
        """See `ports.ScoringArchive`.  Whole hours are read, from the one of `after` on, until there are enough."""
        found: dict[str, JSON] = {}
        hour = after.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
        while hour <= dt.datetime.now(dt.UTC) and len(found) < most:
            for call in self._hour(hour):
                mine = (call.get("endpoint"), call.get("deployment")) == (endpoint, deployment)
                if mine and dt.datetime.fromisoformat(call["at"]) > after:
                    found.setdefault(str(call.get("id")), call)
            hour += dt.timedelta(hours=1)
        return sorted(found.values(), key=lambda call: dt.datetime.fromisoformat(call["at"]))[:most]

    def _hour(self, hour: dt.datetime) -> Iterator[JSON]:
        prefix = f"{self._hub}/day={hour:%Y-%m-%d}/hour={hour:%H}/"
        with translated(f"the scoring log of {hour:%Y-%m-%d %H}:00"):
            try:
                names = sorted(self._container.list_blob_names(name_starts_with=prefix))
            except ResourceNotFoundError:
                return
            for name in names:
                for line in self._container.download_blob(name).readall().splitlines():
                    message = json.loads(line)
                    if "call" in message:
                        yield message["call"]


def _properties(blob: Any) -> Any:
    try:
        return blob.get_blob_properties()
    except ResourceNotFoundError:
        return None


def _unless_changed(found: Any) -> dict[str, Any]:
    if found is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": found.etag, "match_condition": MatchConditions.IfNotModified}
