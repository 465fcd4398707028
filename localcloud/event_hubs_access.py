"""Who may talk to the event hubs: shared access signatures and tokens of Microsoft Entra, put on the node `$cbs`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.parse

from localcloud.cloud import HUB_KEY, HUB_KEY_NAME

AUDIENCE = "https://eventhubs.azure.net"


class NotAuthorized(Exception):
    """The token does not open the door; the message says why."""


def verify(kind: str, token: str, audience: str, now: float | None = None) -> float:
    """Until when (seconds since 1970) `token` grants `audience`.  Raises NotAuthorized."""
    now = time.time() if now is None else now
    expires = _signature(token, audience) if kind.endswith("sastoken") else _claims(token)
    if expires <= now:
        raise NotAuthorized(f"the token expired {now - expires:.0f} s ago")
    return expires


def path(address: str) -> str:
    """The entity in an address such as `sb://127.0.0.1/hub/ConsumerGroups/…`, in lower case."""
    text = urllib.parse.unquote(address)
    return text.split("/", 3)[-1].strip("/").lower() if "://" in text else text.strip("/").lower()


def covers(audience: str, entity: str) -> bool:
    """Whether a token for `audience` is good for an entity: it is the entity, stands above it, or is the namespace."""
    granted, wanted = path(audience) if "/" in audience.split("://")[-1] else "", path(entity)
    return not granted or wanted == granted or wanted.startswith(f"{granted}/")


def _signature(token: str, audience: str) -> float:
    scheme, _, rest = token.partition(" ")
    fields = dict(part.split("=", 1) for part in rest.split("&") if "=" in part)
    if scheme != "SharedAccessSignature" or not {"sr", "sig", "se", "skn"} <= set(fields):
        raise NotAuthorized("it is no SharedAccessSignature with sr, sig, se and skn")
    if urllib.parse.unquote(fields["skn"]) != HUB_KEY_NAME:
        raise NotAuthorized(f"there is no key named {urllib.parse.unquote(fields['skn'])!r}; there is {HUB_KEY_NAME!r}")
    signed = f"{fields['sr']}\n{fields['se']}".encode()
    wanted = base64.b64encode(hmac.new(HUB_KEY.encode(), signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(wanted, urllib.parse.unquote(fields["sig"])):
        raise NotAuthorized("its signature was not made with the namespace's key")
    if not covers(urllib.parse.unquote(fields["sr"]), audience):
        raise NotAuthorized(f"it is for {urllib.parse.unquote(fields['sr'])}, not for {audience}")
    return float(fields["se"])


def _claims(token: str) -> float:
    """The expiry of a JWT; like everywhere in the local cloud its signature is not looked at."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        audience, expires = str(claims["aud"]), float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise NotAuthorized(f"it is no token that can be read ({error})") from error
    if audience.rstrip("/") != AUDIENCE:
        raise NotAuthorized(f"it is for {audience}, not for {AUDIENCE}")
    return expires
