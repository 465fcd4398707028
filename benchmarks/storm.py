"""Storm: 10,000 blob events of 20 tables, through the hub function and as deliveries; exactly 20 runs each time."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import statistics
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from azure.data.tables import TableServiceClient

from benchmarks import ground
from benchmarks.load import bodies, commits, deliver, post
from benchmarks.report import Part, spread
from benchmarks.stage import Stage, say
from benchmarks.systems.sluice import NOTIFICATION
from chaos.hosts import Host

EVENTS, TABLES, BATCH = 10_000, 20, 512
_WITHIN = 240.0
_BILLED = ("table", "queue", "blob writes", "blob reads")


@dataclasses.dataclass(frozen=True)
class Storm:
    """What came of one."""

    seconds: float
    runs: int
    operations: dict[str, int]
    an_event: float
    peak_mb: int


class Storming:
    """Storms over one host whose storage operations are counted."""

    def __init__(self, stage: Stage, host: Host, events: int) -> None:
        self._stage, self._host, self._events = stage, host, events
        self._address = ground.address(host)
        self._key, self._master = ground.keys(host)
        service = TableServiceClient.from_connection_string(stage.ground.connection)
        self._table = service.get_table_client("sluicelanes")

    async def once(self, *, hub: bool) -> Storm:
        """One storm; its tables are its own, one lane a table."""
        name = f"s{uuid.uuid4().hex[:6]}-"
        events = commits(self._events, TABLES, "silver", name)
        counted, began = self._stage.relay.counts.copy(), time.perf_counter()
        if hub:
            for batch in bodies(events, BATCH):
                await asyncio.to_thread(self._invoke, batch)
            await self._collected(name)
        else:
            sent = [post(self._address, body, NOTIFICATION) for body in bodies(events, 1)]
            one = await deliver(self._address, sent, 32)
            self._stage.keep("storm", one.refused)
        seconds = time.perf_counter() - began
        runs = await self._settled(name)
        operations = {kind: self._stage.relay.counts[kind] - counted[kind] for kind in _BILLED}
        peak = _peak(self._host)
        return Storm(seconds, runs, operations, sum(operations.values()) / self._events, peak)

    async def _collected(self, name: str) -> None:
        """Wait until all are in their lanes; asked past the relay, so that asking is not counted."""
        deadline = time.monotonic() + _WITHIN
        partitions: dict[str, None] = {}
        while time.monotonic() < deadline:
            rows = self._table.query_entities(f"RowKey eq 's' and key ge '{name}' and key lt '{name}~'")
            partitions = {row["PartitionKey"]: None for row in rows}
            counts = [await asyncio.to_thread(self._absorbed, partition) for partition in partitions]
            if sum(counts) >= self._events:
                return
            await asyncio.sleep(0.2)
        raise TimeoutError("the hub function did not take in the storm")

    def _absorbed(self, partition: str) -> int:
        asked = f"PartitionKey eq '{partition}' and RowKey ge 'p~' and RowKey lt 'p~~'"
        return sum(int(row["count"]) for row in self._table.query_entities(asked, select=["count"]))

    async def _settled(self, name: str) -> int:
        deadline, found = time.monotonic() + _WITHIN, 0
        while time.monotonic() < deadline:
            runs = await asyncio.to_thread(self._runs, name)
            found = len(runs)
            if found >= TABLES and all(phase in ("succeeded", "failed", "skipped", "cancelled") for phase in runs):
                await asyncio.sleep(2.0)  # one too many would come now
                return len(await asyncio.to_thread(self._runs, name))
            await asyncio.sleep(0.5)
        return found

    def _runs(self, name: str) -> list[str]:
        asked = f"RowKey ge 'r~' and RowKey lt 'r~~' and key ge '{name}' and key lt '{name}~'"
        return [str(row["phase"]) for row in self._table.query_entities(asked, select=["phase"])]

    def _invoke(self, batch: bytes) -> None:
        address = f"{self._host.cloud.url('functions')}/admin/functions/event_hub"
        headers = {"x-functions-key": self._master, "Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps({"input": batch.decode()}).encode(), headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            answer.read()


async def measure(stage: Stage) -> Part:
    """The table of the two storms."""
    events = 1000 if stage.quick else EVENTS
    part = Part(f"Storm: {events:,} blob events of {TABLES} tables")
    found: dict[str, list[Storm]] = collections.defaultdict(list)
    roads = {f"hub function, batches of {BATCH}": True, "single deliveries, 32 in flight": False}
    for turn in range(stage.rounds):
        await stage.renew()
        async with stage.hosts(counted=True) as [host]:
            storming = Storming(stage, host, events)
            for road, hub in roads.items():
                found[road].append(await storming.once(hub=hub))
        say(f"  storm: round {turn + 1} of {stage.rounds}")
    part.note(
        "Operations are counted by a relay between host and Azurite, which slows both; looks into queues are left out.",
        "A batch brought by hand is one of partition 0, and the host hands over one batch of a partition at a time:",
        "no two of them share a group, which batches of several partitions may.",
    )
    part.table("", "s until collected", "runs", "operations an event", "table, queue, blob", "peak MB of the host")
    for road, storms in found.items():
        _tell(part, road, storms)
    return part


def _tell(part: Part, road: str, storms: list[Storm]) -> None:
    runs = sorted({storm.runs for storm in storms})
    last = storms[-1].operations
    kinds = f"{last['table']:,}, {last['queue']:,}, {last['blob writes'] + last['blob reads']:,}"
    operations = [storm.an_event for storm in storms]
    peak = max(storm.peak_mb for storm in storms)
    seconds = spread([storm.seconds for storm in storms], 1)
    part.row(road, seconds, ", ".join(map(str, runs)), spread(operations, 3), kinds, peak)
    short = "hub" if road.startswith("hub") else "deliveries"
    part.facts[f"storm {short} operations"] = statistics.median(operations)
    part.facts[f"storm {short} runs off"] = max(abs(one - TABLES) for one in runs)


def _peak(host: Host) -> Any:
    """Peak resident memory in MB, as Linux has it."""
    assert host.process is not None
    status = Path(f"/proc/{host.process.pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) // 1024
