"""One AMQP 1.0 connection as a service sees it: sessions, links, credit and windows (OASIS AMQP 1.0, part 2).

What the links are good for is a `Broker`'s affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from localcloud import amqp_frames as frames
from localcloud.amqp_frames import AmqpError, Frame, Frames, ProtocolError
from localcloud.amqp_types import DecodeError, Described, Symbol, UByte, UInt, ULong, UShort

LARGEST_MESSAGE = 1024 * 1024
IDLE_MS = 240_000
_WINDOW = 65_536
_CREDIT = 300
_numbers = itertools.count(1)


class LostAnswer(Exception):
    """The effect has happened and the peer shall not hear of it: the connection breaks."""


class Broker(Protocol):
    """What a connection asks of the service behind it."""

    async def opened(self, connection: Connection, /) -> None:
        """A connection was opened.  Raises AmqpError to close it again."""

    async def attached(self, link: Link) -> None:
        """A link was attached.  Raises AmqpError to refuse it."""

    async def received(self, link: Link, message: bytes, message_format: int) -> None:
        """A whole message came.  Raises AmqpError to reject it, LostAnswer."""

    def credited(self, link: Link) -> None:
        """A peer that receives can take more."""

    def detached(self, link: Link) -> None:
        """A link is gone."""


class Session:
    """One session of a connection."""

    def __init__(self, channel: int, begin: Sequence[Any]) -> None:
        self.channel = channel
        self.links: dict[int, Link] = {}
        self.next_incoming = int(begin[1] or 0)
        self.next_outgoing = 1
        self.window = int(begin[2] or 0)
        self.deliveries = itertools.count(1)

    def flowed(self, fields: Sequence[Any]) -> None:
        """The peer told its window."""
        seen = 1 if fields[0] is None else fields[0]
        self.window = (seen + fields[1] - self.next_outgoing) & 0xFFFFFFFF


class Link:
    """One link, from the peer's attach on.  `receiving` tells that the peer is the one who receives."""

    def __init__(self, connection: Connection, session: Session, attach: Sequence[Any]) -> None:
        self.connection, self.session = connection, session
        self.name, self.handle, self.receiving = str(attach[0]), int(attach[1]), bool(attach[2])
        self._attach = attach
        terminus = attach[5] if self.receiving else attach[6]
        self.terminus: list[Any] = [*(terminus.value if isinstance(terminus, Described) else []), *[None] * 11]
        self.properties: Mapping[str, Any] = attach[13] or {}
        wanted = attach[12]
        self.desired = [wanted] if isinstance(wanted, str) else list(wanted or [])
        self.node: Any = None
        self.credit = self.delivered = 0
        self._buffer, self._format, self._delivery = bytearray(), 0, 0

    @property
    def address(self) -> str:
        """The node's address, without scheme and host."""
        address = str(self.terminus[0] or "")
        return address.split("/", 3)[-1] if "://" in address else address

    @property
    def gone(self) -> bool:
        """Whether the link is detached."""
        return self.session.links.get(self.handle) is not self

    def answer(self, refusal: AmqpError | None) -> None:
        """Attach this side, and detach it at once when it is refused; refused links have no terminus."""
        name, handle, receiving, sender_mode, receiver_mode, source, target = self._attach[:7]
        modes = (UByte(sender_mode or 0), UByte(receiver_mode or 0))
        if refusal:
            source, target = (None, target) if receiving else (source, None)
        ends = (source, target, None, None, UInt(0) if receiving else None, ULong(LARGEST_MESSAGE))
        self._send(frames.ATTACH, [name, UInt(handle), not receiving, *modes, *ends, None, None, None])
        if refusal:
            self.detach(refusal)
        elif not receiving:
            self._grant()

    def detach(self, reason: AmqpError | None) -> None:
        """Detach, with the reason for the peer."""
        self.session.links.pop(self.handle, None)
        self._send(frames.DETACH, [UInt(self.handle), True, reason.described if reason else None])

    def flowed(self, fields: Sequence[Any]) -> None:
        """The peer told its credit."""
        self.credit = (fields[5] or 0) + (fields[6] or 0) - self.delivered

    def may_send(self, size: int) -> bool:
        """Whether credit and window let a message of `size` bytes go out now."""
        needed = -(-size // self.connection.room)
        return not self.gone and self.credit > 0 and self.session.window >= min(needed, _WINDOW // 2)

    def send(self, message: bytes) -> None:
        """Send a message to a receiving peer, in as many frames as it takes."""
        session, room = self.session, self.connection.room
        number = next(session.deliveries) & 0xFFFFFFFF
        head = [UInt(self.handle), UInt(number), struct.pack(">I", number), UInt(0), False]
        for at in range(0, len(message), room):
            more = at + room < len(message)
            fields = [*head, more, None, None, False, False, False]
            self._send(frames.TRANSFER, fields, message[at : at + room])
            session.next_outgoing = (session.next_outgoing + 1) & 0xFFFFFFFF
            session.window -= 1
        self.delivered += 1
        self.credit -= 1

    def take(self, frame: Frame) -> tuple[bytes, int] | None:
        """A frame of a sending peer; message and format when it completes one."""
        fields = frame.fields
        self._delivery = self._delivery if fields[1] is None else fields[1]
        self._format = self._format if fields[3] is None else fields[3]
        self._buffer += frame.payload
        if fields[9]:
            self._buffer.clear()
        if fields[5] or fields[9]:
            return None
        message, self._buffer = bytes(self._buffer), bytearray()
        self.delivered += 1
        self.credit -= 1
        return message, self._format

    def settle(self, rejection: AmqpError | None) -> None:
        """Tell the sending peer what became of the message."""
        outcome = Described(frames.REJECTED, [rejection.described]) if rejection else Described(frames.ACCEPTED, [])
        self._send(frames.DISPOSITION, [True, UInt(self._delivery), UInt(self._delivery), True, outcome, False])

    def replenish(self) -> None:
        """Give a sending peer credit before it runs out."""
        if self.credit < _CREDIT // 2:
            self._grant()

    def _grant(self) -> None:
        self.credit = _CREDIT
        session = self.session
        windows = [UInt(session.next_incoming), UInt(_WINDOW), UInt(session.next_outgoing), UInt(_WINDOW)]
        own = [UInt(self.handle), UInt(self.delivered & 0xFFFFFFFF), UInt(self.credit), None, False, False, None]
        self._send(frames.FLOW, windows + own)

    def _send(self, performative: int, fields: Sequence[Any], payload: bytes = b"") -> None:
        self.connection.frames.send(self.session.channel, performative, fields, payload)


class Connection:
    """A connection from its first byte to its last."""

    def __init__(self, broker: Broker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.frames = Frames(reader, writer)
        self.claims: dict[str, float] = {}
        """Audiences that the peer has proved its right to, and until when (seconds since 1970)."""
        self.room = 256
        """How many bytes of a message fit into a frame."""
        self._broker = broker
        self._sessions: dict[int, Session] = {}
        self._heard = time.monotonic()

    async def serve(self) -> None:
        """Serve until the peer is done, breaks off or breaks the protocol."""
        keeper: asyncio.Task[None] | None = None
        try:
            await self.frames.greet()
            keeper = asyncio.create_task(self._keep())
            while await self._step():
                await self.frames.drain()
        except (asyncio.IncompleteReadError, OSError, LostAnswer):
            self.frames.abort()
        except (DecodeError, ProtocolError) as error:
            self._close(AmqpError("amqp:decode-error", str(error)))
        except AmqpError as error:
            self._close(error)
        finally:
            if keeper is not None:
                keeper.cancel()
            for session in self._sessions.values():
                self._drop(session)
            self.frames.close()

    def abort(self) -> None:
        """Break it off."""
        self.frames.abort()

    async def _step(self) -> bool:
        """Handle one frame; False when the peer closed the connection."""
        frame = await self.frames.next()
        self._heard = time.monotonic()
        if frame is None:
            return True
        session = self._sessions.get(frame.channel)
        if frame.performative == frames.OPEN:
            await self._open(frame)
        elif frame.performative == frames.BEGIN:
            self._begin(frame)
        elif frame.performative == frames.CLOSE:
            self._close(None)
            return False
        elif session is not None:
            await self._on_session(session, frame)
        return True

    async def _open(self, frame: Frame) -> None:
        self.room = max(256, min(frame.fields[2] or frames.MAX_FRAME, frames.MAX_FRAME) - 512)
        name, limits = f"local-{next(_numbers)}", [UInt(frames.MAX_FRAME), UShort(4999), UInt(IDLE_MS)]
        product = {Symbol("product"): "sluice-local-event-hubs"}
        self.frames.send(0, frames.OPEN, [name, frame.fields[1], *limits, None, None, None, None, product])
        await self._broker.opened(self)

    def _begin(self, frame: Frame) -> None:
        self._sessions[frame.channel] = Session(frame.channel, frame.fields)
        numbers = [UShort(frame.channel), UInt(1), UInt(_WINDOW), UInt(_WINDOW), UInt(255)]
        self.frames.send(frame.channel, frames.BEGIN, [*numbers, None, None, None])

    async def _on_session(self, session: Session, frame: Frame) -> None:
        fields = frame.fields
        if frame.performative == frames.ATTACH:
            await self._attach(session, frame)
        elif frame.performative == frames.FLOW:
            session.flowed(fields)
            for link in list(session.links.values()):
                if link.handle == fields[4]:
                    link.flowed(fields)
                if link.receiving:
                    self._broker.credited(link)
            if fields[9]:
                numbers = [UInt(session.next_incoming), UInt(_WINDOW), UInt(session.next_outgoing), UInt(_WINDOW)]
                self.frames.send(session.channel, frames.FLOW, [*numbers, *[None] * 4, False, False, None])
        elif frame.performative == frames.TRANSFER:
            await self._transfer(session, frame)
        elif frame.performative == frames.DETACH and (link := session.links.get(fields[0])):
            link.detach(None)
            self._broker.detached(link)
        elif frame.performative == frames.END:
            self._drop(self._sessions.pop(session.channel))
            self.frames.send(session.channel, frames.END, [None])

    async def _attach(self, session: Session, frame: Frame) -> None:
        link = Link(self, session, frame.fields)
        session.links[link.handle] = link
        try:
            await self._broker.attached(link)
        except AmqpError as refusal:
            link.answer(refusal)
        else:
            link.answer(None)

    async def _transfer(self, session: Session, frame: Frame) -> None:
        session.next_incoming = (session.next_incoming + 1) & 0xFFFFFFFF
        link = session.links.get(frame.fields[0])
        whole = link.take(frame) if link else None
        if link is None or whole is None:
            return
        rejection = None
        try:
            await self._broker.received(link, *whole)
        except AmqpError as error:
            rejection = error
        except DecodeError as error:
            rejection = AmqpError("amqp:decode-error", str(error))
        if not frame.fields[4]:
            link.settle(rejection)
        link.replenish()

    def _close(self, error: AmqpError | None) -> None:
        with contextlib.suppress(OSError):
            self.frames.send(0, frames.CLOSE, [error.described if error else None])

    def _drop(self, session: Session) -> None:
        for link in list(session.links.values()):
            session.links.pop(link.handle)
            self._broker.detached(link)

    async def _keep(self) -> None:
        """Say now and then that this side is alive, and end when the peer has said nothing for too long."""
        while time.monotonic() - self._heard < IDLE_MS / 1000:
            await asyncio.sleep(15)
            self.frames.beat()
        self.frames.abort()
