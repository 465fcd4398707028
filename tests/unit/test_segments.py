"""How a segment of the id index is written, searched and merged."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared import segments
from shared.segments import FAN, LARGEST, Segment

Entries = list[tuple[str, str]]
ENTRIES = st.lists(st.tuples(st.text(max_size=8), st.integers(0, 99).map(str)), max_size=60)


class Blob:
    """A segment's bytes, and how many of them were read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.read, self.reads = content, 0, 0

    def part(self, at: int, length: int) -> bytes:
        self.reads += 1
        found = self.content[at : at + length]
        self.read += len(found)
        return found

    def find(self, name: str) -> list[str]:
        return segments.find(segments.described("s", self.content), name, self.part)


@settings(deadline=None)
@given(ENTRIES, st.text(max_size=8))
def test_a_name_stands_for_all_that_was_entered_under_it_and_nothing_else(entries: Entries, name: str) -> None:
    blob = Blob(segments.body(entries))
    for wanted in {name, *(other for other, _ in entries)}:
        assert blob.find(wanted) == sorted({value for other, value in entries if other == wanted})


@settings(deadline=None)
@given(ENTRIES, ENTRIES)
def test_a_merge_holds_what_its_segments_held_each_once(one: Entries, other: Entries) -> None:
    bodies = [segments.body(one), segments.body(other), segments.body(one)]
    assert segments.merged(bodies) == segments.body([*one, *other])


def test_a_name_in_a_large_segment_is_found_by_one_small_read() -> None:
    place = "2026/03/02/12/0123-000001@{}+600"
    blob = Blob(segments.body((f"name-{number}", place.format(number)) for number in range(100_000)))
    for number in range(0, 100_000, 997):
        blob.read = blob.reads = 0
        (found,) = blob.find(f"name-{number}")
        assert found.endswith(f"@{number}+600")
        assert blob.reads == 1
        assert blob.read < len(blob.content) / 50
    assert blob.find("nobody") == []


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2000), st.integers(3000, 6000))
def test_a_name_with_very_many_entries_is_found_whole_wherever_they_lie(others: int, many: int) -> None:
    """They lie together, so hashes are not spread evenly: more is read until both ends are seen."""
    entries = [(f"other-{number}", "x" * 40) for number in range(others)]
    blob = Blob(segments.body([*entries, *(("often", f"{number:040d}") for number in range(many))]))
    assert len(blob.find("often")) == many
    for number in range(0, others, 100):
        assert blob.find(f"other-{number}") == ["x" * 40]


def test_segments_of_one_size_are_merged_when_there_are_many() -> None:
    small = [Segment(f"s{number}", 100 * (number + 1), 1) for number in range(FAN)]
    large = [Segment("large", LARGEST, 1)] * (FAN + 3)
    assert segments.to_merge([*large, *small[1:]]) == []
    assert segments.to_merge([*large, *small]) == small


def test_there_are_never_many_segments_however_many_were_added() -> None:
    held: list[Segment] = []
    for number in range(5000):
        held.append(Segment(str(number), 3000, 3000 * 65))
        while chosen := segments.to_merge(held):
            whole = Segment(f"m{number}", sum(each.lines for each in chosen), 0)
            held = [*(each for each in held if each not in chosen), whole]
    assert sum(each.lines for each in held) == 15_000_000
    assert len(held) <= 3 * FAN + 15_000_000 * 2 // LARGEST
    assert max(each.lines for each in held) <= LARGEST
