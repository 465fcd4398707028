"""AMQP 1.0's frames on a stream: performatives with what they carry, and the SASL exchange that comes first.

Lists are written with every field, also trailing nulls: the Python client takes fields by position.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import Sequence
from typing import Any

from localcloud.amqp_types import Array, Described, Symbol, UByte, decode, encode

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
ERROR, ACCEPTED, REJECTED = 0x1D, 0x24, 0x25

MAX_FRAME = 65536
_SASL_MECHANISMS, _SASL_OUTCOME = 0x40, 0x44
_AMQP, _SASL = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
_MOST_FIELDS = 14
_EMPTY = b"\x00\x00\x00\x08\x02\x00\x00\x00"


class ProtocolError(Exception):
    """The peer broke the protocol, or its stream ended."""


class AmqpError(Exception):
    """What the peer is told: a condition of the specification, and a sentence."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.described = Described(ERROR, [Symbol(condition), description, None])


@dataclasses.dataclass(frozen=True)
class Frame:
    """One performative on a channel; `fields` is padded with nulls, `payload` is what follows it."""

    channel: int
    performative: int
    fields: Sequence[Any]
    payload: bytes


class Frames:
    """The two directions of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def greet(self) -> None:
        """Exchange protocol headers; any SASL mechanism is good, who the peer is comes later, as a token."""
        header = await self._reader.readexactly(8)
        if header == _SASL:
            self._writer.write(_SASL)
            mechanisms = Array(Symbol(name) for name in ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"))
            self._write(0, Described(_SASL_MECHANISMS, [mechanisms]), b"", kind=1)
            await self._read()
            self._write(0, Described(_SASL_OUTCOME, [UByte(0), b"Welcome!"]), b"", kind=1)
            header = await self._reader.readexactly(8)
        self._writer.write(_AMQP)
        if header != _AMQP:
            raise ProtocolError(f"the peer speaks {header!r}, not AMQP 1.0")

    async def next(self) -> Frame | None:
        """The next frame; None for an empty one, which only says that the peer is alive."""
        channel, body = await self._read()
        if not body:
            return None
        value, end = decode(body)
        if not isinstance(value, Described) or not isinstance(value.value, list):
            raise ProtocolError("a frame holds no performative")
        fields = value.value + [None] * (_MOST_FIELDS - len(value.value))
        return Frame(channel, int(value.descriptor), fields, body[end:])

    def send(self, channel: int, performative: int, fields: Sequence[Any], payload: bytes = b"") -> None:
        """Write a performative; it leaves when the loop next runs."""
        self._write(channel, Described(performative, list(fields)), payload)

    def beat(self) -> None:
        """Say that this side is alive."""
        self._writer.write(_EMPTY)

    async def drain(self) -> None:
        """Return when not too much waits to leave."""
        await self._writer.drain()

    def abort(self) -> None:
        """Break the connection off without a word."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Let what is written leave, then close."""
        self._writer.close()

    def _write(self, channel: int, performative: Described, payload: bytes, kind: int = 0) -> None:
        body = encode(performative) + payload
        self._writer.write(struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body)

    async def _read(self) -> tuple[int, bytes]:
        size, offset, _, channel = struct.unpack(">IBBH", await self._reader.readexactly(8))
        if not 8 <= size <= MAX_FRAME or offset < 2:
            raise ProtocolError(f"a frame of {size} bytes with its body at {4 * offset}")
        body = await self._reader.readexactly(size - 8)
        return channel, body[4 * offset - 8 :]
