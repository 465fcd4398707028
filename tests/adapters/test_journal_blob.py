"""The journal on append blobs: a line that is damaged hides no other."""

from __future__ import annotations

import datetime as dt
import itertools
import logging

import pytest

from shared.adapters.azure_store import open_store
from shared.errors import NotFound
from shared.event_loop import EventLoop
from shared.settings import Storage
from tests.azurites import Azurite
from tests.contract.conftest import SetClock


@pytest.mark.parametrize("damage", [b"not json\n", b'{"kind": "deli\n', b"[1, 2]\n", b"\xff\xfe\n", b"{}\n"])
def test_a_damaged_line_is_left_out_and_told(azurite: Azurite, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    loop, clock = EventLoop(), SetClock()
    clock.time += dt.timedelta(days=400)  # its file is the newest
    storage = Storage("sluicestore", azurite.connection_string())
    store = open_store(storage, clock, loop, lambda: None, lambda: None)
    [first] = loop.wait(store.journal.append([{"kind": "mark", "number": 1}]))
    file, _, place = first.partition("@")
    at = int(place.partition("+")[2])
    loop.wait(store.journal._rest.append(f"journal/{file}", damage, at))
    store.journal._length += len(damage)
    [last] = loop.wait(store.journal.append([{"kind": "mark", "number": 2}]))
    with caplog.at_level(logging.ERROR):
        scanned = list(itertools.islice(store.journal.scan(), 10))
    assert [reference for reference, _ in scanned if reference.startswith(file)] == [last, first]
    assert f"{file}@{at}+{len(damage)} is damaged" in caplog.text
    lines = list(store.journal.lines(file, 0))
    assert [line.record["number"] if line.record else None for line in lines] == [1, None, 2]
    with pytest.raises(NotFound):
        store.journal.read(f"{file}@{at}+{len(damage)}")
    loop.wait(store.close())
