"""Event hub triggers on a real namespace: batches a partition, checkpoints, retries without end, restarts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.storage.blob import ContainerClient

from tests.azurites import Azurite
from tests.localcloud.functions_hosts import APPS, RunningHost, eventually
from tests.localcloud.namespaces import HUB, Namespace, send

Start = Callable[..., RunningHost]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return tmp_path / "broken"


@pytest.fixture
def start(azurite: Azurite, tmp_path: Path, namespace: Namespace, broken: Path) -> Iterator[Start]:
    hosts: list[RunningHost] = []
    _forget(azurite)

    def one(name: str = "host", **values: str) -> RunningHost:
        settings = {
            "AzureWebJobsStorage": azurite.connection_string(),
            "AzureFunctionsWebHost__hostid": f"h{uuid.uuid4().hex[:8]}",
            "SLUICE_HOST_HUB_LEASE": "2",
            "SEEN": str(tmp_path / "seen.jsonl"),
            "BROKEN": str(broken),
            "HUB": namespace.text,
            "BATCHES": HUB,
        }
        host = RunningHost(tmp_path / name, APPS / "hubs", settings | values)
        hosts.append(host)
        return host.up()

    yield one
    for host in hosts:
        host.kill()


def _forget(azurite: Azurite) -> None:
    """Checkpoints are by host name and hub: those of another test's namespace must not count."""
    with ContainerClient.from_connection_string(azurite.connection_string(), "azure-webjobs-eventhub") as container:
        if container.exists():
            for name in list(container.list_blob_names()):
                container.delete_blob(name)


def checkpoints(azurite: Azurite, hub: str = HUB) -> dict[str, int]:
    """Partition to the sequence number that is done with."""
    with ContainerClient.from_connection_string(azurite.connection_string(), "azure-webjobs-eventhub") as container:
        blobs = container.list_blobs(include=["metadata"]) if container.exists() else []
        found = [blob for blob in blobs if f"/{hub}/$default/checkpoint/" in blob.name]
        return {blob.name.rpartition("/")[2]: int(blob.metadata["sequencenumber"]) for blob in found}


def bodies(host: RunningHost) -> list[str]:
    return [body for batch in host.seen("batches") for body in batch["bodies"]]


def test_a_function_gets_batches_of_one_partition_in_order_and_a_checkpoint_follows(
    start: Start, namespace: Namespace, azurite: Azurite
) -> None:
    host = start()
    with namespace.producer() as producer:
        for partition in "012":
            send(producer, [f"{partition}-{number}" for number in range(10)], partition_id=partition)
    eventually(lambda: len(bodies(host)) == 30, within=90)
    for partition in "012":
        own = [batch for batch in host.seen("batches") if batch["partition"] == partition]
        assert [body for batch in own for body in batch["bodies"]] == [f"{partition}-{number}" for number in range(10)]
    eventually(lambda: checkpoints(azurite) == {"0": 9, "1": 9, "2": 9})


def test_a_host_that_starts_again_goes_on_where_it_was(start: Start, namespace: Namespace, azurite: Azurite) -> None:
    host = start()
    with namespace.producer() as producer:
        send(producer, ["before"], partition_id="0")
        eventually(lambda: checkpoints(azurite) == {"0": 0}, within=90)
        assert host.terminate() == 0
        send(producer, ["while it was away"], partition_id="0")
    host.up()
    eventually(lambda: len(bodies(host)) == 2, within=90)
    assert bodies(host) == ["before", "while it was away"]


def test_a_batch_that_fails_is_tried_until_it_succeeds_and_blocks_its_partition(
    start: Start, namespace: Namespace, azurite: Azurite, broken: Path
) -> None:
    broken.touch()
    host = start()
    with namespace.producer() as producer:
        send(producer, ["first"], partition_id="0")
        eventually(lambda: len(host.seen("batches")) >= 3, within=90)
        send(producer, ["second"], partition_id="0")
    assert checkpoints(azurite) == {}
    assert {batch["retry"] for batch in host.seen("batches")} >= {0, 1, 2}
    assert set(bodies(host)) == {"first"}
    broken.unlink()
    eventually(lambda: checkpoints(azurite) == {"0": 1}, within=90)
    assert bodies(host)[-1] == "second"


def test_a_host_that_is_killed_in_a_batch_gets_it_again(
    start: Start, namespace: Namespace, azurite: Azurite, broken: Path
) -> None:
    broken.touch()
    host = start()
    with namespace.producer() as producer:
        send(producer, ["a", "b"], partition_id="1")
    eventually(lambda: host.seen("batches"), within=90)
    host.kill()
    before = len(bodies(host))
    broken.unlink()
    host.up()
    eventually(lambda: checkpoints(azurite) == {"1": 1}, within=90)
    assert bodies(host)[before:] == ["a", "b"]


def test_without_a_retry_policy_a_failure_is_checkpointed_and_not_seen_again(
    start: Start, namespace: Namespace, azurite: Azurite
) -> None:
    host = start()
    with namespace.producer("one") as producer:
        send(producer, ["good", "bad", "good again"])
    eventually(lambda: checkpoints(azurite, "one") == {"0": 2}, within=90)
    assert host.seen("singles") == ["good", "bad", "good again"]


def test_a_namespace_that_comes_late_or_goes_is_waited_for(
    start: Start, namespace: Namespace, azurite: Azurite
) -> None:
    namespace.stop()
    host = start()
    namespace.start()
    with namespace.producer("one") as producer:
        producer.send_event(EventData("late"))
    eventually(lambda: host.seen("singles") == ["late"], within=90)
    namespace.stop()
    namespace.start()
    with namespace.producer("one") as producer:
        producer.send_event(EventData("later"))
    eventually(lambda: host.seen("singles")[-1] == "later", within=90)


def test_two_hosts_share_the_partitions(start: Start, namespace: Namespace, tmp_path: Path) -> None:
    hosts = [start(name, SEEN=str(tmp_path / f"{name}.jsonl")) for name in ("one", "other")]

    def both_receive() -> bool:
        with namespace.producer() as producer:
            for partition in "012":
                send(producer, ["x"], partition_id=partition)
        return all(host.seen("batches") for host in hosts)

    eventually(both_receive, within=90)


def test_a_hub_connection_that_is_not_configured_is_said_and_stops_only_that_function(start: Start) -> None:
    host = start(HUB="unused")
    status: Any = host.admin("/admin/functions/batches/status")
    assert "has no Endpoint" in status["errors"][0]
