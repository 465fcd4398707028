"""How data arrives in the lake: history first, then a week at a time, each as one Delta commit on `bronze`.

Addresses are `abfss://` everywhere; account, key and (for a local cloud) the emulator come from the environment as the
Delta library reads it: AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_USE_EMULATOR and
AZURITE_BLOB_STORAGE_URL.  Set them before this module is first used: the library reads them once.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence

from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import CommitProperties, DeltaTable, write_deltalake

from demand_forecasting import data

HISTORY_START = dt.datetime(2021, 1, 1)  # noqa: DTZ001 - local time, as supplied
HISTORY_END = dt.datetime(2022, 9, 26)  # noqa: DTZ001 - local time, as supplied
"""The first week lands from here: a Monday."""
WEEK = dt.timedelta(days=7)

_SCHEMA = Schema(
    [Field("timestamp", DataType.string(), nullable=True)]
    + [Field(name, DataType.float64(), nullable=True) for name in data.SERIES + data.WEATHER]
)


def week_start(number: int) -> dt.datetime:
    """The first hour of week `number`; week 1 is the first after the history."""
    return HISTORY_END + (number - 1) * WEEK


def land_history(table: str) -> int:
    """Create `table` with everything before the first week, in one commit; its Delta version.

    Changes nothing when the table is there already.
    """
    if DeltaTable.is_deltatable(table, storage_options()):
        return version(table)
    return _append(table, data.rows(HISTORY_START, HISTORY_END))


def land_week(table: str, number: int) -> int:
    """Append week `number` as one commit; the Delta version that holds it."""
    return _append(table, data.rows(week_start(number), week_start(number) + WEEK))


def land_rows(table: str, rows: Sequence[data.Row]) -> int:
    """Append any rows of the shape of bronze as one commit; the Delta version that holds them."""
    return _append(table, rows)


def version(table: str) -> int:
    """The newest Delta version of `table`."""
    return DeltaTable(table, storage_options=storage_options()).version()


def compact(table: str) -> int:
    """Rewrite the small files of `table` as one commit whose actions say `dataChange: false`; its Delta version."""
    delta = DeltaTable(table, storage_options=storage_options())
    delta.optimize.compact(commit_properties=CommitProperties(custom_metadata={"landing": "compaction"}))
    return delta.version()


def noise(number: int) -> Mapping[str, bytes]:
    """Blobs that a real lake is full of and that mean nothing to anybody: path in the container -> content."""
    return {
        f"demand/_tmp/upload-{number}.part": b"half a file",
        f"demand/_delta_log/_last_checkpoint.{number}.tmp": b"{}",
        f"demand/_delta_log/{number:020d}.checkpoint.crc": b"{}",
        f"exports/report-{number}.csv": b"hour,demand\n",
        f"demand/part-{number:05d}-unfinished.snappy.parquet": b"PAR1",
    }


def storage_options() -> dict[str, str]:
    """What the Delta library is told about the account."""
    names = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_USE_EMULATOR")
    return {name.lower(): os.environ[name] for name in names if name in os.environ}


def _append(table: str, rows: Sequence[data.Row]) -> int:
    columns = [Array([row[field.name] for row in rows], field) for field in _SCHEMA]
    write_deltalake(table, Table.from_arrays(columns, schema=_SCHEMA), mode="append", storage_options=storage_options())
    return version(table)
