"""The intake's REST client: who it says it is, and what it sends again."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.data.tables._authentication import SharedKeyCredentialPolicy as TablePolicy
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy as BlobPolicy

from shared.adapters import storage_rest
from shared.adapters.blob_rest import RestContainer
from shared.adapters.storage_rest import Bearer, Request, SharedKey, StorageRest, TableKey, open_service
from shared.errors import Unavailable
from shared.settings import Storage

KEY = base64.b64encode(b"a key of an account").decode()
BASES = {"http://127.0.0.1:10000/acc": "/acc", "https://acc.blob.core.windows.net": ""}

# -- signatures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", BASES)
@pytest.mark.parametrize(
    "request_",
    [
        Request("PUT", "/c/journal/2026/03/a-000001", {"x-ms-blob-type": "AppendBlob", "If-None-Match": "*"}),
        Request("HEAD", "/c/journal/2026/03/a-000001"),
        Request(
            "PUT",
            "/c/a%20b",
            {"x-ms-blob-condition-appendpos": "17", "Content-Type": "application/octet-stream"},
            b"block",
            "comp=appendblock",
        ),
    ],
    ids=["create", "size", "append"],
)
async def test_a_blob_request_is_signed_as_the_sdk_signs_it(endpoint: str, request_: Request) -> None:
    versioned = Request(
        request_.method,
        request_.path,
        {"x-ms-version": "2021-12-02", **request_.headers},
        request_.body,
        request_.query,
    )
    signed = await SharedKey("acc", KEY, BASES[endpoint]).sign(versioned)
    query = f"?{request_.query}" if request_.query else ""
    theirs = HttpRequest(request_.method, f"{endpoint}{request_.path}{query}", headers=dict(versioned.headers))
    theirs.headers["x-ms-date"] = signed["x-ms-date"]
    theirs.headers["Content-Length"] = str(len(request_.body))
    BlobPolicy("acc", KEY).on_request(PipelineRequest(theirs, PipelineContext(None)))
    assert signed["Authorization"] == theirs.headers["Authorization"]


@pytest.mark.parametrize("endpoint", BASES)
@pytest.mark.parametrize("path", ["/$batch", "/lanes(PartitionKey='ab',RowKey='o~0%20%2F%C3%BC')"])
async def test_a_table_request_signs_the_resource_that_the_sdk_signs(endpoint: str, path: str) -> None:
    """The SDK signs tables with SharedKey; SharedKeyLite is the same HMAC over date and resource alone."""
    signed = await TableKey("acc", KEY, BASES[endpoint]).sign(Request("POST", path))
    policy = TablePolicy(AzureNamedKeyCredential("acc", KEY))
    request = PipelineRequest(HttpRequest("POST", endpoint + path), PipelineContext(None))
    resource = policy._get_canonicalized_resource(request)
    policy._add_authorization_header(request.http_request, f"{signed['x-ms-date']}\n{resource}")
    theirs = request.http_request.headers["Authorization"]
    assert signed["Authorization"] == theirs.replace("SharedKey ", "SharedKeyLite ")


async def test_a_second_s_table_requests_for_one_path_share_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = storage_rest._signature
    monkeypatch.setattr(storage_rest, "_signature", lambda key, text: made.append(text) or real(key, text))
    now = 1_800_000_000.0
    monkeypatch.setattr(storage_rest.time, "time", lambda: now)
    signer = TableKey("acc", KEY, "")
    first = await signer.sign(Request("POST", "/$batch", body=b"one"))
    assert await signer.sign(Request("POST", "/$batch", body=b"two")) == first
    await signer.sign(Request("GET", "/other"))
    assert len(made) == 2
    now += 1
    assert (await signer.sign(Request("POST", "/$batch")))["x-ms-date"] != first["x-ms-date"]
    assert len(made) == 3


class Identity:
    """An asynchronous credential whose tokens live `lifetime` seconds."""

    def __init__(self, lifetime: float) -> None:
        self.lifetime, self.asked, self.refuses = lifetime, 0, False

    async def get_token(self, scope: str) -> Any:
        assert scope == "https://storage.azure.com/.default"
        if self.refuses:
            raise ClientAuthenticationError("no")
        self.asked += 1
        await asyncio.sleep(0)
        return SimpleNamespace(token=f"t{self.asked}", expires_on=time.time() + self.lifetime)


async def test_a_token_is_asked_for_once_until_it_is_about_to_end() -> None:
    identity = Identity(3600)
    bearer = Bearer(identity)
    signed = await asyncio.gather(*(bearer.sign(Request("GET", "/")) for _ in range(5)))
    assert {each["Authorization"] for each in signed} == {"Bearer t1"}
    identity = Identity(60)
    bearer = Bearer(identity)
    await bearer.sign(Request("GET", "/"))
    assert (await bearer.sign(Request("GET", "/")))["Authorization"] == "Bearer t2"
    identity.refuses = True
    assert (await bearer.sign(Request("GET", "/")))["Authorization"] == "Bearer t2", "it is good for a minute yet"


async def test_an_identity_without_a_token_is_unavailable() -> None:
    identity = Identity(60)
    identity.refuses = True
    with pytest.raises(Unavailable, match="identity"):
        await Bearer(identity).sign(Request("GET", "/"))


def test_a_service_is_where_the_account_or_its_connection_string_says() -> None:
    def at(connection: str | None) -> str:
        return open_service(Storage("acc", connection), "table", lambda: Identity(1)).endpoint

    assert at(None) == "https://acc.table.core.windows.net"
    assert at(f"AccountName=acc;AccountKey={KEY}") == "https://acc.table.core.windows.net"
    assert at(f"AccountName=acc;AccountKey={KEY};EndpointSuffix=core.example") == "https://acc.table.core.example"
    assert at(f"AccountName=acc;AccountKey={KEY};TableEndpoint=http://127.0.0.1:2/acc/;") == "http://127.0.0.1:2/acc"


# -- what is sent again --------------------------------------------------------------------------------------------

Write = Callable[[asyncio.StreamWriter], None]


def says(status: int, body: str = "", **headers: str) -> Write:
    told = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return lambda writer: writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n{body}".encode())


def hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


def breaks_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    writer.close()


def keeps_silent(writer: asyncio.StreamWriter) -> None:
    """The client's patience ends it."""


class Server:
    """Answers each request by the next line of its script; `idle` closes a connection that is quiet that long."""

    def __init__(self) -> None:
        self.script: list[Write] = []
        self.heard: list[tuple[str, bytes]] = []
        self.connections, self.idle = 0, 60.0
        self.service = StorageRest("http://unset", SharedKey("acc", KEY, ""), "2021-12-02")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            while not writer.is_closing():
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.idle)).decode()
                sizes = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
                body = await reader.readexactly(int(sizes[0].split(":")[1]) if sizes else 0)
                self.heard.append((head.splitlines()[0], body))
                self.script.pop(0)(writer)
                await writer.drain()
        writer.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(storage_rest, "_PAUSE", 0.001)
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.service.endpoint = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield server
    await server.service.close()
    listening.close()


POST = Request("POST", "/$batch", {"Content-Type": "text/plain"}, b"body")


async def test_a_connection_is_kept(server: Server) -> None:
    server.script = [says(200, "1"), says(200, "2")]
    assert [(await server.service.send("x", POST)).body for _ in range(2)] == [b"1", b"2"]
    assert server.connections == 1


async def test_an_idle_connection_that_the_service_closed_is_survived(server: Server) -> None:
    server.idle, server.script = 0.05, [says(200), says(200)]
    await server.service.send("x", POST)
    await asyncio.sleep(0.2)
    await server.service.send("x", POST)
    assert (server.connections, len(server.heard)) == (2, 2)


async def test_a_connection_closed_before_an_answer_began_is_tried_once_more(server: Server) -> None:
    server.script = [says(200), hangs_up, says(201, "landed")]
    await server.service.send("x", POST)
    assert (await server.service.send("x", POST)).body == b"landed"
    assert server.heard == [("POST /$batch HTTP/1.1", b"body")] * 3


async def test_a_connection_closed_twice_is_unavailable(server: Server) -> None:
    server.script = [hangs_up, hangs_up, says(200)]
    with pytest.raises(Unavailable, match="cannot be reached for lane x"):
        await server.service.send("lane x", POST)
    assert len(server.heard) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_passes_is_tried_three_times(server: Server, status: int) -> None:
    server.script = [says(status), says(status), says(202)]
    assert (await server.service.send("x", POST)).status == 202
    server.script = [says(status, '{"odata.error":{"code":"ServerBusy"}}')] * 3
    with pytest.raises(Unavailable, match=f"{status} ServerBusy"):
        await server.service.send("x", POST)
    assert len(server.heard) == 6


async def test_the_service_says_how_long_to_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(storage_rest.asyncio, "sleep", sleep)
    server.script = [says(503, Retry_After="2"), says(200)]
    await server.service.send("x", POST)
    assert 2.0 in slept


async def test_a_long_wait_is_the_sender_s(server: Server) -> None:
    server.script = [says(503, Retry_After="60")]
    with pytest.raises(Unavailable) as told:
        await server.service.send("x", POST)
    assert told.value.retry_after == 60
    assert len(server.heard) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 412, 413, 502, 504])
async def test_no_other_status_is_sent_again(server: Server, status: int) -> None:
    server.script = [says(status)]
    assert (await server.service.send("x", POST)).status == status
    assert len(server.heard) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_an_answer_that_breaks_off_is_not_asked_for_again(server: Server, method: str) -> None:
    server.script = [breaks_off, says(200)]
    with pytest.raises(Unavailable):
        await server.service.send("x", Request(method, "/"))
    assert len(server.heard) == 1


async def test_silence_is_not_asked_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_rest, "_SILENT", 0.05)
    server.script = [keeps_silent, says(200)]
    with pytest.raises(Unavailable, match="in time"):
        await server.service.send("x", POST)
    assert len(server.heard) == 1


async def test_a_service_that_is_away_is_unavailable_at_once() -> None:
    service = StorageRest("http://127.0.0.1:1", SharedKey("acc", KEY, ""), "2021-12-02")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await service.send("x", POST)
    await service.close()


async def test_a_large_body_is_sent_again_whole(server: Server) -> None:
    server.script = [says(503), hangs_up, says(201)]
    block = b"x" * 3_000_000
    await RestContainer(server.service, "c").append("journal/a", block, 5)
    assert [body == block for _, body in server.heard] == [True] * 3


async def test_a_new_blob_that_exists_is_our_own(server: Server) -> None:
    server.script = [
        says(409, "<Error><Code>BlobAlreadyExists</Code></Error>"),
        says(409, "<Code>ContainerBeingDeleted</Code>"),
    ]
    container = RestContainer(server.service, "c")
    await container.create("journal/a")
    with pytest.raises(Unavailable, match="ContainerBeingDeleted"):
        await container.create("journal/b")
