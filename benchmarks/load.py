"""Events as Event Grid sends them, and a bounded client that costs little of what it measures."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import statistics
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Sequence

from localcloud.cloud import STORAGE_ID

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Round:
    """One measured round: events a second, and the times of its requests in milliseconds."""

    rate: float
    p50: float
    p99: float
    refused: int = 0
    """Answers that were no acknowledgement; what they refused was sent again, as Event Grid does."""


def blob_event(container: str, path: str) -> dict[str, object]:
    """A `BlobCreated` of 850 bytes or so."""
    return {
        "id": str(uuid.uuid4()), "topic": STORAGE_ID, "eventType": "Microsoft.Storage.BlobCreated",
        "subject": f"/blobServices/default/containers/{container}/blobs/{path}",
        "eventTime": "2026-01-05T06:07:08.1234567Z", "dataVersion": "", "metadataVersion": "1",
        "data": {
            "api": "PutBlob", "clientRequestId": str(uuid.uuid4()), "requestId": str(uuid.uuid4()),
            "eTag": "0x8D4BCC2E4835CD0", "contentType": "application/json", "contentLength": 524288,
            "blobType": "BlockBlob", "url": f"https://devstoreaccount1.blob.core.windows.net/{container}/{path}",
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
        },
    }  # fmt: skip


def commits(count: int, lanes: int, container: str = "bronze", name: str = "t") -> list[dict[str, object]]:
    """Delta commits that all match, spread over `lanes` tables."""
    return [
        blob_event(container, f"{name}{lanes}-{number % lanes:03d}/_delta_log/{next(_numbers):020d}.json")
        for number in range(count)
    ]


def lake_mix(count: int, lanes: int = 20) -> list[dict[str, object]]:
    """A lake's real mix: of a hundred events one is a commit, the rest are data files that match nothing."""
    matching = iter(commits(count // 100 + 1, lanes))
    return [
        next(matching) if number % 100 == 50 else blob_event("bronze", f"t/part-{uuid.uuid4()}.parquet")
        for number in range(count)
    ]


def bodies(events: Sequence[dict[str, object]], batch: int) -> list[bytes]:
    """The events as deliveries of `batch` events each."""
    return [json.dumps(events[at : at + batch]).encode() for at in range(0, len(events), batch)]


async def deliver(address: str, posts: Sequence[bytes], in_flight: int, events: int) -> Round:
    """Send every body until it is acknowledged."""
    waiting, times, refused = iter(posts), [], []
    began = time.perf_counter()
    workers = min(in_flight, len(posts))
    await asyncio.gather(*(_worker(address, waiting, times, refused) for _ in range(workers)))
    rate = events / (time.perf_counter() - began)
    times.sort()
    return Round(rate, statistics.median(times) * 1000, times[int(len(times) * 0.99) - 1] * 1000, len(refused))


async def _worker(address: str, waiting: Iterator[bytes], times: list[float], refused: list[bytes]) -> None:
    parts = urllib.parse.urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = (
        f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        "aeg-event-type: Notification\r\nContent-Length: "
    ).encode()
    for body in waiting:
        began = time.perf_counter()
        while not (answer := await _post(reader, writer, head, body)).startswith(b"HTTP/1.1 20"):
            refused.append(answer)
        times.append(time.perf_counter() - began)
    writer.close()


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, body: bytes) -> bytes:
    """The head of the answer to one delivery."""
    writer.write(head + str(len(body)).encode() + b"\r\n\r\n" + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lengths = (line[15:] for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(int(next(lengths, b"0")))
    return answer
