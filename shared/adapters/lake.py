"""The lake through azure-storage-blob: blobs by their abfss address, and commits of Delta tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from azure.core.credentials import TokenCredential
from azure.storage.blob import BlobServiceClient

from shared.adapters.azure_calls import PATIENCE, calling
from shared.errors import NotFound, Refused
from shared.ports import Asked
from shared.settings import Storage

JSON = Mapping[str, Any]

_ABFSS = re.compile(r"abfss://(?P<container>[^@/]+)@(?P<account>[^./]+)\.dfs\.[^/]+/(?P<path>.+)")
_SUBJECT = re.compile(r"/blobServices/default/containers/(?P<container>[^/]+)/blobs/.+")
_LOOK_BACK = 200


def open_lake(storage: Storage, credential: Callable[[], TokenCredential]) -> Lake:
    """The lake of an account."""
    if storage.connection:
        return Lake(BlobServiceClient.from_connection_string(storage.connection, **PATIENCE))
    return Lake(BlobServiceClient(storage.url("blob"), credential=credential(), **PATIENCE))


class Lake:
    """One storage account."""

    def __init__(self, client: BlobServiceClient) -> None:
        self._client = client

    def read(self, uri: str) -> bytes:
        """The blob at an abfss URI."""
        container, path = self._place(uri)
        return self._read(container, path)

    def names(self, uri: str) -> list[str]:
        """The names of all blobs below a folder, without the folder's own, in order."""
        container, path = self._place(uri)
        with calling(f"the blobs below {uri}"):
            found = self._client.get_container_client(container).list_blob_names(name_starts_with=f"{path}/")
            return sorted(name.removeprefix(f"{path}/") for name in found)

    def below(self, uri: str) -> list[bytes]:
        """The contents of all blobs below a folder, in the order of their names."""
        return [self.read(f"{uri.rstrip('/')}/{name}") for name in self.names(uri)]

    def version_stamped(self, uri: str, user_metadata: str) -> int | None:
        """The newest version of a table whose commit carries this `userMetadata`, among the last 200 commits."""
        container, path = self._place(uri)
        with calling(f"the commits of {uri}"):
            client = self._client.get_container_client(container)
            names = list(client.list_blob_names(name_starts_with=f"{path}/_delta_log/"))
        versions = sorted(int(found[1]) for name in names if (found := re.search(r"/(\d{20})\.json$", name)))
        for version in reversed(versions[-_LOOK_BACK:]):
            commit = self._read(container, _commit(path, version))
            if any(action.get("commitInfo", {}).get("userMetadata") == user_metadata for action in _actions(commit)):
                return version
        return None

    def data_change(self, container: str, table: str, version: int) -> JSON:
        """What a commit does to a table's rows: `{"data_change": bool, "operation", "added", "removed"}`.

        A commit that adds and removes no files, or only rearranges them (compaction), changes no data.
        """
        added = removed = 0
        changes, operation = False, ""
        for action in _actions(self._read(container, _commit(table, version))):
            operation = action.get("commitInfo", {}).get("operation", operation)
            for kind in ("add", "remove"):
                file = action.get(kind)
                if file is not None:
                    added, removed = added + (kind == "add"), removed + (kind == "remove")
                    changes = changes or bool(file.get("dataChange", True))
        return {"data_change": changes, "operation": operation, "added": added, "removed": removed}

    def _read(self, container: str, path: str) -> bytes:
        with calling(f"blob {container}/{path}"):
            return self._client.get_blob_client(container, path).download_blob().readall()

    def _place(self, uri: str) -> tuple[str, str]:
        found = _ABFSS.fullmatch(uri)
        if found is None:
            raise Refused(f"{uri} is not an address such as abfss://container@account.dfs.core.windows.net/path")
        if found["account"] != self._client.account_name:
            raise Refused(
                f"{uri} is in account {found['account']}, the lake of this app is {self._client.account_name}"
            )
        return found["container"], found["path"].rstrip("/")


class DataChangeGuard:
    """The guard `delta_data_change`: a commit that does not change data (compaction, metadata) needs no run.

    It reads the bindings `table` and `version`, and the container from the event's subject.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def observe(self, asked: Asked) -> JSON:
        """Whether the commit changes data.  What cannot be known counts as a change: nothing is lost by it."""
        table, version = asked.bindings.get("table"), asked.bindings.get("version", "")
        found = _SUBJECT.fullmatch(_subject(asked.record))
        if not table or not version.isdigit() or found is None:
            return {"proceed": True, "reason": "the event does not name a Delta commit by container, table and version"}
        commit = f"version {int(version)} of {found['container']}/{table}"
        try:
            seen = self._lake.data_change(found["container"], table, int(version))
        except NotFound:
            return {"proceed": True, "reason": f"{commit} is not in the log any more: it counts as a change"}
        except ValueError as error:
            return {"proceed": True, "reason": f"{commit} cannot be read as a commit ({error}): it counts as a change"}
        did = f"{commit} ({seen['operation'] or 'unnamed operation'})"
        if seen["data_change"]:
            return {"proceed": True, "reason": f"{did} changes data", **seen}
        return {"proceed": False, "reason": f"{did} changes no data", **seen}


def _subject(event: JSON) -> str:
    """The subject of an event, as delivered or as the journal keeps it."""
    raw = event.get("raw")
    if isinstance(raw, str):
        try:
            event = json.loads(raw)
        except ValueError:
            return ""
    found = {str(name).lower(): value for name, value in event.items()} if isinstance(event, Mapping) else {}
    return str(found.get("subject") or "")


def _commit(table: str, version: int) -> str:
    return f"{table}/_delta_log/{version:020d}.json"


def _actions(commit: bytes) -> Iterator[dict[str, Any]]:
    for line in commit.decode().splitlines():
        action = json.loads(line) if line.strip() else {}
        if not isinstance(action, dict):
            raise ValueError(f"a line of it is not an object: {line[:80]}")
        yield action
