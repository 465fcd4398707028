"""Queue triggers and timers against a real Azurite, and the host as a process: ends, deaths, a store that goes away."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from localcloud.functions_host.queues import MINIMUM_PAUSE, Pace, poison_queue
from tests.azurites import Azurite
from tests.localcloud.functions_hosts import APPS, RunningHost, eventually

NEVER = "0 0 0 1 1 *"
Start = Callable[..., RunningHost]


@pytest.fixture
def prefix() -> str:
    return f"q{uuid.uuid4().hex[:8]}"


@pytest.fixture
def start(azurite: Azurite, tmp_path: Path, prefix: str) -> Iterator[Start]:
    hosts: list[RunningHost] = []

    def one(name: str = "host", *, app: str = "everything", up: bool = True, **values: str) -> RunningHost:
        settings = {
            "AzureWebJobsStorage": azurite.connection_string(),
            "SLUICE_HOST_QUEUE_VISIBILITY": "1",
            "AzureFunctionsWebHost__hostid": prefix,
            "SEEN": str(tmp_path / "seen.jsonl"),
            "PREFIX": prefix,
            "TICK": NEVER,
            "HUB": "unused",
        }
        host = RunningHost(tmp_path / name, APPS / app, settings | values)
        hosts.append(host)
        return host.up() if up else host.start()

    yield one
    for host in hosts:
        host.kill()


@pytest.fixture
def queue(azurite: Azurite, prefix: str) -> QueueClient:
    client = QueueClient.from_connection_string(
        azurite.connection_string(), f"{prefix}-work", message_encode_policy=TextBase64EncodePolicy()
    )
    client.create_queue()
    return client


def contents(azurite: Azurite, name: str) -> list[str]:
    client = QueueClient.from_connection_string(azurite.connection_string(), name)
    try:
        return [message.content for message in client.peek_messages(32)]
    except ResourceNotFoundError:
        return []


def texts(host: RunningHost) -> list[str]:
    return [seen["text"] for seen in host.seen("work")]


def test_a_message_is_processed_deleted_and_its_outputs_are_sent(
    start: Start, queue: QueueClient, azurite: Azurite, prefix: str
) -> None:
    queue.send_message("one")
    host = start()

    eventually(lambda: len(contents(azurite, f"{prefix}-done")) == 2)
    assert host.seen("work")[0]["try"] == 1
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)


def test_a_message_that_fails_five_times_goes_to_the_poison_queue_and_nothing_was_sent(
    start: Start, queue: QueueClient, azurite: Azurite, prefix: str
) -> None:
    host = start()
    queue.send_message("fail")

    assert eventually(lambda: host.seen("work_poison")) == ["fail"]
    assert [seen["try"] for seen in host.seen("work")] == [1, 2, 3, 4, 5]
    assert queue.get_queue_properties().approximate_message_count == 0
    assert contents(azurite, f"{prefix}-done") == []


def test_a_body_that_is_not_base64_goes_to_the_poison_queue_without_running(
    start: Start, queue: QueueClient, azurite: Azurite
) -> None:
    QueueClient.from_connection_string(azurite.connection_string(), queue.queue_name).send_message("not base64!")
    host = start()

    eventually(lambda: "is not base64" in host.log)
    assert texts(host) == []


def test_a_bodys_own_properties_overwrite_the_message_id_as_in_the_host(start: Start, queue: QueueClient) -> None:
    queue.send_message(json.dumps({"id": "mine"}))
    host = start()

    assert eventually(lambda: host.seen("work"))[0]["id"] == "mine"


def test_the_lease_is_renewed_while_the_function_runs(start: Start, queue: QueueClient) -> None:
    queue.send_message("long")
    host = start()

    eventually(lambda: "succeeded" in host.log and texts(host) == ["long"])
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert texts(host) == ["long"]


def test_a_host_that_is_killed_loses_no_message(start: Start, queue: QueueClient) -> None:
    first = start("first")
    queue.send_message("very long")
    eventually(lambda: texts(first) == ["very long"])

    first.kill()
    second = start("second")

    eventually(lambda: texts(second) == ["very long", "very long"])
    assert [seen["try"] for seen in second.seen("work")] == [1, 2]


def test_a_host_that_is_asked_to_end_finishes_what_runs(start: Start, queue: QueueClient) -> None:
    host = start()
    queue.send_message("long")
    eventually(lambda: texts(host) == ["long"])

    assert host.terminate() == 0
    assert "succeeded" in host.log
    assert queue.get_queue_properties().approximate_message_count == 0


def test_a_store_that_goes_away_and_comes_back_is_told_in_one_line_each(
    start: Start, queue: QueueClient, azurite: Azurite
) -> None:
    host = start()
    azurite.stop()
    eventually(lambda: "does not answer" in host.log)
    assert host.call("GET", "/admin/host/ping").status == 200
    azurite.start()
    queue.send_message("after")

    eventually(lambda: "after" in texts(host))
    assert host.log.count("does not answer") == host.log.count("answers again") == 1


def test_a_timer_fires_on_schedule(start: Start) -> None:
    host = start(TICK="* * * * * *")

    eventually(lambda: len(host.seen("tick")) >= 2)
    assert "ticking" in host.log


def test_several_hosts_on_one_store_run_a_timer_once(start: Start) -> None:
    both = [start(name, TICK="* * * * * *") for name in ("first", "second")]

    eventually(lambda: len(both[0].seen("tick")) >= 3)
    rows = [json.loads(line) for line in both[0].seen_path.read_text().splitlines()]
    assert len({row["pid"] for row in rows if row["function"] == "tick"}) == 1


def test_a_host_that_ends_hands_its_timer_over(start: Start) -> None:
    first = start("first", TICK="* * * * * *")
    eventually(lambda: first.seen("tick"))
    first.terminate()
    before = len(first.seen("tick"))
    second = start("second", TICK="* * * * * *")

    eventually(lambda: len(second.seen("tick")) > before)


def test_a_tick_that_was_missed_is_caught_up_once(start: Start, azurite: Azurite, prefix: str) -> None:
    blobs = BlobServiceClient.from_connection_string(azurite.connection_string())
    container = blobs.get_container_client("azure-webjobs-hosts")
    if not container.exists():
        container.create_container()
    status = {
        "Last": "2020-01-01T00:00:00+00:00",
        "Next": "2021-01-01T00:00:00+00:00",
        "LastUpdated": "2020-01-01T00:00:01+00:00",
    }
    container.upload_blob(f"timers/{prefix}/Host.Functions.tick/status", json.dumps(status))

    host = start()

    assert eventually(lambda: host.seen("tick"))[0]["past_due"] is True
    blob = container.get_blob_client(f"timers/{prefix}/Host.Functions.tick/status")
    eventually(lambda: json.loads(blob.download_blob().readall())["Last"] != status["Last"])
    following = json.loads(blob.download_blob().readall())["Next"]
    assert dt.datetime.fromisoformat(following) > dt.datetime.now(dt.UTC)
    assert len(host.seen("tick")) == 1


def test_an_app_that_cannot_be_imported_leaves_the_host_up_and_saying_why(start: Start) -> None:
    host = start(app="broken_import", up=False)
    eventually(lambda: "cannot be started" in host.log)

    status = host.admin("/admin/host/status")

    assert status["state"] == "Error"
    assert "a_package_that_nobody_installed" in status["errors"][0]
    assert host.call("GET", "/api/anything").status == 503
    assert host.terminate() == 0


def test_a_missing_setting_stops_its_function_and_no_other(start: Start) -> None:
    host = start(TICK="")

    assert "'%TICK%' does not resolve to a value" in host.admin("/admin/functions/tick/status")["errors"][0]
    assert host.call("GET", "/api/things/special").status == 200


def test_a_busy_port_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    host = start()
    second = RunningHost(tmp_path / "second", APPS / "everything", {}, port=host.port).start()

    assert second.process is not None
    assert second.process.wait(timeout=15) == 1
    assert len(second.log.splitlines()) == 1
    assert f"port {host.port} is busy" in second.log


def test_an_empty_queue_is_asked_ever_less_often() -> None:
    pace = Pace(2.0, spread=lambda: 1.0)

    assert [round(pace.wait(), 3) for _ in range(8)] == [0.1, 0.2, 0.3, 0.5, 0.9, 1.7, 2.0, 2.0]
    pace.found()
    assert pace.wait() == MINIMUM_PAUSE


def test_a_poison_queue_has_no_poison_queue() -> None:
    assert poison_queue("work") == "work-poison"
    assert poison_queue("work-poison") is None
    assert poison_queue("x" * 60) is None
