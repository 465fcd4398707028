"""Plain HTTP to scoring services: QA's container and the production endpoint."""

from __future__ import annotations

import datetime as dt
import time

import requests
import urllib3

from shared import patience
from shared.adapters.retry_after import retry_after
from shared.errors import Unavailable
from shared.release_backends import Answer

_CONNECT, _SILENCE, _WHOLE = 5.0, 15.0, 20.0
"""Seconds to connect, between two bytes of an answer, and for all of it: a run's lease is three times as long."""
_BUSY = frozenset({408, 429, 502, 503, 504})  # 424 is an answer: the model itself has failed


class Scoring:
    """Calls a scoring service; an answer of any status is an answer."""

    def __init__(self, *, silence: float = _SILENCE, whole: float = _WHOLE) -> None:
        self._silence, self._whole = silence, whole

    def get(self, url: str) -> int:
        """The status of a GET."""
        return self._call("GET", url).status

    def post(
        self, url: str, body: bytes, *, key: str | None = None, deployment: str | None = None, shadow: str | None = None
    ) -> Answer:
        """Send a scoring request, to one deployment when it is named; `shadow` is the id of one that is replayed."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if deployment is not None:
            headers["azureml-model-deployment"] = deployment
        if shadow is not None:
            headers |= {"x-ms-client-request-id": shadow, "sluice-shadow": "true"}
        return self._call("POST", url, body, headers)

    def _call(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        began, whole = time.perf_counter(), patience.left(self._whole)
        limits = (min(_CONNECT, whole), min(self._silence, whole))
        try:
            with requests.request(method, url, data=body, headers=headers, timeout=limits, stream=True) as answer:
                content = _body(answer, url, began + whole)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"{url} does not answer: {error}") from error
        if answer.status_code in _BUSY:
            wish = retry_after(answer.headers, dt.datetime.now(dt.UTC))
            said = f"{url} answers {answer.status_code}: {content[:200].decode(errors='replace')}"
            raise Unavailable(said, retry_after=wish)
        return Answer(answer.status_code, content, time.perf_counter() - began)


def _body(answer: requests.Response, url: str, until: float) -> bytes:
    """The body; reads what is there, so that one that drips is noticed before it is whole."""
    parts = []
    while part := answer.raw.read1(1 << 16, decode_content=True):
        parts.append(part)
        if time.perf_counter() > until:
            raise Unavailable(f"{url} does not answer: not all of it had come in time")
    return b"".join(parts)
