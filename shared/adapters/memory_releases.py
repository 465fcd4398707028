"""In-memory twins of what a release records and reads: its evidence, and the calls that deployments have served."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

from shared.release_backends import LoggedCall
from shared.tallies import Tally, answered


class MemoryEvidence:
    """The evidence of releases by endpoint and number."""

    def __init__(self) -> None:
        self._records: dict[str, dict[int, bytes]] = defaultdict(dict)

    def newest(self, endpoint: str, most: int) -> list[bytes]:
        """See `release_backends.EvidenceChain`."""
        return self.all(endpoint)[::-1][:most]

    def all(self, endpoint: str) -> list[bytes]:
        """See `release_backends.EvidenceChain`."""
        return [body for _, body in sorted(self._records[endpoint].items())]

    def write(self, endpoint: str, number: int, body: bytes) -> bool:
        """See `release_backends.EvidenceChain`."""
        if number in self._records[endpoint]:
            return False
        self._records[endpoint][number] = body
        return True


class MemoryServedCalls:
    """Logged calls by endpoint and deployment, in the order in which they were added."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], list[LoggedCall]] = defaultdict(list)

    def add(self, endpoint: str, deployment: str, call: LoggedCall) -> None:
        """Log a call."""
        self._calls[endpoint, deployment].append(call)

    def served(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Tally | None:
        """See `release_backends.ServedCalls`."""
        first, found = since.replace(second=0, microsecond=0), Tally()
        for call in self._calls[endpoint, deployment]:
            if first <= call.at < until:
                found += answered(call.status, call.latency_ms, call.predictions)
        return found if found.count else None

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[LoggedCall]:
        """See `release_backends.ServedCalls`."""
        return [call for call in self._calls[endpoint, deployment] if call.at > after][:most]
