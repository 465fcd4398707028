"""One kept-alive HTTP/1.1 connection that speaks whole requests and reads just enough of the answers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt

_WITHIN = 120.0


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An answer: its status (0 when the connection broke), its body, and when it came.  Kept when it is a refusal."""

    status: int
    body: bytes
    at: dt.datetime

    @property
    def taken(self) -> bool:
        """Whether it is an acknowledgement."""
        return 200 <= self.status < 300


class Connection(asyncio.Protocol):
    """Asks one request at a time; opens itself, and again after the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._transport: asyncio.Transport | None = None
        self._buffer, self._answer = b"", asyncio.get_running_loop().create_future()

    async def ask(self, request: bytes) -> Refusal:
        """The answer to a whole request."""
        status, body = 0, b""
        try:
            if self._transport is None or self._transport.is_closing():
                await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)
            self._buffer, self._answer = b"", asyncio.get_running_loop().create_future()
            assert self._transport is not None
            self._transport.write(request)
            status, body = await asyncio.wait_for(self._answer, _WITHIN)
        except OSError as error:
            body = repr(error).encode()
        if not 200 <= status < 300 and self._transport is not None:
            self._transport.close()
        return Refusal(status, body, dt.datetime.now(dt.UTC))

    def close(self) -> None:
        """Let go of the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        found = _read(self._buffer)
        if found is not None and not self._answer.done():
            self._answer.set_result(found)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        with contextlib.suppress(asyncio.InvalidStateError):
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))


def _read(buffer: bytes) -> tuple[int, bytes] | None:
    """Status and body of a whole answer; None while more is to come."""
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None
    status, lines = int(head[9:12]), head.lower()
    if b"transfer-encoding: chunked" in lines:
        return (status, rest) if rest.endswith(b"0\r\n\r\n") else None
    at = lines.find(b"content-length:")
    length = int(lines[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return (status, rest) if len(rest) >= length else None
