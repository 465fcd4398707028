"""What a release reads of the scoring log: minutes that add up, and the messages of single calls."""

from __future__ import annotations

import datetime as dt
import functools
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from shared.adapters.azure_store import open_scoring_log
from shared.adapters.memory_releases import MemoryServedCalls
from shared.adapters.scoring_blobs import open_archive
from shared.release_backends import LoggedCall, ServedCalls
from shared.release_checks import Served
from shared.settings import Settings
from shared.tallies import relative

_MINUTE = dt.timedelta(minutes=1)
_READS = 20


def open_calls(settings: Settings, credential: Callable[[], Any]) -> ServedCalls:
    """The scoring log of these settings; without one there is nothing, and so nothing is conclusive."""
    if settings.scoring_hub is None:
        return MemoryServedCalls()
    archive = open_archive(settings.lake, settings.scoring_hub.name, credential)
    return LoggedCalls(open_scoring_log(settings.store, credential), archive)


class Minutes(Protocol):
    """The scoring log by the minute."""

    def minutes(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Sequence[Any]:
        """The minutes of a deployment that start in [since, until); two of them add up to one."""


class Messages(Protocol):
    """The scoring log call by call."""

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> Sequence[Mapping[str, Any]]:
        """At most so many calls of a deployment that were answered after a time, the oldest first."""


class LoggedCalls:
    """See `release_backends.ServedCalls`."""

    def __init__(self, minutes: Minutes, messages: Messages) -> None:
        self._minutes, self._messages = minutes, messages

    def served(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Served | None:
        """See `release_backends.ServedCalls`."""
        first = since.replace(second=0, microsecond=0)
        found = self._minutes.minutes(endpoint, deployment, first, until + _MINUTE)
        whole: Served | None = functools.reduce(operator.add, found) if found else None
        return whole

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[LoggedCall]:
        """See `release_backends.ServedCalls`.

        Replayed calls are left out, and those whose request was not kept because it was refused or too large.
        """
        found: list[LoggedCall] = []
        for _ in range(_READS):
            messages = self._messages.calls(endpoint, deployment, after, most)
            found += [_call(one) for one in messages if one.get("inputs") is not None and not one.get("shadow")]
            if not messages or len(found) >= most:
                break
            after = dt.datetime.fromisoformat(messages[-1]["at"])
        return found[:most]


def _call(message: Mapping[str, Any]) -> LoggedCall:
    levels = {str(name): float(level) for name, level in (message.get("levels") or {}).items()}
    outputs = message.get("outputs")
    predictions = outputs.get("predictions") if isinstance(outputs, Mapping) else None
    return LoggedCall(
        at=dt.datetime.fromisoformat(message["at"]),
        request=json.dumps(message["inputs"]).encode(),
        status=int(message["status"]),
        latency_ms=float(message["latency_ms"]),
        predictions=tuple(relative(predictions, levels)),
        levels=levels,
    )
