"""Which partition a key belongs to: Bob Jenkins's lookup3, as the service and its clients compute it.

The two hashes of `hashlittle2` are combined with exclusive or, read as 16 bits with sign, and divided by the number of
partitions.
"""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF


def partition_of(key: str, partitions: int) -> int:
    """The number of the partition that events with `key` go to."""
    one, other = _hashes(key.encode())
    (low,) = struct.unpack(">h", struct.pack(">H", (one ^ other) & 0xFFFF))
    return abs(low) % partitions


def _hashes(data: bytes) -> tuple[int, int]:
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c, b
    # All blocks but the last are mixed; the last may be short, counts as filled up with zeros, and ends the matter.
    blocks = [data[at : at + 12] for at in range(0, len(data), 12)]
    for block in blocks[:-1]:
        a, b, c = _mix(*_added(a, b, c, block))
    a, b, c = _added(a, b, c, blocks[-1])
    return _final(a, b, c)


def _added(a: int, b: int, c: int, block: bytes) -> tuple[int, int, int]:
    first, second, third = struct.unpack("<III", block.ljust(12, b"\0"))
    return (a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        # Each round is the one before with the names moved on: (a, b, c) -> (b, c, a).
        a = ((a - c) & _MASK) ^ _rotated(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, bits)) & _MASK
        a, b, c = b, c, a
    # After seven rounds the names have moved on seven times: what was c is b, what was b is a.
    return b, a
