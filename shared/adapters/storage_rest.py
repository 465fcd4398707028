"""Azure Storage's REST interface: signed requests on kept-alive connections, and what is sent again.

Every request that is made here may be sent twice: it reads, it creates what nobody else names, it expects a position or
a version, or it is a message that may come twice.  So a request is repeated when a kept connection turns out to be
closed before an answer began, and when the service says 429, 500 or 503.  It is not repeated after a timeout, a broken
answer, a refused connection or any other status: those are Unavailable at once, or the caller's to judge.
(learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key)
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import datetime as dt
import email.utils
import hashlib
import hmac
import io
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
from azure.core.exceptions import AzureError
from yarl import URL

from shared.adapters.retry_after import retry_after
from shared.errors import Unavailable
from shared.settings import Storage

VERSION = {"table": "2019-02-02", "blob": "2021-12-02", "queue": "2021-12-02"}
_SCOPE = "https://storage.azure.com/.default"
_EARLY = 300
_PASSING = frozenset({429, 500, 503})
_TRIES = 3
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_CONNECT, _SILENT, _WHOLE, _BYTES_A_SECOND = 5, 15, 20, 500_000
_LARGE = 1 << 20
_CONNECTIONS = 64
_KEPT = 60
_CODE = re.compile(rb'"code"\s*:\s*"(\w+)"|<Code>(\w+)</Code>')
_KEY_HEADERS = ("content-md5", "content-type", "date", "if-modified-since", "if-match", "if-none-match")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` begins below the service's address and is sent, and signed, as it is."""

    method: str
    path: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    query: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What the service said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Azure's own word for the refusal, such as `EntityAlreadyExists`; empty when it gave none."""
        found = _CODE.search(self.body)
        return (found[1] or found[2]).decode() if found else str(self.headers.get("x-ms-error-code", ""))

    @property
    def wait(self) -> float | None:
        """The service's own wish, in seconds, for how long to wait."""
        return retry_after(self.headers, dt.datetime.now(dt.UTC))

    def unavailable(self, what: str) -> Unavailable:
        """The error for an answer that nobody expects."""
        text = f"the store could not answer for {what}: {self.status} {self.code}".rstrip()
        return Unavailable(text, retry_after=self.wait)


class Signer(Protocol):
    """Proves who asks."""

    async def sign(self, request: Request) -> dict[str, str]:
        """The headers to add."""


class TableKey:
    """SharedKeyLite for tables signs date and path only, so a second's requests for one path share a signature."""

    def __init__(self, account: str, key: str, base: str) -> None:
        self._account, self._key, self._root = account, base64.b64decode(key), f"/{account}{base}"
        self._second, self._date = 0, ""
        self._signed: dict[str, dict[str, str]] = {}

    async def sign(self, request: Request) -> dict[str, str]:
        """See `Signer`."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date, self._signed = second, email.utils.formatdate(second, usegmt=True), {}
        signed = self._signed.get(request.path)
        if signed is None:
            signature = _signature(self._key, f"{self._date}\n{self._root}{request.path}")
            signed = {"x-ms-date": self._date, "Authorization": f"SharedKeyLite {self._account}:{signature}"}
            self._signed[request.path] = signed
        return signed


class SharedKey:
    """SharedKey for blobs and queues signs the whole head of a request."""

    def __init__(self, account: str, key: str, base: str) -> None:
        self._account, self._key, self._root = account, base64.b64decode(key), f"/{account}{base}"

    async def sign(self, request: Request) -> dict[str, str]:
        """See `Signer`."""
        date = email.utils.formatdate(usegmt=True)
        headers = {name.lower(): value for name, value in request.headers.items()} | {"x-ms-date": date}
        head = [request.method, "", "", str(len(request.body) or "")]
        head += [headers.get(name, "") for name in _KEY_HEADERS] + ["", ""]
        head += sorted(f"{name}:{value}" for name, value in headers.items() if name.startswith("x-ms-"))
        head.append(self._root + request.path)
        head += sorted(f"{name.lower()}:{value}" for name, value in urllib.parse.parse_qsl(request.query))
        signature = _signature(self._key, "\n".join(head))
        return {"x-ms-date": date, "Authorization": f"SharedKey {self._account}:{signature}"}


class Bearer:
    """A token of the app's identity, asked for again some minutes before it ends."""

    def __init__(self, credential: Any) -> None:
        self._credential, self._token, self._ends = credential, "", 0.0
        self._asking = asyncio.Lock()

    async def sign(self, request: Request) -> dict[str, str]:  # noqa: ARG002 a token is good for every request
        """See `Signer`."""
        if time.time() > self._ends - _EARLY:
            async with self._asking:
                if time.time() > self._ends - _EARLY:
                    await self._ask()
        return {"x-ms-date": email.utils.formatdate(usegmt=True), "Authorization": f"Bearer {self._token}"}

    async def _ask(self) -> None:
        try:
            token = await self._credential.get_token(_SCOPE)
        except AzureError as error:
            if time.time() < self._ends:
                return
            raise Unavailable(f"the identity gives no token for the store: {str(error).splitlines()[0]}") from error
        self._token, self._ends = token.token, float(token.expires_on)


class SharedAccess:
    """A shared access signature is in the query, and nothing else is signed."""

    async def sign(self, request: Request) -> dict[str, str]:  # noqa: ARG002
        """See `Signer`."""
        return {"x-ms-date": email.utils.formatdate(usegmt=True)}


def _signature(key: bytes, text: str) -> str:
    return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()


def _as_it_is(answer: Answer) -> Answer:
    return answer


class StorageRest:
    """One service of one account.  Lives on the event loop that first sends through it."""

    def __init__(self, endpoint: str, signer: Signer, version: str, *, access: str = "") -> None:
        self.endpoint = endpoint.rstrip("/")
        self._signer, self._version, self._access = signer, version, access
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    async def send(self, what: str, request: Request, read: Callable[[Answer], Answer] = _as_it_is) -> Answer:
        """The answer, read by `read`; raises Unavailable, naming `what`, when there is none that is worth reading."""
        common = {"x-ms-version": self._version, "Accept": "application/json;odata=nometadata"}
        request = dataclasses.replace(request, headers=common | dict(request.headers))
        attempt = 1
        while True:
            answer = read(await self._exchange(what, request))
            if answer.status not in _PASSING:
                return answer
            pause = answer.wait if answer.wait is not None else _PAUSE * 3 ** (attempt - 1)
            if attempt == _TRIES or pause > _LONGEST_PAUSE:
                raise answer.unavailable(what)
            await asyncio.sleep(pause)
            attempt += 1

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, what: str, request: Request) -> Answer:
        try:
            try:
                response = await self._begin(request)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                response = await self._begin(request)  # an idle connection was closed while this went out
            async with response:
                return Answer(response.status, response.headers, await response.read())
        except TimeoutError as error:
            raise Unavailable(f"the store did not answer in time for {what}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the store cannot be reached for {what}: {error}") from error

    async def _begin(self, request: Request) -> aiohttp.ClientResponse:
        query = "&".join(filter(None, (request.query, self._access)))
        address = f"{self.endpoint}{request.path}" + (f"?{query}" if query else "")
        if self._session is None:
            self._session, self._proxy = _session(), _proxy(self.endpoint)
        return await self._session.request(
            request.method,
            URL(address, encoded=True),
            headers={**request.headers, **await self._signer.sign(request)},
            data=io.BytesIO(request.body) if len(request.body) > _LARGE else request.body or None,
            timeout=aiohttp.ClientTimeout(
                total=_WHOLE + len(request.body) / _BYTES_A_SECOND, sock_connect=_CONNECT, sock_read=_SILENT
            ),
            proxy=self._proxy,
            allow_redirects=False,
        )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEPT),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding"),
    )


def _proxy(endpoint: str) -> str | None:
    """The proxy that the environment names for this service."""
    address = urllib.parse.urlsplit(endpoint)
    if urllib.request.proxy_bypass(address.hostname or ""):
        return None
    return urllib.request.getproxies().get(address.scheme)


def open_service(storage: Storage, service: str, credential: Callable[[], Any]) -> StorageRest:
    """`table`, `blob` or `queue` of an account, with its key, its shared access signature or the app's identity."""
    version = VERSION[service]
    if not storage.connection:
        return StorageRest(storage.url(service), Bearer(credential()), version)
    told = (part.partition("=") for part in storage.connection.split(";"))
    parts = {name.strip().upper(): value.strip() for name, _, value in told}
    suffix, scheme = parts.get("ENDPOINTSUFFIX", "core.windows.net"), parts.get("DEFAULTENDPOINTSPROTOCOL", "https")
    public = f"{scheme}://{storage.account}.{service}.{suffix}"
    endpoint = (parts.get(f"{service.upper()}ENDPOINT") or public).rstrip("/")
    if "ACCOUNTKEY" not in parts:
        access = parts.get("SHAREDACCESSSIGNATURE", "").removeprefix("?")
        return StorageRest(endpoint, SharedAccess(), version, access=access)
    signer = TableKey if service == "table" else SharedKey
    return StorageRest(
        endpoint, signer(storage.account, parts["ACCOUNTKEY"], urllib.parse.urlsplit(endpoint).path), version
    )
