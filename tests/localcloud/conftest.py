"""Local clouds in temporary folders."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from localcloud import certificates, ports
from localcloud.cloud import ROOT, Cloud
from tests.localcloud.namespaces import Namespace


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """A cloud with free ports whose state lies in a temporary folder; nothing of it runs."""
    (tmp_path / ".envs").symlink_to(ROOT / ".envs")
    return Cloud("test", ports.choose({}), tmp_path)


@pytest.fixture
def namespace(cloud: Cloud) -> Iterator[Namespace]:
    """The Event Hubs namespace of a cloud, running."""
    certificates.prepare(cloud)
    made = Namespace(cloud)
    made.start()
    yield made
    made.stop()


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(routes, port)`: an http server for the test; its address."""
    runners: list[web.AppRunner] = []

    async def start(
        routes: list[web.RouteDef], port: int = 0, tls: ssl.SSLContext | None = None, **options: object
    ) -> str:
        app = web.Application(client_max_size=0, **options)  # type: ignore[arg-type]
        app.add_routes(routes)
        runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=0.5)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as session:
        yield session
