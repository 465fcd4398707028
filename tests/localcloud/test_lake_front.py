"""The lake: real Azurite behind the front, real clients before it."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ServiceResponseError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContentSettings,
    generate_blob_sas,
)

from localcloud import azurite, ports
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, STORAGE_ID, Cloud
from localcloud.event_grid import EventGrid
from localcloud.faults import Faults, Rule
from localcloud.lake_events import Sequencer, change, deleted_in_batch
from localcloud.lake_front import LakeFront
from localcloud.processes import Processes


class Recorder(EventGrid):
    """Event Grid that only keeps what is published."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.events: list[dict[str, Any]] = []

    async def publish(self, topic_id: str, events: Any) -> None:
        assert topic_id == STORAGE_ID
        self.events += [dict(event) for event in events]

    def of(self, blob: str) -> list[tuple[str, str]]:
        suffix = f"/blobs/{blob}"
        return [(e["eventType"].split(".")[-1], e["data"]["api"]) for e in self.events if e["subject"].endswith(suffix)]


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def lake(cloud: Cloud, serve: Any, faults: Faults) -> AsyncIterator[Recorder]:
    processes = Processes(cloud.home)
    await azurite.start(cloud, processes)
    async with asyncio.timeout(20):
        while not ports.answers(cloud.ports["azurite_blob"]):
            await asyncio.sleep(0.05)
    grid = Recorder(cloud)
    front = LakeFront(cloud, grid)
    await serve(front.routes(), cloud.ports["lake"], middlewares=[faults.middleware])
    yield grid
    await front.close()
    await processes.close()


@pytest.fixture
def client(cloud: Cloud) -> BlobServiceClient:
    return BlobServiceClient.from_connection_string(
        cloud.connection_string(LAKE_ACCOUNT, LAKE_KEY), retry_total=0, max_single_put_size=64 * 1024
    )


async def test_the_blob_sdk_works_through_the_front_and_raises_the_documented_events(
    cloud: Cloud, lake: Recorder, client: BlobServiceClient
) -> None:
    await asyncio.to_thread(_use_blobs, client)
    assert lake.of("raw/ein Fluß+1 %.csv") == [("BlobCreated", "PutBlob"), ("BlobDeleted", "DeleteBlob")]
    assert lake.of("staged") == [("BlobCreated", "PutBlockList")]
    assert lake.of("large") == [("BlobCreated", "PutBlockList")]
    assert lake.of("copied") == [("BlobCreated", "CopyBlob")]
    assert lake.of("appended") == [("BlobCreated", "PutBlob")]
    assert lake.of("batch-1") == lake.of("batch-2") == [("BlobCreated", "PutBlob"), ("BlobDeleted", "DeleteBlob")]
    created = next(event for event in lake.events if event["data"]["api"] == "PutBlob")
    assert created["subject"] == "/blobServices/default/containers/bronze/blobs/raw/ein Fluß+1 %.csv"
    assert created["data"]["contentLength"] == 5
    assert created["data"]["contentType"] == "text/csv"
    assert created["data"]["eTag"].startswith("0x")
    assert created["data"]["url"].startswith(f"{cloud.url('lake')}/devstoreaccount1/bronze/raw/ein%20Flu")
    large = next(event for event in lake.events if event["subject"].endswith("/large"))
    assert large["data"]["contentLength"] == 300_000
    sequencers = [event["data"]["sequencer"] for event in lake.events]
    assert sequencers == sorted(set(sequencers))


def _use_blobs(client: BlobServiceClient) -> None:
    container = client.create_container("bronze")
    name = "raw/ein Fluß+1 %.csv"
    container.upload_blob(name, b"a,b\n1", content_settings=ContentSettings(content_type="text/csv"))
    assert container.download_blob(name).readall() == b"a,b\n1"
    data = os.urandom(300_000)
    container.upload_blob("large", data)
    assert hashlib.sha256(container.download_blob("large").readall()).digest() == hashlib.sha256(data).digest()
    staged = container.get_blob_client("staged")
    staged.stage_block("MDE=", b"x")
    staged.commit_block_list([BlobBlock("MDE=")])
    container.get_blob_client("copied").start_copy_from_url(staged.url)
    appended = container.get_blob_client("appended")
    appended.create_append_blob()
    appended.append_block(b"line\n")
    container.set_container_metadata({"a": "b"})
    staged.set_blob_metadata({"a": "b"})
    with pytest.raises(ResourceExistsError):
        container.upload_blob(name, b"again", overwrite=False)
    with pytest.raises(Exception, match="ConditionNotMet"):
        container.upload_blob(name, b"no", overwrite=True, etag="0xBAD", match_condition=MatchConditions.IfNotModified)
    container.delete_blob(name)
    for number in (1, 2):
        container.upload_blob(f"batch-{number}", b"x")
    container.delete_blobs("batch-1", "batch-2")


async def test_a_signed_address_works_through_the_front(lake: Recorder, client: BlobServiceClient) -> None:
    def use() -> bytes:
        container = client.create_container("azureml")
        container.upload_blob("golden.json", b"{}")
        blob = container.get_blob_client("golden.json")
        expiry = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        read = BlobSasPermissions(read=True)
        sas = generate_blob_sas(
            LAKE_ACCOUNT, "azureml", "golden.json", account_key=LAKE_KEY, expiry=expiry, permission=read
        )
        return BlobClient.from_blob_url(f"{blob.url}?{sas}").download_blob().readall()

    assert await asyncio.to_thread(use) == b"{}"


COMMITS = """
import numpy
from arro3.core import Array, Table
from deltalake import DeltaTable, write_deltalake

uri = "abfss://bronze@devstoreaccount1.dfs.core.windows.net/demand"
for number in range(4):
    write_deltalake(uri, Table.from_pydict({"n": Array.from_numpy(numpy.array([number]))}), mode="append")
table = DeltaTable(uri)
table.optimize.compact()
table.vacuum(0, enforce_retention_duration=False, dry_run=False)
"""


async def test_delta_commits_through_abfss_raise_one_event_each(
    cloud: Cloud, lake: Recorder, client: BlobServiceClient, tmp_path: Path
) -> None:
    await asyncio.to_thread(client.create_container, "bronze")
    program = tmp_path / "commit.py"
    program.write_text(COMMITS, encoding="utf-8")
    environment = os.environ | cloud.workload_environment()
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    commits = [e["subject"] for e in lake.events if "/_delta_log/" in e["subject"] and e["subject"].endswith(".json")]
    prefix = "/blobServices/default/containers/bronze/blobs/demand/_delta_log/"
    assert commits[:5] == [f"{prefix}{version:020}.json" for version in range(5)]
    removed = [e for e in lake.events if e["eventType"] == "Microsoft.Storage.BlobDeleted"]
    assert len(removed) >= 4


async def test_a_lost_answer_leaves_the_effect_and_its_event(
    lake: Recorder, client: BlobServiceClient, faults: Faults
) -> None:
    container = await asyncio.to_thread(client.create_container, "bronze")
    faults.add(Rule(method="PUT", path="/lost$", lose_response=True))
    with pytest.raises(ServiceResponseError):
        await asyncio.to_thread(container.upload_blob, "lost", b"x")
    assert lake.of("lost") == [("BlobCreated", "PutBlob")]
    assert (await asyncio.to_thread(container.download_blob, "lost")).readall() == b"x"


def test_requests_that_change_no_blob_raise_no_event() -> None:
    assert change("PUT", "/a/container", {"restype": "container"}, {}) is None
    assert change("PUT", "/a/c/b", {"comp": "block"}, {}) is None
    assert change("PUT", "/a/c/b", {"comp": "metadata"}, {}) is None
    assert change("DELETE", "/a/c/b", {"snapshot": "2026"}, {}) is None
    assert change("POST", "/a/c/b", {}, {}) is None


def test_of_a_batch_only_what_was_deleted_counts() -> None:
    body = b"--x\r\n\r\nDELETE /c/one?timeout=1 HTTP/1.1\r\n\r\n--x\r\n\r\nDELETE /c/two HTTP/1.1\r\n\r\n--x--"
    answer = b"--y\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n--y\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n--y--"
    assert [found.blob for found in deleted_in_batch("a", body, answer)] == ["two"]


def test_sequencers_grow_even_within_one_tick() -> None:
    sequencer = Sequencer()
    numbers = [sequencer.next() for _ in range(1000)]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {48}
    assert int(numbers[0], 16) <= time.time_ns() + 1000
