"""What a Delta table's log says of its versions, read as it lies in the lake: one JSON file a commit.

A log whose old commits were cleaned up behind a checkpoint, or that carries no statistics, leaves a count unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

from shared.errors import NotFound

_LOOK_BACK = 200


class Blobs(Protocol):
    """What is read of the lake."""

    def read(self, uri: str) -> bytes:
        """See `backends.Files`."""

    def names(self, uri: str) -> list[str]:
        """The names below a folder, in order."""


class DeltaTables:
    """See `backends.Tables`."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def newest(self, uri: str) -> int | None:
        """See `backends.Tables`."""
        named = (re.fullmatch(r"(\d{20})\.json", name) for name in self._blobs.names(f"{uri.rstrip('/')}/_delta_log"))
        return max((int(found[1]) for found in named if found), default=None)

    def rows(self, uri: str, version: int) -> int | None:
        """See `backends.Tables`.  Files that a later commit removed do not count; a full overwrite ends the search."""
        total, removed = 0, set[str]()
        for number in range(version, max(version - _LOOK_BACK, -1), -1):
            try:
                actions = list(self._commit(uri, number))
            except (NotFound, ValueError):
                return None
            for add in (action["add"] for action in actions if "add" in action):
                count = _records(add)
                if count is None:
                    return None
                total += count if add.get("path") not in removed else 0
            removed |= {str(action["remove"].get("path")) for action in actions if "remove" in action}
            if number == 0 or any(_overwrites(action.get("commitInfo", {})) for action in actions):
                return total
        return None

    def _commit(self, uri: str, version: int) -> Iterator[dict[str, Any]]:
        for line in self._blobs.read(f"{uri.rstrip('/')}/_delta_log/{version:020d}.json").decode().splitlines():
            if line.strip():
                yield json.loads(line)


def _records(add: dict[str, Any]) -> int | None:
    found = json.loads(add.get("stats") or "{}").get("numRecords")
    return found if isinstance(found, int) else None


def _overwrites(commit: dict[str, Any]) -> bool:
    parameters = commit.get("operationParameters") or {}
    return str(parameters.get("mode")).lower() == "overwrite" and not parameters.get("predicate")
