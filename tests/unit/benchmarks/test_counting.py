"""The relay that counts: what Azure would bill, however the bytes are cut."""

from __future__ import annotations

import pytest

from benchmarks.counting import EVENT_GRID, PRICES, Relay, dollars
from localcloud.cloud import SERVICES, Cloud

BATCH = (
    b"POST /sluicestore/$batch HTTP/1.1\r\nContent-Type: multipart/mixed\r\n\r\n--b\r\n\r\n"
    b"POST http://127.0.0.1:1/sluicestore/lanes HTTP/1.1\r\n\r\n{}\r\n"
    b"MERGE http://127.0.0.1:1/sluicestore/lanes(PartitionKey='a') HTTP/1.1\r\n\r\n{}\r\n--b--"
)


@pytest.fixture
def relay() -> Relay:
    return Relay(Cloud("counted", dict.fromkeys(SERVICES, 1)))


def count(relay: Relay, service: str, text: bytes, piece: int) -> None:
    tail = b""
    for at in range(0, len(text), piece):
        tail = relay._count(service, tail + text[at : at + piece])


@pytest.mark.parametrize("piece", [7, 64, 10_000])
def test_a_transaction_is_one_operation_however_it_is_cut(relay: Relay, piece: int) -> None:
    count(relay, "azurite_table", BATCH * 3, piece)
    assert relay.counts == {"table": 3}


@pytest.mark.parametrize(
    ("service", "line", "kind"),
    [
        ("azurite_blob", b"PUT /sluicestore/sluice/journal/a?comp=appendblock", "blob writes"),
        ("azurite_blob", b"GET /sluicestore/sluice/sets/a", "blob reads"),
        ("azurite_blob", b"PUT /sluicestore/azure-webjobs-hosts/locks/a?comp=lease", "host"),
        ("azurite_queue", b"GET /sluicestore/sluice-run/messages?numofmessages=16", "queue looks"),
        ("azurite_queue", b"POST /sluicestore/sluice-run/messages", "queue"),
    ],
)
def test_each_kind_of_operation_has_its_price(relay: Relay, service: str, line: bytes, kind: str) -> None:
    count(relay, service, line + b" HTTP/1.1\r\nHost: a\r\n\r\n", 9)
    assert relay.counts == {kind: 1}
    assert kind in PRICES


def test_a_million_appends_cost_more_than_event_grid_itself() -> None:
    assert dollars({"blob writes": 1e6}) > EVENT_GRID > dollars({"table": 1e6})
