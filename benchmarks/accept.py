"""Accept: deliveries to the webhook of the running host, beside the same Azurite's own inserts."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence

from azure.data.tables.aio import TableClient

from benchmarks.load import Round, bodies, commits, deliver, lake_mix
from localcloud.cloud import STORE_ACCOUNT, STORE_KEY, Cloud

HOST = "journal and every matched lane hold it (Azurite: in memory, no fsync)"
RAW = "Azurite holds the row in memory (no fsync); no journal, no rules, no dedupe"


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table: what is sent, and how."""

    name: str
    means: str
    once: Callable[[], Awaitable[Round]]


def cases(address: str, cloud: Cloud, in_flights: Sequence[int]) -> list[Case]:
    """Every row, to be measured side by side."""
    found = [_raw(cloud), _transactions(cloud)]
    kinds = [
        ("99 of 100 match nothing", lake_mix),
        *((f"all match, {lanes} lanes", _all(lanes)) for lanes in (1, 20, 200)),
    ]
    for in_flight, batch, (kind, make) in itertools.product(in_flights, (1, 64), kinds):
        count = max(600, 2 * in_flight) if batch == 1 else 64 * 40
        form = "single" if batch == 1 else "batches of 64"
        found.append(
            Case(
                f"webhook, {form}, {kind}, {in_flight} in flight",
                HOST,
                _sending(address, make, count, batch, in_flight),
            )
        )
    return found


def _all(lanes: int) -> Callable[[int], list[dict[str, object]]]:
    return lambda count: commits(count, lanes)


def _sending(
    address: str, make: Callable[[int], list[dict[str, object]]], count: int, batch: int, in_flight: int
) -> Callable[[], Awaitable[Round]]:
    async def once() -> Round:
        return await deliver(address, bodies(make(count), batch), in_flight, count)

    return once


def _raw(cloud: Cloud) -> Case:
    async def insert(table: TableClient, number: int) -> None:
        await table.create_entity(_entity(f"p{number % 20}", uuid.uuid4().hex))

    async def once() -> Round:
        return await _storage(cloud, insert, 1000, 32, 1)

    return Case("azure-data-tables (aio), one insert an event, 32 in flight", RAW, once)


def _transactions(cloud: Cloud) -> Case:
    async def insert(table: TableClient, _: int) -> None:
        partition = uuid.uuid4().hex
        await table.submit_transaction([("create", _entity(partition, f"{row:03d}")) for row in range(100)])

    async def once() -> Round:
        return await _storage(cloud, insert, 40, 8, 100)

    return Case("azure-data-tables (aio), transactions of 100, 8 in flight", RAW, once)


def _entity(partition: str, row: str) -> dict[str, str]:
    return {"PartitionKey": partition, "RowKey": row, "payload": "x" * 850}


async def _storage(
    cloud: Cloud, call: Callable[[TableClient, int], Awaitable[None]], calls: int, in_flight: int, events: int
) -> Round:
    connection = cloud.connection_string(STORE_ACCOUNT, STORE_KEY)
    times: list[float] = []
    waiting = iter(range(calls))

    async def worker(table: TableClient) -> None:
        for number in waiting:
            began = time.perf_counter()
            await call(table, number)
            times.append(time.perf_counter() - began)

    async with TableClient.from_connection_string(connection, table_name="benchraw") as table:
        began = time.perf_counter()
        await asyncio.gather(*(worker(table) for _ in range(in_flight)))
        rate = calls * events / (time.perf_counter() - began)
    times.sort()
    return Round(rate, times[len(times) // 2] * 1000, times[int(len(times) * 0.99) - 1] * 1000)
