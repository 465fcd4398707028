"""Counts storage operations as Azure bills them: a TCP relay before Azurite that reads request lines as they pass."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import re
import threading
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping

from localcloud.cloud import Cloud

# The requests inside a table transaction have whole addresses, so only the outer one begins with a slash.
_REQUEST = re.compile(rb"(GET|PUT|POST|DELETE|MERGE|PATCH|HEAD) (/[^ \r\n]*) HTTP/1\.1\r\n")
_LONGEST_LINE = 8192
_POLL = b"numofmessages="
_HOSTS_OWN = b"/azure-webjobs-hosts"
Relaying = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PRICES: Mapping[str, float] = {
    "table": 0.036, "queue": 0.40, "queue looks": 0.40, "blob writes": 5.50, "blob reads": 0.44, "host": 0.44,
}  # fmt: skip
"""US dollars a million operations: general purpose v2, locally redundant, hot tier, public list prices of 2026."""

EVENT_GRID = 1.20
"""US dollars that Event Grid charges for a million events: 0.60 for publishing and 0.60 for one delivery."""


class Relay(threading.Thread):
    """Relays the three ports of Azurite; `counts` has operations by kind, looks into a queue apart.

    `requests` has them one by one, by what they ask for.
    """

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(daemon=True)
        self._targets = {name: cloud.ports[name] for name in ("azurite_blob", "azurite_queue", "azurite_table")}
        self.ports: dict[str, int] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.requests: collections.Counter[str] = collections.Counter()
        self._ready = threading.Event()
        self.start()
        self._ready.wait(10)

    def run(self) -> None:
        """Serve until the process ends."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        for name, target in self._targets.items():
            server = await asyncio.start_server(self._relaying(name, target), "127.0.0.1", 0, backlog=1024)
            self.ports[name] = server.sockets[0].getsockname()[1]
        self._ready.set()
        await asyncio.Event().wait()

    def _relaying(self, name: str, target: int) -> Relaying:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                upstream, downstream = await asyncio.open_connection("127.0.0.1", target)
                await asyncio.gather(self._pass(reader, downstream, name), self._pass(upstream, writer, None))

        return relay

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str | None) -> None:
        tail = b""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if name:
                    tail = self._count(name, tail + chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()

    def _count(self, name: str, text: bytes) -> bytes:
        """Count what is in the text; the rest that may be the beginning of a request line."""
        end = 0
        for found in _REQUEST.finditer(text):
            kind = _kind(name, found[1], found[2])
            self.counts[kind] += 1
            self.requests[f"{kind}: {found[1].decode()} {_asked(found[2].decode())}"] += 1
            end = found.end()
        return text[max(end, len(text) - _LONGEST_LINE) :]


def _kind(name: str, method: bytes, path: bytes) -> str:
    if name == "azurite_blob":
        if _HOSTS_OWN in path:
            return "host"  # leases of the Functions host, which every app pays for
        return "blob reads" if method in (b"GET", b"HEAD") else "blob writes"
    return "queue looks" if _POLL in path else name.removeprefix("azurite_")


def _asked(path: str) -> str:
    """What a request is about: its address without account and keys, whole for none of many."""
    path, _, query = path.partition("?")
    parts = path.strip("/").split("/")[1:]
    row = re.search(r"RowKey='([a-z]?)", urllib.parse.unquote(path))
    name = "/".join(parts[:2]).split("(")[0] + (f" row {row[1]}" if row else "")
    return (
        name
        + (" query" if "$filter" in urllib.parse.unquote(query) else "")
        + (" append" if "appendblock" in query else "")
    )


def dollars(operations: Mapping[str, float]) -> float:
    """What operations cost at `PRICES`."""
    return sum(count * PRICES[kind] / 1e6 for kind, count in operations.items())
