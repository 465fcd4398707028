"""Events as Event Grid sends them, and a bounded client that costs little of what it measures."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
import json
import math
import statistics
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.connection import Connection, Refusal
from localcloud.cloud import STORAGE_ID

Event = dict[str, object]

_TRIES, _PAUSE = 40, 0.05
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Round:
    """One measured round: events a second, and the times of its requests in milliseconds."""

    rate: float
    p50: float
    p99: float
    refused: tuple[Refusal, ...] = ()
    """Answers that were no acknowledgement; what they refused was sent again, as Event Grid does."""
    sent: tuple[float, ...] = ()
    """When each request was first sent, in the order of the requests (`time.perf_counter`)."""


def blob_event(container: str, path: str) -> Event:
    """A `BlobCreated` of 850 bytes or so."""
    return {
        "id": str(uuid.uuid4()), "topic": STORAGE_ID, "eventType": "Microsoft.Storage.BlobCreated",
        "subject": f"/blobServices/default/containers/{container}/blobs/{path}",
        "eventTime": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}0Z", "dataVersion": "", "metadataVersion": "1",
        "data": {
            "api": "PutBlob", "clientRequestId": str(uuid.uuid4()), "requestId": str(uuid.uuid4()),
            "eTag": "0x8D4BCC2E4835CD0", "contentType": "application/json", "contentLength": 524288,
            "blobType": "BlockBlob", "url": f"https://devstoreaccount1.blob.core.windows.net/{container}/{path}",
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
        },
    }  # fmt: skip


def commits(count: int, lanes: int, container: str = "bronze", name: str = "t") -> list[Event]:
    """Delta commits that all match, spread over `lanes` tables."""
    return [
        blob_event(container, f"{name}{lanes}-{number % lanes:03d}/_delta_log/{next(_numbers):020d}.json")
        for number in range(count)
    ]


def lake_mix(count: int, lanes: int = 20) -> list[Event]:
    """A lake's real mix: of a hundred events one is a commit, the rest are data files that match nothing."""
    matching = iter(commits(count // 100 + 1, lanes))
    return [
        next(matching) if number % 100 == 50 else blob_event("bronze", f"t/part-{uuid.uuid4()}.parquet")
        for number in range(count)
    ]


def table_of(event: Event) -> str:
    """The table of a commit, by its subject."""
    return str(event["subject"]).split("/blobs/")[1].split("/")[0]


def bodies(events: Sequence[Event], batch: int) -> list[bytes]:
    """The events as deliveries of `batch` events each."""
    return [json.dumps(events[at : at + batch]).encode() for at in range(0, len(events), batch)]


def post(address: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole POST request of JSON."""
    parts = urllib.parse.urlsplit(address)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def deliver(
    address: str, requests: Sequence[bytes], in_flight: int, each: int = 1, within: float = math.inf
) -> Round:
    """Send requests of `each` events to the server of `address`, every one until it is acknowledged.

    After `within` seconds no other request is begun.
    """
    sender = _Sender(address, requests, time.perf_counter() + within)
    began = time.perf_counter()
    await asyncio.gather(*(sender.work() for _ in range(min(in_flight, len(requests)))))
    return sender.round(each, time.perf_counter() - began)


def summary(rate: float, seconds: list[float]) -> Round:
    """A round by the times of its requests."""
    seconds = sorted(seconds)
    return Round(rate, statistics.median(seconds) * 1000, seconds[math.ceil(len(seconds) * 0.99) - 1] * 1000)


class _Sender:
    def __init__(self, address: str, requests: Sequence[bytes], until: float) -> None:
        self._address, self._requests, self._until = urllib.parse.urlsplit(address), requests, until
        self._waiting: Iterator[int] = iter(range(len(requests)))
        self._sent, self._taken = [0.0] * len(requests), [0.0] * len(requests)
        self._refused: list[Refusal] = []

    async def work(self) -> None:
        """One request after the other on one connection."""
        connection = Connection(str(self._address.hostname), int(self._address.port or 80))
        for number in self._waiting:
            began = self._sent[number] = time.perf_counter()
            await self._until_taken(connection, self._requests[number])
            self._taken[number] = (now := time.perf_counter()) - began
            if now > self._until:
                break
        connection.close()

    async def _until_taken(self, connection: Connection, request: bytes) -> None:
        for _ in range(_TRIES):
            answer = await connection.ask(request)
            if answer.taken:
                return
            self._refused.append(answer)
            await asyncio.sleep(_PAUSE)
        raise RuntimeError(f"not acknowledged in {_TRIES} tries: {answer.status} {answer.body[:300]!r}")

    def round(self, each: int, seconds: float) -> Round:
        """What was measured."""
        taken = [one for one in self._taken if one]
        found = summary(len(taken) * each / seconds, taken)
        return dataclasses.replace(found, refused=tuple(self._refused), sent=tuple(self._sent))
