"""Counts storage operations: a TCP relay before Azurite that reads request lines as they pass."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import re
import threading
from collections.abc import Awaitable, Callable

from localcloud.cloud import Cloud

# The requests inside a table transaction have whole addresses, so only the outer one begins with a slash.
_REQUEST = re.compile(rb"(?:GET|PUT|POST|DELETE|MERGE|PATCH|HEAD) (/[^ \r\n]*) HTTP/1\.1\r\n")
_POLL = b"numofmessages="
Relaying = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Relay(threading.Thread):
    """Relays the three ports of Azurite; `counts` has operations by service, looks into a queue apart."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(daemon=True)
        self._targets = {name: cloud.ports[name] for name in ("azurite_blob", "azurite_queue", "azurite_table")}
        self.ports: dict[str, int] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self._ready = threading.Event()
        self.start()
        self._ready.wait(10)

    def run(self) -> None:
        """Serve until the process ends."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        for name, target in self._targets.items():
            server = await asyncio.start_server(self._relaying(name, target), "127.0.0.1", 0)
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
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if name:
                    for path in _REQUEST.findall(chunk):
                        self.counts["queue looks" if _POLL in path else name.removeprefix("azurite_")] += 1
                writer.write(chunk)
                await writer.drain()
        writer.close()
