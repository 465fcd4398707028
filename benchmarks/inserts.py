"""The measure of accepting: the same Azurite's own inserts through azure-data-tables."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
import uuid
from collections.abc import Awaitable, Callable

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient

from benchmarks.load import Round, summary

_TABLE = "benchraw"


async def singles(connection: str, within: float) -> Round:
    """One insert an event, 32 in flight."""

    async def insert(table: TableClient, number: int) -> None:
        await table.create_entity(_entity(f"p{number % 20}", uuid.uuid4().hex))

    return await _storage(connection, insert, within, 32, 1)


async def transactions(connection: str, within: float) -> Round:
    """A hundred events a transaction, 8 in flight."""

    async def insert(table: TableClient, _: int) -> None:
        partition = uuid.uuid4().hex
        await table.submit_transaction([("create", _entity(partition, f"{row:03d}")) for row in range(100)])

    return await _storage(connection, insert, within, 8, 100)


def _entity(partition: str, row: str) -> dict[str, str]:
    return {"PartitionKey": partition, "RowKey": row, "payload": "x" * 850}


async def _storage(
    connection: str, call: Callable[[TableClient, int], Awaitable[None]], within: float, in_flight: int, events: int
) -> Round:
    times: list[float] = []
    numbers, until = itertools.count(), math.inf

    async def worker(table: TableClient) -> None:
        while (began := time.perf_counter()) < until:
            number = next(numbers)
            await call(table, number)
            times.append(time.perf_counter() - began)

    async with TableClient.from_connection_string(connection, table_name=_TABLE) as table:
        with contextlib.suppress(ResourceExistsError):
            await table.create_table()
        began = time.perf_counter()
        until = began + within
        await asyncio.gather(*(worker(table) for _ in range(in_flight)))
        return summary(len(times) * events / (time.perf_counter() - began), times)
