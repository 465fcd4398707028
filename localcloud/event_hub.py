"""One event hub: its partitions, its consumer groups, and who reads what."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcloud.amqp_frames import AmqpError
from localcloud.amqp_messages import ANNOTATIONS, Message
from localcloud.amqp_peer import Link
from localcloud.amqp_types import Described, Symbol, Timestamp, encode
from localcloud.event_hub_log import PartitionLog, Stored, partition_logs
from localcloud.event_hub_placement import partition_of

RETENTION_MS = 7 * 24 * 3600 * 1000
MOST_READERS = 5
"""Readers of one partition in one consumer group, when none of them has an owner level."""

_POSITION = re.compile(
    r"amqp\.annotation\.x-opt-(?P<what>offset|sequence-number|enqueued-time)"
    r" *(?P<sign>>=?) *'?(?P<value>@latest|-?\d+)'?"
)
_DELIVERY_ANNOTATIONS = 0x71


class Hub:
    """A hub whose events and facts lie in a folder."""

    def __init__(self, folder: Path, name: str, partitions: int, groups: Sequence[str] = ("$Default",)) -> None:
        facts = _facts(folder / "hub.json", {"partitions": partitions, "created": now_ms()})
        self.name, self.created = name, int(facts["created"])
        self.groups = {group.lower() for group in groups}
        self.logs = list(partition_logs(folder, int(facts["partitions"]), RETENTION_MS))
        self.readers: list[Reader] = []
        self._turns = itertools.count()

    def append(self, partition: int | None, messages: Sequence[bytes]) -> tuple[int, int]:
        """Append messages to one partition, all or none; which it was and the number of the first.

        Without a partition it is the one of the first message's partition key, else the next in turn.
        """
        if partition is None:
            annotations = Message.read(messages[0]).value(ANNOTATIONS) or {}
            key = annotations.get("x-opt-partition-key")
            count = len(self.logs)
            partition = partition_of(str(key), count) if key is not None else next(self._turns) % count
        sequence = self.logs[partition].append(messages, now_ms())
        for reader in self.readers:
            if reader.partition == partition:
                reader.wake()
        return partition, sequence

    def admit(self, reader: Reader) -> list[Reader]:
        """Let a reader in; those that must go for it.  Raises AmqpError when it may not come in itself."""
        others = [other for other in self.readers if other.place == reader.place]
        levels = [other.level for other in others if other.level is not None]
        if levels and (reader.level is None or reader.level < max(levels)):
            said = f"Receiver '{reader.link.name}' cannot be created: one with the higher epoch '{max(levels)}' exists"
            raise AmqpError("amqp:link:stolen", said)
        if reader.level is None and len(others) >= MOST_READERS:
            said = f"Exceeded the maximum number of allowed receivers per partition in a consumer group: {MOST_READERS}"
            raise AmqpError("amqp:resource-limit-exceeded", said)
        self.readers.append(reader)
        return others if reader.level is not None else []

    def properties(self) -> dict[str, Any]:
        """What the management node tells of the hub."""
        return {"name": self.name, "type": "com.microsoft:eventhub", "created_at": Timestamp(self.created)}

    def partition_properties(self, partition: int) -> dict[str, Any]:
        """What the management node tells of a partition."""
        log = self.logs[partition]
        last = log.last()
        return {
            "name": self.name,
            "type": "com.microsoft:partition",
            "partition": str(partition),
            "begin_sequence_number": log.first if last else -1,
            "last_enqueued_sequence_number": last.sequence if last else -1,
            "last_enqueued_offset": str(last.offset) if last else "-1",
            "last_enqueued_time_utc": Timestamp(last.enqueued if last else 0),
            "is_partition_empty": last is None,
        }


class Reader:
    """One receiving link on one partition, fed by a task of its own."""

    def __init__(self, hub: Hub, link: Link, group: str, partition: int) -> None:
        self.hub, self.link, self.group, self.partition = hub, link, group.lower(), partition
        self.level: int | None = link.properties.get("com.microsoft:epoch")
        self.position = start_of(hub.logs[partition], _selector(link))
        self._tells_newest = "com.microsoft:enable-receiver-runtime-metric" in link.desired
        self._woken = asyncio.Event()
        self._feeding: asyncio.Task[None] | None = None

    @property
    def place(self) -> tuple[str, int]:
        """Consumer group and partition."""
        return self.group, self.partition

    def start(self) -> None:
        """Begin to send."""
        self._feeding = asyncio.create_task(self._until_gone())

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    def leave(self) -> None:
        """Stop sending."""
        if self in self.hub.readers:
            self.hub.readers.remove(self)
        if self._feeding is not None:
            self._feeding.cancel()

    async def _until_gone(self) -> None:
        with contextlib.suppress(OSError):
            await self._feed()

    async def _feed(self) -> None:
        log = self.hub.logs[self.partition]
        while True:
            self._woken.clear()
            self.position = max(self.position, log.first)
            while self.position < log.next:
                event = self._framed(log.read(self.position))
                if not self.link.may_send(len(event)):
                    break
                self.link.send(event)
                self.position += 1
                await self.link.connection.frames.drain()
            await self._woken.wait()

    def _framed(self, event: Stored) -> bytes:
        if not self._tells_newest:
            return event.before + event.after
        newest = self.hub.logs[self.partition].last() or event
        told = {
            Symbol("last_enqueued_sequence_number"): newest.sequence,
            Symbol("last_enqueued_offset"): str(newest.offset),
            Symbol("last_enqueued_time_utc"): Timestamp(newest.enqueued),
            Symbol("runtime_info_retrieval_time_utc"): Timestamp(now_ms()),
        }
        return event.before + encode(Described(_DELIVERY_ANNOTATIONS, told)) + event.after


def start_of(log: PartitionLog, selector: str) -> int:
    """Where a reader with this selector begins; with none, or with one that is not known, only with what is new."""
    found = _POSITION.search(selector)
    if found is None or found["value"] == "@latest":
        return log.next
    value, inclusive = int(found["value"]), found["sign"] == ">="
    if found["what"] == "offset":
        return log.after_offset(value, inclusive=inclusive)
    if found["what"] == "enqueued-time":
        return log.after_time(value, inclusive=inclusive)
    return min(max(value if inclusive else value + 1, log.first), log.next)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _selector(link: Link) -> str:
    filters = link.terminus[7] or {}
    found = next((value for name, value in filters.items() if "selector" in str(name)), "")
    value = found.value if isinstance(found, Described) else found
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _facts(path: Path, new: dict[str, int]) -> dict[str, Any]:
    """The hub's facts: what they were when it was made."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(new), encoding="utf-8")
    return dict(json.loads(path.read_text(encoding="utf-8")))
