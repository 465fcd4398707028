"""The managed identity endpoint: tokens for whoever knows the identity header.

The tokens are JWTs that SDKs can decode; nothing here verifies their signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from aiohttp import web

from localcloud.cloud import TENANT, Cloud

CLIENT = "00000000-0000-0000-0000-00000000000c"
LIFETIME = 24 * 3600
_SIGNING_KEY = b"local cloud only"


class Identity:
    """`GET /msi/token`, as App Service and Functions offer it (api-version 2019-08-01)."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        """The endpoint's routes."""
        return [web.get("/msi/token", self._token)]

    async def _token(self, request: web.Request) -> web.Response:
        if request.headers.get("X-IDENTITY-HEADER") != self._cloud.trust()["IDENTITY_HEADER"]:
            return _error(401, "invalid_request", "the header X-IDENTITY-HEADER does not hold IDENTITY_HEADER's value")
        resource = request.query.get("resource", "")
        if not resource:
            return _error(400, "invalid_resource", "the query parameter 'resource' is missing")
        expires = int(time.time()) + LIFETIME
        client = request.query.get("client_id", CLIENT)
        self._cloud.record("identity", "token_issued", resource=resource, client_id=client)
        return web.json_response(
            {
                "access_token": token(resource, expires=expires, client=client),
                "expires_on": str(expires),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client,
            }
        )


def token(resource: str, *, expires: int, client: str = CLIENT) -> str:
    """A JWT for `resource`; the audience has no trailing slash, which Azure ML's SDK insists on."""
    issued = int(time.time())
    claims = {
        "aud": resource.rstrip("/"),
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": issued,
        "nbf": issued - 300,
        "exp": expires,
        "tid": TENANT,
        "oid": client,
        "appid": client,
        "idtyp": "app",
        "ver": "1.0",
    }
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.new(_SIGNING_KEY, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encode(signature)}"


def _part(content: dict[str, Any]) -> str:
    return _encode(json.dumps(content, separators=(",", ":")).encode())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": code, "error_description": message, "statusCode": status}, status=status)
