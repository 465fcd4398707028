"""What the evidence of releases promises, in memory and on Azurite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.adapters.azure_store import open_evidence, open_store
from shared.adapters.memory import SystemClock
from shared.adapters.memory_releases import MemoryEvidence
from shared.event_loop import EventLoop
from shared.release_backends import EvidenceChain
from shared.settings import Storage
from tests.azurites import Azurite


@pytest.fixture(scope="module", params=["memory", "azurite"])
def chain(request: pytest.FixtureRequest) -> Iterator[EvidenceChain]:
    if request.param == "memory":
        yield MemoryEvidence()
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    storage = Storage("sluicestore", azurite.connection_string())
    open_store(storage, SystemClock(), EventLoop(), lambda: None, lambda: None)
    yield open_evidence(storage, lambda: None)


def test_an_endpoint_without_releases_has_no_records(chain: EvidenceChain, key: str) -> None:
    assert chain.all(key) == []
    assert chain.newest(key, 5) == []


def test_a_record_is_never_changed(chain: EvidenceChain, key: str) -> None:
    assert chain.write(key, 1, b"one")
    assert not chain.write(key, 1, b"other")
    assert not chain.write(key, 1, b"one")
    assert chain.all(key) == [b"one"]


def test_records_are_read_by_their_numbers(chain: EvidenceChain, key: str) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        assert chain.write(key, number, b"%d" % number)
    assert chain.all(key) == [b"1", b"2", b"9", b"10", b"11", b"100"]
    assert chain.newest(key, 3) == [b"100", b"11", b"10"]


def test_endpoints_do_not_see_each_other(chain: EvidenceChain, key: str) -> None:
    chain.write(key, 1, b"one")
    assert chain.all(f"{key}-x") == []
    assert chain.all(key[:-1]) == []
