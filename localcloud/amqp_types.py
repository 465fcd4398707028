"""AMQP 1.0's type system: values to bytes and back (OASIS AMQP 1.0, part 1).

Python's own types are used where one fits.  Numbers are written as `long` unless they are one of the types here,
because a peer looks at the type too.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any


class Symbol(str):
    """A symbol: a name of a protocol, not text."""


class UByte(int):
    """8 bits without sign."""


class UShort(int):
    """16 bits without sign."""


class UInt(int):
    """32 bits without sign."""


class ULong(int):
    """64 bits without sign."""


class Int(int):
    """32 bits with sign."""


class Timestamp(int):
    """Milliseconds since 1970 in UTC."""


class Array(tuple[str, ...]):
    """An array of strings, or of symbols when its items are symbols."""


class Described:
    """A value whose descriptor says what it means."""

    def __init__(self, descriptor: int | str, value: Any) -> None:
        self.descriptor = descriptor
        self.value = value


class DecodeError(Exception):
    """Bytes that are not AMQP."""


_CONSTANTS: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_FIXED = {
    code: struct.Struct(f">{letter}")
    for code, letter in {
        0x50: "B", 0x51: "b", 0x52: "B", 0x53: "B", 0x54: "b", 0x55: "b", 0x60: "H", 0x61: "h", 0x70: "I", 0x71: "i",
        0x72: "f", 0x73: "I", 0x80: "Q", 0x81: "q", 0x82: "d", 0x83: "q",
    }.items()
}  # fmt: skip
_OPAQUE = {0x74: 4, 0x84: 8, 0x94: 16}
_SHORT_BYTES, _LONG_BYTES = {0xA0, 0xA1, 0xA3}, {0xB0, 0xB1, 0xB3}
_COMPOUND = {0xC0: False, 0xC1: False, 0xD0: True, 0xD1: True, 0xE0: False, 0xF0: True}
_MAPS, _ARRAYS = {0xC1, 0xD1}, {0xE0, 0xF0}


def encode(value: Any) -> bytes:
    """`value` in AMQP; TypeError for what has no place in it."""
    if value is None:
        return b"\x40"
    if isinstance(value, bool):
        return b"\x41" if value else b"\x42"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"\x82" + struct.pack(">d", value)
    if isinstance(value, str):
        return _sized(0xA3 if isinstance(value, Symbol) else 0xA1, value.encode())
    if isinstance(value, bytes):
        return _sized(0xA0, value)
    if isinstance(value, uuid.UUID):
        return b"\x98" + value.bytes
    if isinstance(value, Described):
        code = ULong(value.descriptor) if isinstance(value.descriptor, int) else Symbol(value.descriptor)
        return b"\x00" + encode(code) + encode(value.value)
    return _compound(value)


def _integer(value: int) -> bytes:
    if isinstance(value, UByte):
        return bytes((0x50, value))
    if isinstance(value, UShort):
        return b"\x60" + struct.pack(">H", value)
    if isinstance(value, UInt):
        return b"\x43" if not value else bytes((0x52, value)) if value < 256 else b"\x70" + struct.pack(">I", value)
    if isinstance(value, ULong):
        return b"\x44" if not value else bytes((0x53, value)) if value < 256 else b"\x80" + struct.pack(">Q", value)
    if isinstance(value, Int):
        return b"\x71" + struct.pack(">i", value)
    return (b"\x83" if isinstance(value, Timestamp) else b"\x81") + struct.pack(">q", value)


def _sized(code: int, raw: bytes) -> bytes:
    """Text or bytes; the code of the long form is 16 higher."""
    return bytes((code, len(raw))) + raw if len(raw) < 256 else bytes((code + 16,)) + struct.pack(">I", len(raw)) + raw


def _compound(value: Any) -> bytes:
    if isinstance(value, Array):
        code = 0xB3 if value and isinstance(value[0], Symbol) else 0xB1
        items = b"".join(struct.pack(">I", len(item.encode())) + item.encode() for item in value)
        return b"\xf0" + struct.pack(">IIB", len(items) + 5, len(value), code) + items
    if isinstance(value, dict):
        items = b"".join(encode(key) + encode(item) for key, item in value.items())
        return b"\xd1" + struct.pack(">II", len(items) + 4, 2 * len(value)) + items
    if isinstance(value, list | tuple):
        items = b"".join(map(encode, value))
        return b"\xd0" + struct.pack(">II", len(items) + 4, len(value)) + items
    raise TypeError(f"{type(value).__name__} has no place in AMQP")


def decode(raw: bytes | memoryview, start: int = 0) -> tuple[Any, int]:
    """The value at `start` and where the next one begins; DecodeError for what is not AMQP."""
    try:
        return _decode_as(raw[start], raw, start + 1)
    except (IndexError, struct.error, ValueError, TypeError, RecursionError) as error:
        raise DecodeError(f"no AMQP value at byte {start}: {error}") from error


def _decode_as(code: int, raw: bytes | memoryview, at: int) -> tuple[Any, int]:
    """The value whose constructor `code` was read already."""
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if code in _FIXED:
        kind = _FIXED[code]
        return kind.unpack_from(raw, at)[0], at + kind.size
    if code in _SHORT_BYTES or code in _LONG_BYTES:
        return _decode_bytes(code, raw, at)
    if code in _COMPOUND:
        return _decode_compound(code, raw, at)
    if code == 0x00:
        descriptor, at = decode(raw, at)
        value, at = decode(raw, at)
        return Described(descriptor, value), at
    if code == 0x45:
        return [], at
    if code == 0x56:
        return bool(raw[at]), at + 1
    if code == 0x98:
        return uuid.UUID(bytes=bytes(raw[at : at + 16])), at + 16
    if code in _OPAQUE:
        return bytes(raw[at : at + _OPAQUE[code]]), at + _OPAQUE[code]
    raise DecodeError(f"unknown constructor {code:#04x} before byte {at}")


def _decode_bytes(code: int, raw: bytes | memoryview, at: int) -> tuple[Any, int]:
    if code in _SHORT_BYTES:
        size, at = raw[at], at + 1
    else:
        size, at = struct.unpack_from(">I", raw, at)[0], at + 4
    found = bytes(raw[at : at + size])
    if len(found) < size:
        raise DecodeError(f"{size} bytes are announced at byte {at} and {len(found)} are there")
    kind = code & 0x0F
    return found if kind == 0 else Symbol(found.decode()) if kind == 3 else found.decode(), at + size


def _decode_compound(code: int, raw: bytes | memoryview, at: int) -> tuple[Any, int]:
    if _COMPOUND[code]:
        size, count = struct.unpack_from(">II", raw, at)
        end, at = at + 4 + size, at + 8
    else:
        size, count = raw[at], raw[at + 1]
        end, at = at + 1 + size, at + 2
    found = []
    if code in _ARRAYS:
        item, at = raw[at], at + 1
        for _ in range(count):
            value, at = _decode_as(item, raw, at)
            found.append(value)
        return found, end
    for _ in range(count):
        value, at = decode(raw, at)
        found.append(value)
    return (dict(zip(found[::2], found[1::2], strict=True)) if code in _MAPS else found), end
