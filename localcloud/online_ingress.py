"""The ingress of online endpoints: checks the key, chooses a deployment by weight, passes the request on."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Protocol

import aiohttp
from aiohttp import web

from localcloud.cloud import Cloud
from localcloud.faults import Faults

CHOSEN = "azureml-model-deployment"
_DROPPED = frozenset({"host", "authorization", "content-length", "transfer-encoding", "connection", CHOSEN})
_TIMEOUT = aiohttp.ClientTimeout(total=60)


class Backend(Protocol):
    """What the ingress must know about endpoints."""

    def keys(self, endpoint: str) -> Sequence[str] | None:
        """The keys of an endpoint; None when there is no such endpoint."""

    def traffic(self, endpoint: str) -> Mapping[str, int]:
        """Per deployment its share of the traffic."""

    def target(self, endpoint: str, deployment: str) -> str | None:
        """The scoring address of a deployment's container; None when there is none."""


class SmoothWeights:
    """Chooses among weighted names so that each gets its share in any short stretch, and always in the same order."""

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def choose(self, weights: Mapping[str, int]) -> str:
        """The next name; at least one weight must be positive."""
        live = {name: weight for name, weight in weights.items() if weight > 0}
        self._credit = {name: self._credit.get(name, 0) + weight for name, weight in live.items()}
        chosen = max(sorted(self._credit), key=lambda name: self._credit[name])
        self._credit[chosen] -= sum(live.values())
        return chosen


class Ingress:
    """`POST /api/v1/endpoint/<name>/score` on the scoring port."""

    def __init__(self, cloud: Cloud, backend: Backend, faults: Faults) -> None:
        self._cloud = cloud
        self._faults = faults
        self._backend = backend
        self._weights: dict[str, SmoothWeights] = {}
        self._session: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        """The scoring route."""
        return [web.post("/api/v1/endpoint/{endpoint}/score", self._score)]

    async def close(self) -> None:
        """Close the connections to the containers."""
        if self._session is not None:
            await self._session.close()

    async def _score(self, request: web.Request) -> web.Response:
        endpoint = request.match_info["endpoint"]
        keys = self._backend.keys(endpoint)
        if keys is None:
            return self._refuse(404, endpoint, None, f"there is no endpoint {endpoint}")
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not any(hmac.compare_digest(key.encode(), known.encode()) for known in keys):
            return self._refuse(401, endpoint, None, "key_auth_access_denied")
        deployment = request.headers.get(CHOSEN) or self._choose(endpoint)
        if deployment is None:
            return self._refuse(404, endpoint, None, f"no deployment of the endpoint {endpoint} takes traffic")
        target = self._backend.target(endpoint, deployment)
        if target is None:
            return self._refuse(404, endpoint, deployment, f"the endpoint {endpoint} has no deployment {deployment}")
        fault = await self._faults.work("score", f"{endpoint}/{deployment}")
        if fault is not None:
            return self._refuse(fault.status, endpoint, deployment, f"fault rule: status {fault.status}")
        return await self._pass_on(request, endpoint, deployment, target)

    def _choose(self, endpoint: str) -> str | None:
        traffic = self._backend.traffic(endpoint)
        if not any(traffic.values()):
            return None
        return self._weights.setdefault(endpoint, SmoothWeights()).choose(traffic)

    async def _pass_on(self, request: web.Request, endpoint: str, deployment: str, target: str) -> web.Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        try:
            async with self._session.post(target, data=await request.read(), headers=headers) as answer:
                body = await answer.read()
                kept = {name: value for name, value in answer.headers.items() if name.lower().startswith("x-ms-")}
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._refuse(502, endpoint, deployment, f"the deployment {deployment} does not answer: {error!r}")
        self._cloud.record("scoring", "request", endpoint=endpoint, deployment=deployment, status=answer.status)
        kept |= {"Content-Type": answer.headers.get("Content-Type", "application/json"), CHOSEN: deployment}
        return web.Response(body=body, status=answer.status, headers=kept)

    def _refuse(self, status: int, endpoint: str, deployment: str | None, message: str) -> web.Response:
        facts = {"endpoint": endpoint, "deployment": deployment, "status": status}
        self._cloud.record("scoring", "request", **facts, message=message)
        headers = {CHOSEN: deployment} if deployment else {}
        return web.json_response({"message": message}, status=status, headers=headers)
