"""Event Hubs of the local cloud, with the real SDK: what is sent is there, in order, for every consumer group."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
from typing import Any

import pytest
from aiohttp import web
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, TransportType
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumer
from azure.eventhub.aio import EventHubProducerClient as AsyncProducer
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventDataSendError, EventHubError
from azure.identity import ManagedIdentityCredential

from localcloud.identity import Identity
from tests.localcloud.namespaces import HUB, Namespace, send
from tests.localcloud.running import Stop, eventually, running, trusted

# -- sending and receiving -----------------------------------------------------------------------------------------


async def test_what_is_sent_to_a_partition_comes_out_of_it_in_order(namespace: Namespace) -> None:
    with namespace.producer() as producer:
        send(producer, [f"event {number}" for number in range(20)], partition_id="1")
    found = await namespace.read(20)
    assert {partition for partition, _ in found} == {"1"}
    assert [event.body_as_str() for _, event in found] == [f"event {number}" for number in range(20)]
    assert [event.sequence_number for _, event in found] == list(range(20))
    assert namespace.received()[0] | {"at": 0} == {
        "at": 0, "action": "received", "hub": HUB, "by": "AMQP", "partition": 1, "sequence": 0, "count": 20,
        "bytes": namespace.received()[0]["bytes"],
    }  # fmt: skip


async def test_properties_content_type_and_ids_arrive_as_they_were_sent(namespace: Namespace) -> None:
    event = EventData(b"\x00\xffbinary")
    event.properties = {"text": "grün", "number": 7, "yes": True, "float": 1.5, "bytes": b"\x01"}
    event.content_type, event.correlation_id, event.message_id = "application/json", "c-1", "m-1"
    with namespace.producer() as producer:
        producer.send_event(event)
    ((_, got),) = await namespace.read(1)
    assert got.body_as_str(encoding="latin-1") == "\x00ÿbinary"
    assert {str(name, "utf-8"): value for name, value in got.properties.items()} == {
        "text": "grün".encode(), "number": 7, "yes": True, "float": 1.5, "bytes": b"\x01",
    }  # fmt: skip
    assert (got.content_type, got.correlation_id, got.message_id) == ("application/json", "c-1", "m-1")
    assert abs(got.enqueued_time - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)


async def test_events_of_one_key_share_a_partition_and_keep_their_order(namespace: Namespace) -> None:
    with namespace.producer() as producer:
        for number in range(30):
            producer.send_event(EventData(str(number)), partition_key=f"key {number % 5}")
    found = await namespace.read(30)
    for key in range(5):
        mine = [(partition, event) for partition, event in found if event.partition_key == f"key {key}".encode()]
        assert len({partition for partition, _ in mine}) == 1
        assert [int(event.body_as_str()) for _, event in mine] == list(range(key, 30, 5))


async def test_without_a_key_the_partitions_take_turns(namespace: Namespace) -> None:
    with namespace.producer() as producer:
        for number in range(9):
            producer.send_event(EventData(str(number)))
    assert sorted(row["partition"] for row in namespace.received()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("size", [1, 70_000, 1_000_000])
async def test_events_up_to_the_limit_pass_whole_both_ways(namespace: Namespace, size: int) -> None:
    async with AsyncProducer.from_connection_string(namespace.text, eventhub_name="one") as producer:
        await producer.send_event(EventData(b"x" * size))
        await producer.send_event(EventData(b"after"))
    found = [event.body_as_str() for _, event in await namespace.read(2, "one")]
    assert [len(body) for body in found] == [size, 5]


async def test_an_event_over_the_limit_is_refused_and_the_next_one_is_not(namespace: Namespace) -> None:
    with namespace.producer("one") as producer:
        with pytest.raises((EventHubError, ValueError)):
            producer.send_event(EventData(b"x" * 1_100_000))
        producer.send_event(EventData(b"small"))
    assert [event.body_as_str() for _, event in await namespace.read(1, "one")] == ["small"]


async def test_the_buffered_producer_gets_everything_through(namespace: Namespace) -> None:
    failed: list[Any] = []

    async def on_error(events: Any, partition: Any, error: Exception) -> None:
        failed.append(error)

    async def on_success(events: Any, partition: Any) -> None:
        return None

    producer = AsyncProducer.from_connection_string(
        namespace.text, eventhub_name=HUB, buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=1
    )
    async with producer:
        for number in range(500):
            await producer.send_event(EventData(str(number)))
    assert failed == []
    found = await namespace.read(500)
    assert sorted(int(event.body_as_str()) for _, event in found) == list(range(500))


def test_the_blocking_consumer_receives_too(namespace: Namespace) -> None:
    with namespace.producer("one") as producer:
        send(producer, ["a", "b"])
    found: list[str] = []
    client = EventHubConsumerClient.from_connection_string(namespace.text, "$Default", eventhub_name="one")

    def on_event(_: Any, event: Any) -> None:
        found.append(event.body_as_str())
        if len(found) == 2:
            client.close()

    with contextlib.suppress(EventHubError):
        client.receive(on_event, starting_position="-1")
    assert found == ["a", "b"]


async def test_thousands_of_events_pass_in_order(namespace: Namespace) -> None:
    async with AsyncProducer.from_connection_string(namespace.text, eventhub_name="one") as producer:
        for first in range(0, 3_000, 500):
            batch = await producer.create_batch()
            for number in range(first, first + 500):
                batch.add(EventData(str(number)))
            await producer.send_batch(batch)
    found = await namespace.read(3_000, "one")
    assert [int(event.body_as_str()) for _, event in found] == list(range(3_000))


# -- where a reader begins -----------------------------------------------------------------------------------------


async def test_a_reader_begins_where_it_says(namespace: Namespace) -> None:
    with namespace.producer("one") as producer:
        send(producer, [str(number) for number in range(5)])
    everything = [event for _, event in await namespace.read(5, "one")]

    async def first(position: Any, **options: Any) -> str:
        ((_, event), *_) = await namespace.read(1, "one", position, "0", **options)
        return str(event.body_as_str())

    assert await first(2) == "3"
    assert await first(everything[1].offset) == "2"
    assert await first(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) == "0"


async def test_a_reader_at_the_end_sees_only_what_comes(namespace: Namespace) -> None:
    with namespace.producer("one") as producer:
        producer.send_event(EventData("old"))
        reading = asyncio.create_task(namespace.read(1, "one", "@latest"))
        await asyncio.to_thread(eventually, lambda: namespace.cloud.records("event_hubs", "reads"))
        await asyncio.to_thread(producer.send_event, EventData("new"))
    ((_, event),) = await reading
    assert event.body_as_str() == "new"


async def test_a_receiver_with_a_higher_owner_level_takes_over(namespace: Namespace) -> None:
    stolen = asyncio.Event()
    low = AsyncConsumer.from_connection_string(namespace.text, "$Default", eventhub_name="one", retry_total=0)

    async def ignore(*_: Any) -> None:
        return None

    async def on_error(_: Any, error: Exception) -> None:
        if "stolen" in str(error) or "epoch" in str(error):
            stolen.set()

    async with low:
        task = asyncio.create_task(low.receive(ignore, on_error=on_error, partition_id="0", owner_level=1))
        await asyncio.to_thread(eventually, lambda: namespace.cloud.records("event_hubs", "reads"))
        high = AsyncConsumer.from_connection_string(namespace.text, "$Default", eventhub_name="one")
        async with high:
            other = asyncio.create_task(high.receive(ignore, partition_id="0", owner_level=2))
            await asyncio.wait_for(stolen.wait(), 20)
            other.cancel()
        task.cancel()
        await asyncio.gather(task, other, return_exceptions=True)
    assert [row["level"] for row in namespace.cloud.records("event_hubs", "stolen")][:1] == [1]


async def test_the_newest_event_of_the_partition_is_told_with_each_event(namespace: Namespace) -> None:
    with namespace.producer("one") as producer:
        send(producer, ["a", "b", "c"])
    told: list[Any] = []
    client = AsyncConsumer.from_connection_string(namespace.text, "$Default", eventhub_name="one")

    async def on_event(context: Any, event: Any) -> None:
        told.append(context.last_enqueued_event_properties)

    async with client:
        task = asyncio.create_task(
            client.receive(on_event, starting_position="-1", track_last_enqueued_event_properties=True)
        )
        await asyncio.to_thread(eventually, lambda: len(told) == 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert {one["sequence_number"] for one in told} == {2}


# -- what the namespace tells --------------------------------------------------------------------------------------


def test_hub_and_partitions_tell_of_themselves(namespace: Namespace) -> None:
    with namespace.producer() as producer:
        assert producer.get_eventhub_properties()["partition_ids"] == ["0", "1", "2"]
        assert producer.get_partition_properties("2")["is_empty"] is True
        send(producer, ["a", "b"], partition_id="2")
        told = producer.get_partition_properties("2")
    assert (told["beginning_sequence_number"], told["last_enqueued_sequence_number"], told["is_empty"]) == (0, 1, False)


def test_a_hub_that_is_not_there_is_not_found(namespace: Namespace) -> None:
    with namespace.producer("nowhere", retry_total=0) as producer, pytest.raises(ConnectError):
        producer.send_event(EventData("x"))


@pytest.mark.parametrize("change", ["key", "name"])
def test_a_wrong_key_opens_nothing(namespace: Namespace, change: str) -> None:
    wrong = {"key": ("SharedAccessKey=", "SharedAccessKey=x"), "name": ("KeyName=Root", "KeyName=Other")}[change]
    text = namespace.text.replace(*wrong)
    with (
        EventHubProducerClient.from_connection_string(text, eventhub_name=HUB, retry_total=0) as producer,
        pytest.raises((AuthenticationError, ConnectError)),
    ):
        producer.send_event(EventData("x"))
    assert namespace.received() == []
    assert namespace.cloud.records("event_hubs", "token_refused")


def test_with_an_identity_over_tls(namespace: Namespace) -> None:
    cloud = namespace.cloud

    async def identity() -> Stop:
        app = web.Application()
        app.add_routes(Identity(cloud).routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", cloud.ports["identity"]).start()
        return runner.cleanup

    with running(identity), trusted(cloud):
        producer = EventHubProducerClient(
            "127.0.0.1",
            HUB,
            ManagedIdentityCredential(),
            custom_endpoint_address=cloud.url("event_hubs"),
            connection_verify=str(cloud.ca_bundle),
            transport_type=TransportType.Amqp,
        )
        with producer:
            producer.send_event(EventData("by identity"))
    assert [row["count"] for row in namespace.received()] == [1]
    assert cloud.records("event_hubs", "token_taken")[0]["type"] == "jwt"


# -- trouble -------------------------------------------------------------------------------------------------------


async def test_the_log_outlives_the_process(namespace: Namespace) -> None:
    with namespace.producer("one") as producer:
        send(producer, ["before"])
    namespace.stop()
    namespace.start()
    with namespace.producer("one") as producer:
        send(producer, ["after"])
    found = [event for _, event in await namespace.read(2, "one")]
    assert [(event.body_as_str(), event.sequence_number) for event in found] == [("before", 0), ("after", 1)]


async def test_clients_survive_a_restart_of_the_namespace(namespace: Namespace) -> None:
    reading = asyncio.create_task(namespace.read(2, "one", retry_backoff_factor=0.1))
    with namespace.producer("one", retry_backoff_factor=0.1) as producer:
        await asyncio.to_thread(producer.send_event, EventData("before"))
        await asyncio.to_thread(eventually, lambda: namespace.cloud.records("event_hubs", "reads"))
        await asyncio.to_thread(namespace.stop)
        await asyncio.to_thread(namespace.start)
        await asyncio.to_thread(producer.send_event, EventData("after"))
    assert "after" in [event.body_as_str() for _, event in await reading]


def test_a_message_that_a_fault_rejects_is_not_taken(namespace: Namespace) -> None:
    namespace.fault(method="SEND", path="/events", status=503, count=20)
    with namespace.producer(retry_total=0) as producer, pytest.raises(EventDataSendError, match="server-busy"):
        producer.send_event(EventData("x"))
    assert namespace.received() == []


def test_a_busy_namespace_is_asked_again(namespace: Namespace) -> None:
    namespace.fault(method="ATTACH", path="/events", status=503, count=2)
    with namespace.producer(retry_backoff_factor=0.01) as producer:
        producer.send_event(EventData("x"))
    assert len(namespace.received()) == 1


async def test_a_lost_answer_makes_the_event_come_twice(namespace: Namespace) -> None:
    namespace.fault(method="SEND", path="/one", lose_response=True)
    with namespace.producer("one", retry_backoff_factor=0.01) as producer:
        producer.send_event(EventData("x"))
    assert [event.body_as_str() for _, event in await namespace.read(2, "one")] == ["x", "x"]


def test_a_namespace_that_takes_no_connections_fails_the_call(namespace: Namespace) -> None:
    namespace.fault(method="OPEN", status=500, count=50)
    with namespace.producer(retry_total=0) as producer, pytest.raises(EventHubError):
        producer.send_event(EventData("x"))
    assert namespace.received() == []


def test_bytes_that_are_no_protocol_do_no_harm(namespace: Namespace) -> None:

    for garbage in (
        b"",
        b"AMQP\x00\x09\x09\x09",
        b"AMQP\x00\x01\x00\x00\x00\x00\x00\x09\x02\x00\x00\x00\xff",
        b"\x16x",
    ):
        with socket.create_connection(("127.0.0.1", namespace.cloud.ports["event_hubs"])) as connection:
            connection.sendall(garbage)
    with namespace.producer() as producer:
        producer.send_event(EventData("x"))
    assert len(namespace.received()) == 1
