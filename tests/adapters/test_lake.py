"""Blobs by their address, and real Delta commits, on Azurite."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from pathlib import Path

import pytest
from arro3.core import Array, DataType, Table
from azure.storage.blob import BlobServiceClient, ContainerClient
from deltalake import CommitProperties, DeltaTable, write_deltalake

from localcloud.cloud import LAKE_ACCOUNT
from shared import runs
from shared.adapters.lake import DataChangeGuard, Lake, open_lake
from shared.errors import NotFound, Refused, Unavailable
from shared.ports import Asked
from shared.settings import Storage
from tests.azurites import Azurite

NAME = f"lake{uuid.uuid4().hex[:8]}"


def uri(path: str) -> str:
    return f"abfss://{NAME}@{LAKE_ACCOUNT}.dfs.core.windows.net/{path}"


@pytest.fixture(scope="module")
def container(azurite: Azurite) -> ContainerClient:
    service = BlobServiceClient.from_connection_string(azurite.connection_string(LAKE_ACCOUNT))
    return service.create_container(NAME)


@pytest.fixture(scope="module")
def lake(azurite: Azurite, container: ContainerClient, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A table with four commits: two writes, a compaction, a change of metadata."""
    folder: Path = tmp_path_factory.mktemp("demand")
    rows = Table.from_pydict({"x": Array([1, 2], DataType.int64())})
    for run in ("curate-1-1", "curate-1-2"):
        stamp = CommitProperties(custom_metadata={"userMetadata": run})
        write_deltalake(folder, rows, mode="append", commit_properties=stamp)
    DeltaTable(folder).optimize.compact()
    DeltaTable(folder).alter.set_table_description("hourly demand")
    for file in folder.rglob("*.json"):
        container.upload_blob(f"tables/demand/{file.relative_to(folder).as_posix()}", file.read_bytes())
    container.upload_blob("golden.json", b"{}")
    container.upload_blob("tables/torn/_delta_log/00000000000000000000.json", b"not json")
    return open_lake(Storage(LAKE_ACCOUNT, azurite.connection_string(LAKE_ACCOUNT)), lambda: pytest.fail("no identity"))


def subject(version: int, table: str = "tables/demand") -> str:
    return f"/blobServices/default/containers/{NAME}/blobs/{table}/_delta_log/{version:020d}.json"


def bindings(version: int, table: str = "tables/demand") -> dict[str, str]:
    return {"table": table, "version": f"{version:020d}"}


def asked(captured: dict[str, str], record: dict[str, str]) -> Asked:
    return Asked(runs.opened("curate", "demand", 1, "quiet", dt.datetime.now(dt.UTC)), {}, captured, record)


def test_a_blob_is_read_by_its_abfss_address(lake: Lake) -> None:
    assert lake.read(uri("golden.json")) == b"{}"
    with pytest.raises(NotFound):
        lake.read(uri("nothing.json"))


@pytest.mark.parametrize("address", ["https://x/y", "abfss://c@other.dfs.core.windows.net/x", "abfss://c@lake/x"])
def test_an_address_elsewhere_is_refused(lake: Lake, address: str) -> None:
    with pytest.raises(Refused):
        lake.read(address)


def test_the_version_of_a_run_is_found_by_its_stamp(lake: Lake) -> None:
    assert lake.version_stamped(uri("tables/demand"), "curate-1-1") == 0
    assert lake.version_stamped(uri("tables/demand/"), "curate-1-2") == 1
    assert lake.version_stamped(uri("tables/demand"), "curate-1-3") is None
    assert lake.version_stamped(uri("tables/nothing"), "curate-1-1") is None


def test_the_newest_version_with_a_stamp_wins(lake: Lake, container: ContainerClient) -> None:
    for version in (0, 1):
        commit = json.dumps({"commitInfo": {"userMetadata": "again"}})
        container.upload_blob(f"tables/again/_delta_log/{version:020d}.json", commit)
    assert lake.version_stamped(uri("tables/again"), "again") == 1


def test_writes_proceed_and_compaction_and_metadata_do_not(lake: Lake) -> None:
    guard = DataChangeGuard(lake)
    seen = [guard.observe(asked(bindings(version), {"subject": subject(version)})) for version in range(4)]
    assert [fact["proceed"] for fact in seen] == [True, True, False, False]
    assert seen[1]["reason"] == f"version 1 of {NAME}/tables/demand (WRITE) changes data"
    assert seen[2]["reason"] == f"version 2 of {NAME}/tables/demand (OPTIMIZE) changes no data"
    assert (seen[2]["added"], seen[2]["removed"]) == (1, 2)


def test_the_guard_reads_the_event_as_the_journal_keeps_it(lake: Lake) -> None:
    record = {"raw": json.dumps({"Subject": subject(2)}), "received": "2026-01-05"}
    assert DataChangeGuard(lake).observe(asked(bindings(2), record))["proceed"] is False


@pytest.mark.parametrize(
    ("version", "table", "event", "reason"),
    [
        (99, "tables/demand", {"subject": subject(99)}, "is not in the log any more"),
        (0, "tables/torn", {"subject": subject(0, "tables/torn")}, "cannot be read as a commit"),
        (0, "tables/demand", {"subject": "elsewhere"}, "does not name a Delta commit"),
        (0, "tables/demand", {"raw": "not json"}, "does not name a Delta commit"),
    ],
)
def test_what_cannot_be_known_counts_as_a_change(
    lake: Lake, version: int, table: str, event: dict[str, str], reason: str
) -> None:
    seen = DataChangeGuard(lake).observe(asked(bindings(version, table), event))
    assert seen["proceed"] is True
    assert reason in seen["reason"]


def test_a_lake_that_does_not_answer_is_unavailable() -> None:
    address = "DefaultEndpointsProtocol=http;AccountName=dead;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/dead"
    dead = Lake(BlobServiceClient.from_connection_string(address, retry_total=0))
    with pytest.raises(Unavailable):
        DataChangeGuard(dead).observe(asked(bindings(0), {"subject": subject(0)}))
