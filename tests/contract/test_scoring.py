"""What the scoring log's stores promise: minutes that count once, blobs that never get shorter."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.adapters.azure_store import open_scoring_log
from shared.adapters.memory_scoring import MemoryScoringArchive, MemoryScoringLog
from shared.adapters.scoring_blobs import open_archive
from shared.ports import ScoringArchive, ScoringLog
from shared.scoring_log import Call, Entry, blob, blob_name
from shared.settings import Storage

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(params=["memory", "azurite"])
def stores(request: pytest.FixtureRequest) -> Iterator[tuple[ScoringLog, ScoringArchive]]:
    if request.param == "memory":
        yield MemoryScoringLog(), MemoryScoringArchive()
        return
    azurite = request.getfixturevalue("azurite")
    store = Storage("sluicestore", azurite.connection_string())
    yield open_scoring_log(store, lambda: None), open_archive(store, "hub", lambda: None)


@pytest.fixture
def log(stores: tuple[ScoringLog, ScoringArchive]) -> ScoringLog:
    return stores[0]


@pytest.fixture
def archive(stores: tuple[ScoringLog, ScoringArchive]) -> ScoringArchive:
    return stores[1]


@pytest.fixture
def deployment() -> str:
    """A deployment that no other test uses."""
    return f"v1-{uuid.uuid4().hex[:12]}"


def call(deployment: str, seconds: float = 0.0, **changes: Any) -> Call:
    facts: dict[str, Any] = {"status": 200, "latency_ms": 20.0, "predictions": (1.0, 0.5), "broken": 1}
    return Call("demand", deployment, NOON + dt.timedelta(seconds=seconds), **(facts | changes))


def test_calls_are_added_to_their_minute_and_found_by_time(log: ScoringLog, deployment: str) -> None:
    log.fold("0", [(1, call(deployment)), (2, call(deployment, 59)), (3, call(deployment, 60, status=500))])
    first, second = log.minutes("demand", deployment, NOON, NOON + DAY)
    assert (first.start, first.count, first.failures) == (NOON, 2, 0)
    assert (second.start, second.count, second.failures) == (NOON + dt.timedelta(minutes=1), 1, 1)
    assert (first.latency_sum, first.latency_max, first.predictions, first.broken) == (40.0, 20.0, 4, 2)
    assert (first.prediction_bins, first.prediction_sum) == ({10: 2, 20: 2}, 3.0)
    assert log.minutes("demand", deployment, NOON, second.start) == [first]
    assert log.minutes("demand", deployment, NOON + dt.timedelta(seconds=1), NOON + DAY) == [second]
    assert log.minutes("demand", f"{deployment}x", NOON, NOON + DAY) == []
    assert log.minutes("other", deployment, NOON, NOON + DAY) == []


def test_partitions_count_apart_and_are_told_together(log: ScoringLog, deployment: str) -> None:
    log.fold("0", [(1, call(deployment))])
    log.fold("1", [(1, call(deployment))])
    (found,) = log.minutes("demand", deployment, NOON, NOON + DAY)
    assert found.count == 2


def test_calls_that_come_again_change_nothing(log: ScoringLog, deployment: str) -> None:
    batch = [(number, call(deployment, number)) for number in range(5)]
    log.fold("0", batch)
    log.fold("0", batch)
    log.fold("0", batch[:2])
    log.fold("0", [*batch[3:], (5, call(deployment, 5))])
    (found,) = log.minutes("demand", deployment, NOON, NOON + DAY)
    assert found.count == 6


def test_two_writers_of_one_minute_lose_nothing(log: ScoringLog, deployment: str) -> None:
    """The partitions of one batch are not shared, but after a lost lease two hosts can have the same one."""
    with ThreadPoolExecutor(4) as pool:
        batches = [[(number, call(deployment))] for number in range(1, 9)]
        for number in range(0, 8, 4):
            list(pool.map(lambda batch: log.fold(str(batch[0][0]), batch), batches[number : number + 4]))
            list(pool.map(lambda batch: log.fold(str(batch[0][0]), batch), batches[number : number + 4]))
    (found,) = log.minutes("demand", deployment, NOON, NOON + DAY)
    assert found.count == 8


# -- the archive ---------------------------------------------------------------------------------------------------


def entries(deployment: str, first: int, last: int, at: dt.datetime | None = None) -> list[Entry]:
    at = at or dt.datetime.now(dt.UTC)
    made = []
    for number in range(first, last):
        body = {"id": f"c{number}", "at": (at + dt.timedelta(milliseconds=number)).isoformat()}
        body |= {"endpoint": "demand", "deployment": deployment}
        made.append(Entry("0", number, str(number), at, json.dumps(body).encode()))
    return made


def keep(archive: ScoringArchive, batch: list[Entry], prefix: str = "hub") -> None:
    archive.keep(blob_name(prefix, batch[0]), batch[-1].sequence, blob(batch, {}))


def numbers(found: list[Any]) -> list[str]:
    return [one["id"] for one in found]


def test_a_batch_that_comes_again_longer_replaces_and_shorter_does_not(
    archive: ScoringArchive, deployment: str
) -> None:
    since, first = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1), uuid.uuid4().int % 10**12
    batch = entries(deployment, first, first + 6)
    keep(archive, batch[:4])
    keep(archive, batch)
    keep(archive, batch[:2])
    assert numbers(archive.calls("demand", deployment, since, 100)) == [f"c{first + number}" for number in range(6)]


def test_overlapping_batches_tell_each_call_once_in_order(archive: ScoringArchive, deployment: str) -> None:
    now, first = dt.datetime.now(dt.UTC), uuid.uuid4().int % 10**12
    batch = [dataclasses.replace(one, sequence=number) for number, one in enumerate(entries(deployment, 0, 9, now))]
    for start, end in ((0, 5), (3, 9)):
        part = [dataclasses.replace(one, offset=str(first + one.sequence)) for one in batch[start:end]]
        keep(archive, part)
    found = numbers(archive.calls("demand", deployment, now - dt.timedelta(seconds=1), 100))
    assert found == [f"c{number}" for number in range(9)]
    assert numbers(archive.calls("demand", deployment, now + dt.timedelta(milliseconds=4), 2)) == ["c5", "c6"]
    assert archive.calls("demand", "another", now - dt.timedelta(seconds=1), 100) == []
