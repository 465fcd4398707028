"""Identity, the telemetry sink, certificates, and fault rules, each with the clients that the app uses."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import ssl
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from azure.identity import ManagedIdentityCredential

from localcloud import certificates
from localcloud.app_insights import AppInsights
from localcloud.cloud import TENANT, Cloud
from localcloud.faults import Faults, Rule
from localcloud.identity import Identity


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


@pytest.mark.parametrize("resource", ["https://ml.azure.com", "https://management.azure.com", "2ff814a6-3304-4ab8"])
async def test_the_managed_identity_sdk_gets_a_token_for_its_resource(
    cloud: Cloud, serve: Any, monkeypatch: pytest.MonkeyPatch, resource: str
) -> None:
    await serve(Identity(cloud).routes(), cloud.ports["identity"])
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, cloud.trust()[name])
    token = await asyncio.to_thread(ManagedIdentityCredential().get_token, f"{resource}/.default")
    assert claims(token.token)["aud"] == resource
    assert claims(token.token)["tid"] == TENANT
    assert claims(token.token)["exp"] == token.expires_on > time.time() + 3600


async def test_the_identity_endpoint_asks_for_its_header(cloud: Cloud, serve: Any, http: aiohttp.ClientSession) -> None:
    base = await serve(Identity(cloud).routes())
    async with http.get(f"{base}/msi/token?resource=x") as response:
        assert response.status == 401
    async with http.get(f"{base}/msi/token", headers={"X-IDENTITY-HEADER": "local"}) as response:
        assert response.status == 400


ITEM = {"name": "n", "data": {"baseType": "EventData", "baseData": {"name": "run_started"}}}


@pytest.mark.parametrize(
    "body",
    [json.dumps([ITEM, ITEM]).encode(), f"{json.dumps(ITEM)}\n{json.dumps(ITEM)}\n".encode()],
    ids=["array", "lines"],
)
async def test_telemetry_is_kept_item_by_item(
    cloud: Cloud, serve_like_the_services: Any, http: aiohttp.ClientSession, body: bytes
) -> None:
    base = await serve_like_the_services(AppInsights(cloud).routes())
    async with http.post(f"{base}/v2.1/track", data=body) as response:
        assert await response.json() == {"itemsReceived": 2, "itemsAccepted": 2, "errors": []}
    packed = {"Content-Encoding": "gzip"}
    async with http.post(f"{base}/v2/track", data=gzip.compress(body), headers=packed) as response:
        assert response.status == 200
    kept = cloud.records("app_insights", "item")
    assert [(row["kind"], row["name"]) for row in kept] == [("Event", "run_started")] * 4


@pytest.fixture
async def serve_like_the_services() -> Any:
    """A server that unpacks compressed bodies, as the services process does for every port but the lake's."""
    runners = []

    async def start(routes: list[web.RouteDef]) -> str:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_https_works_with_the_bundle_and_only_with_it(cloud: Cloud) -> None:
    certificates.prepare(cloud)
    before = cloud.ca_bundle.read_bytes()
    certificates.prepare(cloud)
    assert cloud.ca_bundle.read_bytes() == before
    assert before.count(b"BEGIN CERTIFICATE") > 10

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", cloud.ports["arm"], ssl_context=certificates.server_context(cloud))
    await site.start()
    trusting = ssl.create_default_context(cafile=str(cloud.ca_bundle))
    async with aiohttp.ClientSession() as session:
        async with session.get(cloud.url("arm"), ssl=trusting) as response:
            assert await response.text() == "ok"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(cloud.url("arm"), ssl=ssl.create_default_context(capath="/nowhere"))
    await runner.cleanup()


async def test_fault_rules_are_posted_used_up_and_cleared(serve: Any, http: aiohttp.ClientSession) -> None:
    faults, calls = Faults(), []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response(text="ok")

    base = await serve([*faults.routes(), web.route("*", "/{x}", answer)], middlewares=[faults.middleware])
    busy = {"path": "^/busy", "status": 429, "retry_after": 2, "count": 2}
    rules = [busy, {"path": "^/lost", "method": "POST", "lose_response": True}]
    async with http.post(f"{base}/_faults", json=rules) as response:
        assert response.status == 201
    seen = []
    for _ in range(3):
        async with http.get(f"{base}/busy") as response:
            seen.append((response.status, response.headers.get("Retry-After")))
    assert seen == [(429, "2"), (429, "2"), (200, None)]
    with pytest.raises(aiohttp.ClientError):
        # Not a GET, which the client would repeat by itself.
        await http.post(f"{base}/lost")
    assert "/lost" in calls
    async with http.post(f"{base}/_faults", json={"status": 500, "count": 9}) as response:
        assert response.status == 201
    async with http.delete(f"{base}/_faults") as response:
        assert response.status == 204
    async with http.get(f"{base}/fine") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [([], "object"), ({"typo": 1}, "'typo'"), ({"delivery": "twice"}, "duplicate"), ({"path": "("}, "subpattern")],
)
def test_a_wrong_fault_rule_is_refused_with_the_reason(body: Any, said: str) -> None:
    with pytest.raises((ValueError, re.error), match=said):
        Rule.read(body)
