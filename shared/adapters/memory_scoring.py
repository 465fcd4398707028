"""In-memory twins of the scoring log's ports: they keep the same promises, checked by the same contract tests."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Sequence

from shared.ports import JSON
from shared.scoring_log import Call, Minute, Share, by_minute, total


class MemoryScoringLog:
    """Minutes by deployment and by partition of the hub."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, dt.datetime, str], Share] = {}

    def fold(self, partition: str, calls: Sequence[tuple[int, Call]]) -> None:
        """See `ports.ScoringLog`."""
        for (endpoint, deployment, start), own in by_minute(calls).items():
            share = self._rows.get((endpoint, deployment, start, partition), Share(Minute(endpoint, deployment, start)))
            self._rows[endpoint, deployment, start, partition] = share.taking(own)

    def minutes(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> list[Minute]:
        """See `ports.ScoringLog`."""
        found: dict[dt.datetime, list[Minute]] = defaultdict(list)
        for (of, by, start, _), share in self._rows.items():
            if (of, by) == (endpoint, deployment) and since <= start < until:
                found[start].append(share.minute)
        return [whole for start in sorted(found) if (whole := total(found[start]))]


class MemoryScoringArchive:
    """Blobs by name, each with the sequence number that it goes up to."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[int, bytes]] = {}

    def keep(self, name: str, last: int, body: bytes) -> None:
        """See `ports.ScoringArchive`."""
        if name not in self.blobs or self.blobs[name][0] < last:
            self.blobs[name] = (last, body)

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[JSON]:
        """See `ports.ScoringArchive`."""
        lines = [json.loads(line) for _, body in self.blobs.values() for line in body.splitlines()]
        mine = {
            call["id"]: call
            for call in (line["call"] for line in lines if "call" in line)
            if (call["endpoint"], call["deployment"]) == (endpoint, deployment)
            and dt.datetime.fromisoformat(call["at"]) > after
        }
        return sorted(mine.values(), key=lambda call: dt.datetime.fromisoformat(call["at"]))[:most]
