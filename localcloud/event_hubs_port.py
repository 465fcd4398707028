"""The port of the event hubs.  What a caller speaks is told by its first byte: AMQP, TLS with AMQP in it, or HTTP.

HTTP is for fault rules, which are posted to every service's own port.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_FIRST_BYTE_WITHIN = 60.0
_AMQP, _TLS = b"A", b"\x16"


class SharedPort:
    """One listening socket for three protocols."""

    def __init__(self, amqp: Serve, http: Callable[[], asyncio.BaseProtocol], tls: ssl.SSLContext | None) -> None:
        self._amqp, self._http, self._tls = amqp, http, tls
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen; `OSError` when the port is taken."""
        self._listening = socket.create_server(("127.0.0.1", port), backlog=128)
        self._listening.setblocking(False)
        self._begin(self._accept(self._listening))

    async def close(self) -> None:
        """Stop listening, and end the connections that speak AMQP."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()

    def _begin(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            self._begin(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            first = await asyncio.wait_for(_first_byte(connection), _FIRST_BYTE_WITHIN)
            if first not in {_AMQP, _TLS}:
                if first:
                    await loop.connect_accepted_socket(self._http, connection)
                else:
                    connection.close()
                return
            tls = self._tls if first == _TLS else None
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        except (OSError, TimeoutError, asyncio.CancelledError):
            connection.close()
            return
        await self._amqp(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def _first_byte(connection: socket.socket) -> bytes:
    """The first byte, left where it is; empty when the caller hung up."""
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    there: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, lambda: there.done() or there.set_result(None))
    try:
        await there
    finally:
        loop.remove_reader(connection)
    return connection.recv(1, socket.MSG_PEEK)
