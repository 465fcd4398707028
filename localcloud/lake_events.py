"""Which Event Grid events a blob operation raises, and what they say.  Shapes as for a Data Lake Storage Gen2 account.

Checked against the documented sample events; pure, except for the clock behind the sequencer.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

BATCH_PART = re.compile(rb"^DELETE\s+(/\S+)\s+HTTP/1\.1", re.MULTILINE)
BATCH_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3})", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Change:
    """A blob that was written or deleted, by which API."""

    api: str
    account: str
    container: str
    blob: str
    raw_path: str

    @property
    def deleted(self) -> bool:
        """Whether the blob is gone."""
        return self.api == "DeleteBlob"


def change(method: str, raw_path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Change | None:
    """What a successful request changed, or None when such requests raise no event."""
    api = _api(method, query, headers)
    account, _, rest = raw_path.lstrip("/").partition("/")
    container, _, blob = rest.partition("/")
    if not api or not blob:
        return None
    return Change(api, account, unquote(container), unquote(blob), raw_path)


def deleted_in_batch(account: str, body: bytes, answer: bytes) -> list[Change]:
    """The blobs that a batch request deleted: its parts and their answers come in the same order."""
    paths = [match.group(1).decode() for match in BATCH_PART.finditer(body)]
    statuses = [int(match.group(1)) for match in BATCH_STATUS.finditer(answer)]
    changes = []
    for path, status in zip(paths, statuses, strict=False):
        raw = path.split("?")[0]
        whole = raw if raw.startswith(f"/{account}/") else f"/{account}{raw}"
        if status in (200, 202) and (found := change("DELETE", whole, {}, {})):
            changes.append(found)
    return changes


def _api(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    component = query.get("comp", "")
    if method == "PUT" and component == "blocklist":
        return "PutBlockList"
    if component or "restype" in query or "snapshot" in query:
        return ""
    if method == "PUT":
        return "CopyBlob" if "x-ms-copy-source" in headers else "PutBlob"
    return "DeleteBlob" if method == "DELETE" else ""


class Sequencer:
    """Numbers that only grow, also over restarts: their text compares as the order of changes to a blob."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        """The next number as Event Grid writes it."""
        self._last = max(self._last + 1, time.time_ns())
        return f"{self._last:048x}"


def event(change: Change, *, base: str, sequencer: str, request_id: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The event that `change` raises; `facts` are known properties of the blob such as its length and ETag."""
    data = {
        "api": change.api,
        "requestId": request_id,
        **facts,
        "blobType": facts.get("blobType", "BlockBlob"),
        "url": f"{base}{change.raw_path}",
        "sequencer": sequencer,
        "storageDiagnostics": {"batchId": str(uuid.uuid4())},
    }
    return {
        "id": str(uuid.uuid4()),
        "subject": f"/blobServices/default/containers/{change.container}/blobs/{change.blob}",
        "eventType": f"Microsoft.Storage.{'BlobDeleted' if change.deleted else 'BlobCreated'}",
        "eventTime": dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z"),
        "dataVersion": "",
        "data": data,
    }
