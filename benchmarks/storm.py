"""Storm: 10,000 blob events of 20 tables, through the hub function and as deliveries; exactly 20 runs each time."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from azure.data.tables import TableClient

from benchmarks.counting import Relay
from benchmarks.load import bodies, commits, deliver
from chaos.hosts import Host

EVENTS, TABLES, BATCH = 10_000, 20, 512
_WITHIN = 240.0


@dataclasses.dataclass(frozen=True)
class Storm:
    """What came of it."""

    road: str
    seconds: float
    runs: int
    operations: dict[str, int]
    an_event: float
    peak_mb: int


async def measure(
    host: Host, relay: Relay, table: TableClient, webhook: str, key: str, master: str, *, hub: bool
) -> Storm:
    """One storm.  Its tables are its own: 1 lane a table, one generation a lane."""
    events = commits(EVENTS, TABLES, "silver", "hub" if hub else "web")
    before, counted, began = len(_ask(host, "runs", key)), relay.counts.copy(), time.perf_counter()
    if hub:
        for at in range(0, EVENTS, BATCH):
            _invoke(host, json.dumps(events[at : at + BATCH]), master)
        await _collected(table)
    else:
        await deliver(webhook, bodies(events, 1), 32, EVENTS)
    seconds = time.perf_counter() - began
    operations = {name: relay.counts[name] - counted[name] for name in ("table", "blob", "queue")}
    runs = await _settled(host, key, before)
    assert host.process is not None
    road = f"hub function, batches of {BATCH}" if hub else "single deliveries, 32 in flight"
    peak = _peak(host.process.pid)
    return Storm(road, seconds, runs, operations, sum(operations.values()) / EVENTS, peak)


async def _collected(table: TableClient) -> None:
    """Wait until all are in their lanes; asked past the relay, so that asking is not counted."""
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline:
        if sum(1 for _ in table.query_entities("RowKey ge 'd~' and RowKey lt 'd~~'", select=["RowKey"])) >= EVENTS:
            return
        await asyncio.sleep(0.3)
    raise TimeoutError("the hub function did not take in the storm")


async def _settled(host: Host, key: str, before: int) -> int:
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline:
        runs = _ask(host, "runs", key)
        if len(runs) - before >= TABLES and all(run["ended"] for run in runs):
            await asyncio.sleep(3.0)  # one too many would come now
            return len(_ask(host, "runs", key)) - before
        await asyncio.sleep(1.0)
    return len(_ask(host, "runs", key)) - before


def _invoke(host: Host, batch: str, master: str) -> None:
    address = f"{host.cloud.url('functions')}/admin/functions/event_hub"
    headers = {"x-functions-key": master, "Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps({"input": batch}).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        answer.read()


def _ask(host: Host, what: str, key: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(f"{host.cloud.url('functions')}/api/{what}", headers={"x-functions-key": key})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)
        return found


def _peak(pid: int) -> int:
    """Peak resident memory in MB, as Linux has it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) // 1024
