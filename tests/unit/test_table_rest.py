"""Batches as the table service reads and answers them, and what the lane store makes of the answers."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable

import pytest

from shared.adapters import lane_rows as rows
from shared.adapters.intake_table import TableLaneIntake
from shared.adapters.storage_rest import Answer, Request
from shared.adapters.table_rest import Insert, Merge, Refusal, RestTable, address, decode, encode
from shared.errors import Closed, Unavailable
from shared.lanes import LaneKey
from shared.ports import Absorption

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
LANE = LaneKey("curate", "k")
HOSTILE = ["\ud800", 'it\'s "quoted"', "a\r\nb\r\n--changeset_b--\r\n--batch_b--", "\u2028\x00ü𝄞", "HTTP/1.1 500 X"]


def sent(body: bytes, boundary: str) -> list[tuple[str, dict[str, object]]]:
    """Request line and entity of every part, read by the book: parts end at the delimiter, heads at an empty line."""
    outer, _, rest = body.decode("ascii").partition("\r\n\r\n")
    assert outer == f"--batch_{boundary}\r\nContent-Type: multipart/mixed; boundary=changeset_{boundary}"
    inner, closing, after = rest.partition(f"\r\n--changeset_{boundary}--\r\n")
    assert (bool(closing), after) == (True, f"\r\n--batch_{boundary}--\r\n")
    found = []
    for part in ("\r\n" + inner).split(f"\r\n--changeset_{boundary}\r\n")[1:]:
        mime, head, text = part.split("\r\n\r\n", 2)
        assert mime == "Content-Type: application/http\r\nContent-Transfer-Encoding: binary"
        line, *headers = head.split("\r\n")
        assert f"Content-Length: {len(text)}" in headers
        assert ("If-Match: *" in headers) == line.startswith("PATCH ")
        found.append((line, json.loads(text)))
    return found


@pytest.mark.parametrize("value", HOSTILE)
def test_a_batch_keeps_every_value(value: str) -> None:
    operations = [Merge({"PartitionKey": "p", "RowKey": "o", "v": value}), Insert({"v": value, "n": 7})]
    found = sent(encode("http://host/acc/lanes", operations, "b"), "b")
    assert found[0] == ("PATCH http://host/acc/lanes(PartitionKey='p',RowKey='o') HTTP/1.1", operations[0].entity)
    assert found[1] == ("POST http://host/acc/lanes HTTP/1.1", operations[1].entity)


def test_keys_are_quoted_and_escaped() -> None:
    assert address("a'b", "o~0 /ü%") == "(PartitionKey='a%27%27b',RowKey='o~0%20%2F%C3%BC%25')"


def test_a_full_page_with_large_bindings_is_one_batch_of_ascii() -> None:
    events = [absorption(f"e{n}", path="ä" * 2000 + "\ud800") for n in range(98)]
    page = rows.page_entity(LANE, "p", events, NOON)
    operations = [
        Merge({"PartitionKey": "p", "RowKey": "o"}),
        Insert(page),
        *(Insert({"RowKey": e.id}) for e in events),
    ]
    found = sent(encode("http://h/t", operations, "b"), "b")
    assert len(found) == 100
    assert rows.events_of(found[1][1]) == events
    assert all(len(value) <= 32_000 for value in found[1][1].values() if isinstance(value, str))


# -- answers -------------------------------------------------------------------------------------------------------


def done(count: int) -> Answer:
    part = (
        "--changesetresponse_1\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\nETag: x\r\n\r\n\r\n"
    )
    return Answer(202, {}, f"--batchresponse_1\r\n\r\n{part * count}--changesetresponse_1--\r\n".encode())


def refused(status: int, code: str, index: int | None = 0) -> Answer:
    value = f"{'' if index is None else f'{index}:'}Told.\\nRequestId:1\\nHTTP/1.1 202"
    text = json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": "V"}}}).replace("V", value)
    head = "--batchresponse_1\r\n\r\n--changesetresponse_1\r\nContent-Type: application/http\r\n\r\n"
    body = f"{head}HTTP/1.1 {status} X\r\nContent-ID: 1\r\n\r\n{text}\r\n--changesetresponse_1--\r\n"
    return Answer(202, {}, body.encode())


class Service:
    """Answers in turn; a table's reads are answered by what it `holds`."""

    endpoint = "http://h/acc"

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.holds = list(answers), {}
        self.sizes: list[int] = []
        self.unread: Answer | None = None

    async def send(self, _what: str, request: Request, read: Callable[[Answer], Answer] = lambda a: a) -> Answer:
        if request.method == "GET" and self.unread:
            return self.unread
        if request.method == "GET":
            row = re.search(r"RowKey='(.*)'\)", request.path)
            found = self.holds.get(row[1]) if row else None
            return Answer(200, {}, json.dumps(found).encode()) if found else Answer(404, {}, b"{}")
        self.sizes.append(request.body.count(b"POST ") + request.body.count(b"PATCH "))
        page = re.search(rb'"RowKey": "(p~[^"]*)"', request.body)
        self.page = page[1].decode() if page else ""
        answer = self.answers.pop(0)
        if answer.status == 299:  # it landed, and then another said what follows
            self.holds[self.page] = {"RowKey": self.page}
            answer = self.answers.pop(0)
        return read(answer)


LANDED = Answer(299, {}, b"")


async def transact(*answers: Answer) -> Refusal | list[str]:
    return await RestTable(Service(*answers), "t").transact("x", [Insert({"RowKey": "a"})] * 2)  # type: ignore[arg-type]


async def test_a_batch_that_was_done() -> None:
    assert await transact(done(2)) == ["x", "x"]


@pytest.mark.parametrize("status", [400, 404, 409, 412, 413])
async def test_a_batch_that_was_refused_tells_status_code_and_operation(status: int) -> None:
    assert await transact(refused(status, "Why", 12)) == Refusal(status, "Why", 12)
    assert await transact(refused(status, "Why", None)) == Refusal(status, "Why", None)


def test_a_busy_service_inside_a_batch_is_seen_by_the_one_who_repeats() -> None:
    assert decode(refused(503, "ServerBusy")).status == 503


async def test_a_batch_too_large_to_be_looked_at_is_refused() -> None:
    assert await transact(Answer(413, {}, b"<Code>RequestBodyTooLarge</Code>")) == Refusal(
        413, "RequestBodyTooLarge", None
    )


@pytest.mark.parametrize(
    "answer",
    [
        done(1),
        Answer(202, {}, b""),
        Answer(400, {}, b""),
        Answer(403, {}, b""),
        Answer(404, {}, b""),
        refused(404, "TableNotFound"),
    ],
    ids=["half", "empty", "400", "403", "404", "no table"],
)
async def test_what_says_nothing_of_the_transaction_is_unavailable(answer: Answer) -> None:
    with pytest.raises(Unavailable):
        await transact(answer)


# -- the lane store ------------------------------------------------------------------------------------------------


class Noon:
    def now(self) -> dt.datetime:
        return NOON


def absorption(name: str, **bindings: str) -> Absorption:
    return Absorption(name, name, "Some.Event", bindings, f"ref-{name}", NOON)


def store(service: Service) -> TableLaneIntake:
    return TableLaneIntake(RestTable(service, "t"), Noon())  # type: ignore[arg-type]


async def test_a_conflict_with_our_own_page_means_that_it_landed() -> None:
    answer = await store(Service(LANDED, refused(409, "EntityAlreadyExists", 1))).absorb(LANE, 1, [absorption("a")])
    assert answer.fresh == {"a"}


async def test_a_fence_that_is_gone_after_our_own_page_landed_means_that_it_landed() -> None:
    answer = await store(Service(LANDED, refused(404, "ResourceNotFound"))).absorb(LANE, 1, [absorption("a")])
    assert answer.fresh == {"a"}


async def test_a_fence_that_is_gone_means_closed() -> None:
    with pytest.raises(Closed):
        await store(Service(refused(404, "ResourceNotFound"))).absorb(LANE, 1, [absorption("a")])


async def test_a_conflict_with_another_s_row_is_a_duplicate_and_the_rest_goes_again() -> None:
    service = Service(refused(409, "EntityAlreadyExists", 2), done(3))
    service.holds["d~a"] = {"reference": "first"}
    answer = await store(service).absorb(LANE, 1, [absorption("a"), absorption("b")])
    assert (answer.fresh, answer.duplicates, service.sizes) == ({"b"}, {"a": "first"}, [4, 3])


@pytest.mark.parametrize("status", [400, 413])
async def test_only_the_event_that_cannot_be_kept_is_refused(status: int) -> None:
    no = refused(status, "PropertyValueTooLarge", 1)
    service = Service(no, no, no, done(3), done(4))
    answer = await store(service).absorb(LANE, 1, [absorption(name) for name in "abcd"])
    assert answer.fresh == {"b", "c", "d"}
    assert list(answer.refused) == ["a"]


@pytest.mark.parametrize("answer", [refused(412, "X"), refused(403, "X"), done(1)], ids=["412", "403", "half"])
async def test_an_outcome_that_is_not_known_is_unavailable(answer: Answer) -> None:
    with pytest.raises(Unavailable):
        await store(Service(answer)).absorb(LANE, 1, [absorption("a")])


async def test_a_lane_that_cannot_be_read_is_unavailable() -> None:
    service = Service()
    service.unread = Answer(403, {}, b"")
    with pytest.raises(Unavailable):
        await store(service).open_generation(LANE)


async def test_a_new_lane_is_made_by_its_first_absorb_in_one_transaction() -> None:
    service = Service(done(4))
    intake = store(service)
    assert await intake.open_generation(LANE) == 1
    assert (await intake.absorb(LANE, 1, [absorption("a")])).fresh == {"a"}
    assert service.sizes == [4]


async def test_who_finds_that_another_has_made_the_lane_absorbs_into_it() -> None:
    service = Service(refused(409, "EntityAlreadyExists", 0), done(3))
    intake = store(service)
    await intake.open_generation(LANE)
    assert (await intake.absorb(LANE, 1, [absorption("a")])).fresh == {"a"}
    assert service.sizes == [4, 3]


async def test_a_new_lane_whose_making_landed_twice_was_made_once() -> None:
    service = Service(LANDED, refused(409, "EntityAlreadyExists", 0))
    intake = store(service)
    await intake.open_generation(LANE)
    assert (await intake.absorb(LANE, 1, [absorption("a")])).fresh == {"a"}
