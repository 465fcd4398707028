"""Who may do what in the registry: the token exchange of Azure Container Registry."""

from __future__ import annotations

import json
import secrets
import time

from aiohttp import web

from localcloud import identity
from localcloud.cloud import Cloud

_LIFETIME = 3 * 3600


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.HTTPException:
    """An error answer in the shape of the OCI distribution specification; to be raised."""
    kinds: dict[int, type[web.HTTPException]] = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        404: web.HTTPNotFound,
    }
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return kinds[status](text=json.dumps(body), content_type="application/json", headers=headers)


class Access:
    """Directory token -> refresh token -> access token for a scope, as `docker login` and Azure's SDK do it."""

    def __init__(self, cloud: Cloud) -> None:
        self._service = cloud.url("registry").removeprefix("https://")
        self._refresh: set[str] = set()
        self._scopes: dict[str, str] = {}

    def routes(self) -> list[web.RouteDef]:
        """The two steps of the exchange."""
        return [web.post("/oauth2/exchange", self._exchange), web.post("/oauth2/token", self._token)]

    def grant(self, scope: str) -> str:
        """An access token for `scope`, such as `repository:demand:pull`."""
        token = secrets.token_urlsafe(32)
        self._scopes[token] = scope
        return token

    def check(self, request: web.Request, kind: str, name: str, action: str) -> None:
        """Raise 401 with the challenge unless the caller holds a token for `action` on `name`."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if any(_allows(scope, kind, name, action) for scope in self._scopes.get(token, "").split()):
            return
        challenge = f'Bearer realm="https://{self._service}/oauth2/token",service="{self._service}"'
        challenge += f',scope="{kind}:{name}:{action}"'
        message = "authentication required, visit https://aka.ms/acr/authorization for more information."
        raise refusal(401, "UNAUTHORIZED", message, {"WWW-Authenticate": challenge})

    async def _exchange(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "access_token" or not form.get("access_token"):
            raise refusal(400, "BAD_REQUEST", "grant_type must be access_token and access_token must be given")
        refresh = identity.token(self._service, expires=int(time.time()) + _LIFETIME)
        self._refresh.add(refresh)
        return web.json_response({"refresh_token": refresh})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("refresh_token") not in self._refresh:
            raise refusal(401, "UNAUTHORIZED", "the refresh token is unknown; anonymous pull is not enabled")
        return web.json_response({"access_token": self.grant(str(form.get("scope", "")))})


def _allows(scope: str, kind: str, name: str, action: str) -> bool:
    granted_kind, _, rest = scope.partition(":")
    granted_name, _, actions = rest.rpartition(":")
    return granted_kind == kind and granted_name == name and bool({action, "*"} & set(actions.split(",")))
