"""The client of the benchmarks: what it takes for an answer, and what for a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.connection import Connection
from benchmarks.load import deliver, post

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nwhy!"


@asynccontextmanager
async def serving(answer: Callable[[int], bytes]) -> AsyncIterator[int]:
    """A server that gives one answer a request; an empty one closes the connection."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            served += 1
            if not (told := answer(served)):
                break
            for byte in (told[:-1], told[-1:]):  # an answer may come in pieces
                writer.write(byte)
                await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("answer", [OK, CHUNKED, EMPTY], ids=["length", "chunked", "no body"])
async def test_every_form_of_an_acknowledgement_is_read(answer: bytes) -> None:
    async with serving(lambda _: answer) as port:
        connection = Connection("127.0.0.1", port)
        for _ in range(2):
            assert (await connection.ask(post(f"http://127.0.0.1:{port}/", b"{}"))).taken
        connection.close()


async def test_what_is_refused_is_kept_and_sent_again() -> None:
    async with serving(lambda served: FAILED if served == 1 else OK) as port:
        address = f"http://127.0.0.1:{port}/"
        one = await deliver(address, [post(address, b"{}")] * 3, 1)
    assert [(refusal.status, refusal.body) for refusal in one.refused] == [(500, b"why!")]
    assert len(one.sent) == 3


async def test_a_connection_that_breaks_is_a_refusal_and_is_opened_again() -> None:
    async with serving(lambda served: b"" if served == 1 else OK) as port:
        address = f"http://127.0.0.1:{port}/"
        one = await deliver(address, [post(address, b"{}")], 1)
    assert [refusal.status for refusal in one.refused] == [0]


async def test_a_round_begins_nothing_after_its_time() -> None:
    async with serving(lambda _: OK) as port:
        address = f"http://127.0.0.1:{port}/"
        one = await deliver(address, [post(address, b"{}")] * 1_000_000, 4, within=0.05)
    assert 0 < sum(1 for at in one.sent if at) < 1_000_000
