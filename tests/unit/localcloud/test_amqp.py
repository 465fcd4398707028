"""AMQP's bytes: what is written is read back, what is not AMQP is said to be so; the log keeps and finds events."""

from __future__ import annotations

import math
import struct
import uuid
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud import event_hub_placement
from localcloud.amqp_messages import ANNOTATIONS, DATA, Message
from localcloud.amqp_types import Array, DecodeError, Described, Int, Symbol, Timestamp, UInt, ULong, decode, encode
from localcloud.event_hub import start_of
from localcloud.event_hub_log import PartitionLog

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1).map(UInt),
    st.integers(0, 2**64 - 1).map(ULong),
    st.integers(-(2**31), 2**31 - 1).map(Int),
    st.integers(0, 2**40).map(Timestamp),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.text(st.characters(max_codepoint=127), max_size=30).map(Symbol),
    st.binary(max_size=300),
    st.uuids(),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    raw = encode(value)
    assert decode(raw) == (value, len(raw))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_no_amqp(raw: bytes) -> None:
    try:
        _, end = decode(raw)
    except DecodeError:
        return
    assert end > 0


def test_arrays_symbols_and_descriptions_are_read_back() -> None:
    assert decode(encode(Array(("a", "bc"))))[0] == ["a", "bc"]
    found = decode(encode(Described(0x75, b"x")))[0]
    assert (found.descriptor, found.value) == (0x75, b"x")
    assert math.isnan(decode(encode(math.nan))[0])
    assert decode(encode(uuid.UUID(int=7)))[0] == uuid.UUID(int=7)
    with pytest.raises(TypeError):
        encode(object())


def message(body: bytes, annotations: dict[str, Any] | None = None) -> bytes:
    parts: list[tuple[int, Any]] = [(0x70, [True]), (0x71, {"secret": 1})]
    if annotations is not None:
        parts.append((ANNOTATIONS, {Symbol(name): value for name, value in annotations.items()}))
    parts += [(0x74, {"own": "property"}), (DATA, body)]
    return b"".join(encode(Described(code, value)) for code, value in parts)


@pytest.mark.parametrize("annotations", [None, {}, {"x-opt-partition-key": "k"}])
def test_annotations_are_added_and_all_else_stays_to_the_byte(annotations: dict[str, Any] | None) -> None:
    sent = Message.read(message(b"body", annotations))
    before, after = sent.annotated({"x-opt-sequence-number": 3})
    got = Message.read(before + after)
    assert got.value(ANNOTATIONS) == {**(annotations or {}), "x-opt-sequence-number": 3}
    kept = {0x70, 0x74, DATA}
    assert [part for part in got.parts if part.code in kept] == [part for part in sent.parts if part.code in kept]


def test_short_maps_of_other_encoders_are_added_to_as_well() -> None:
    items = encode(Symbol("a")) + encode(1)
    raw = b"\x00\x53\x72\xc1" + bytes((len(items) + 1, 2)) + items + encode(Described(DATA, b""))
    before, after = Message.read(raw).annotated({"b": 2})
    assert Message.read(before + after).value(ANNOTATIONS) == {"a": 1, "b": 2}


# -- the log -------------------------------------------------------------------------------------------------------


def log(folder: Path, **options: Any) -> PartitionLog:
    return PartitionLog(folder, **({"retention_ms": 10_000, "segment_bytes": 500} | options))


def test_events_are_numbered_without_a_gap_over_segments_and_restarts(tmp_path: Path) -> None:
    first = log(tmp_path)
    for number in range(0, 30, 3):
        assert first.append([message(bytes((number + more,))) for more in range(3)], 1000 + number) == number
    assert len(list(tmp_path.glob("*.log"))) > 3
    again = log(tmp_path)
    assert (again.first, again.next) == (0, 30)
    for number in range(30):
        stored = again.read(number)
        assert stored == first.read(number)
        assert Message.read(stored.before + stored.after).bodies() == [bytes((number,))]
    assert again.append([message(b"more")], 2000) == 30


def test_what_was_not_written_whole_is_cut_off(tmp_path: Path) -> None:
    first = log(tmp_path, segment_bytes=10_000)
    first.append([message(b"whole"), message(b"torn")], 1)
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes()[:-3])
    again = log(tmp_path)
    assert again.next == 1
    assert again.append([message(b"next")], 2) == 1
    assert [Message.read(log(tmp_path).read(number).after).bodies() for number in (0, 1)] == [[b"whole"], [b"next"]]


def test_a_message_that_cannot_be_read_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    kept = log(tmp_path)
    with pytest.raises(DecodeError):
        kept.append([message(b"good"), b"\xff"], 1)
    assert (kept.next, log(tmp_path).next) == (0, 0)


def test_segments_past_their_time_go_and_offsets_and_numbers_go_on(tmp_path: Path) -> None:
    kept = log(tmp_path)
    for number in range(40):
        kept.append([message(b"x")], number * 1000)
    assert 0 < kept.first < 40
    assert kept.read(kept.first).offset > 0
    assert kept.after_offset(-1, inclusive=False) == kept.first
    assert (log(tmp_path).first, log(tmp_path).next) == (kept.first, 40)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=25), st.integers(-2, 30), st.booleans())
def test_positions_are_found_as_a_search_through_all_events_finds_them(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], asked: int, inclusive: bool
) -> None:
    kept = log(tmp_path_factory.mktemp("log"), retention_ms=10**9)
    now = 0
    for step in steps:
        now += step
        kept.append([message(b"x")], now)
    events = [kept.read(number) for number in range(kept.next)]
    offset = events[asked].offset if 0 <= asked < len(events) else -1

    def naive(values: list[int], wanted: int) -> int:
        found = (place for place, value in enumerate(values) if value > wanted or (inclusive and value == wanted))
        return next(found, len(values))

    sign = ">=" if inclusive else ">"
    for what, values, wanted in (
        ("offset", [event.offset for event in events], offset),
        ("enqueued-time", [event.enqueued for event in events], asked),
        ("sequence-number", list(range(len(events))), asked),
    ):
        selector = f"amqp.annotation.x-opt-{what} {sign} '{wanted}'"
        assert start_of(kept, selector) == naive(values, wanted), selector


def test_a_reader_without_a_position_or_at_the_end_gets_what_is_new(tmp_path: Path) -> None:
    kept = log(tmp_path)
    kept.append([message(b"x")], 1)
    assert start_of(kept, "") == 1
    assert start_of(kept, "amqp.annotation.x-opt-offset > '@latest'") == 1


@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=64))
def test_a_key_is_hashed_as_the_sdk_hashes_it(key: str) -> None:
    """The SDK's own remainder differs for negative hashes (Python's sign rule); the service's is C#'s."""
    (ours,) = struct.unpack(">h", struct.pack(">H", _low_bits(key)))
    assert ours == generate_hash_code(key)
    assert event_hub_placement.partition_of(key, 32) == abs(ours) % 32


def _low_bits(key: str) -> int:
    one, other = event_hub_placement._hashes(key.encode())
    return (one ^ other) & 0xFFFF
