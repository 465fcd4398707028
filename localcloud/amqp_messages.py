"""AMQP 1.0's messages: their sections, read without changing what was sent (OASIS AMQP 1.0, part 3)."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from localcloud.amqp_types import DecodeError, Described, Symbol, ULong, decode, encode

HEADER, DELIVERY, ANNOTATIONS, PROPERTIES, APPLICATION = 0x70, 0x71, 0x72, 0x73, 0x74
DATA, SEQUENCE, VALUE, FOOTER = 0x75, 0x76, 0x77, 0x78

_BARE = frozenset({PROPERTIES, APPLICATION, DATA, SEQUENCE, VALUE, FOOTER})
_MAP_PREFIX = 3  # the section's own constructor: 0x00 0x53 <code>


@dataclasses.dataclass(frozen=True)
class Section:
    """One section: what it is, its bytes as they were sent, and its value."""

    code: int
    raw: bytes
    value: Any


def sections(message: bytes) -> Iterator[Section]:
    """The sections of an encoded message; DecodeError for what is none."""
    at = 0
    while at < len(message):
        value, end = decode(message, at)
        if not isinstance(value, Described) or not isinstance(value.descriptor, int):
            raise DecodeError(f"byte {at} begins no section of a message")
        yield Section(value.descriptor, message[at:end], value.value)
        at = end


@dataclasses.dataclass(frozen=True)
class Message:
    """A message by its sections."""

    parts: tuple[Section, ...]

    @classmethod
    def read(cls, raw: bytes) -> Message:
        """The message in `raw`."""
        return cls(tuple(sections(raw)))

    def value(self, code: int) -> Any:
        """The value of the first section of a kind, None when there is none."""
        return next((part.value for part in self.parts if part.code == code), None)

    def bodies(self) -> list[bytes]:
        """The contents of all Data sections."""
        return [part.value for part in self.parts if part.code == DATA]

    def annotated(self, more: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """The message with further annotations, as what stands before and what after the delivery annotations.

        All else is passed on byte by byte; delivery annotations are the sender's own affair and are left out.
        """
        old = next((part.raw for part in self.parts if part.code == ANNOTATIONS), b"")
        count, items = _items(old) if old else (0, b"")
        items += b"".join(encode(Symbol(name)) + encode(value) for name, value in more.items())
        size = struct.pack(">II", len(items) + 4, count + 2 * len(more))
        annotations = bytes((0x00, 0x53, ANNOTATIONS, 0xD1)) + size + items
        head = b"".join(part.raw for part in self.parts if part.code == HEADER)
        return head, annotations + b"".join(part.raw for part in self.parts if part.code in _BARE)


def reply(correlation: Any, application: Mapping[str, Any], body: Any) -> bytes:
    """A message that answers a request."""
    if isinstance(correlation, int):
        correlation = ULong(correlation)
    properties = [None] * 5 + [correlation]
    parts = ((PROPERTIES, properties + [None] * 7), (APPLICATION, dict(application)), (VALUE, body))
    return b"".join(encode(Described(code, value)) for code, value in parts)


def _items(raw: bytes) -> tuple[int, bytes]:
    """How many keys and values an encoded map section holds, and their bytes."""
    code = raw[_MAP_PREFIX]
    if raw[:2] != b"\x00\x53" or code not in (0xC1, 0xD1):
        raise DecodeError("the message annotations are no map")
    if code == 0xC1:
        return raw[_MAP_PREFIX + 2], raw[_MAP_PREFIX + 3 :]
    return struct.unpack_from(">I", raw, _MAP_PREFIX + 5)[0], raw[_MAP_PREFIX + 9 :]
