"""Plain HTTP to scoring services: QA's container and the production endpoint."""

from __future__ import annotations

import datetime as dt
import time

import requests

from shared.adapters.retry_after import retry_after
from shared.errors import Unavailable
from shared.release_backends import Answer

_PATIENCE = (5.0, 60.0)  # seconds to connect, and between two bytes of the answer
_BUSY = frozenset({408, 429, 502, 503, 504})  # 424 is an answer: the model itself has failed


class Scoring:
    """Calls a scoring service; an answer of any status is an answer."""

    def get(self, url: str) -> int:
        """The status of a GET."""
        return self._call("GET", url).status

    def post(self, url: str, body: bytes, *, key: str | None = None, deployment: str | None = None) -> Answer:
        """Send a scoring request, to one deployment of an endpoint when it is named."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if deployment is not None:
            headers["azureml-model-deployment"] = deployment
        return self._call("POST", url, body, headers)

    def _call(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        began = time.perf_counter()
        try:
            answer = requests.request(method, url, data=body, headers=headers, timeout=_PATIENCE)
        except requests.RequestException as error:
            raise Unavailable(f"{url} does not answer: {error}") from error
        if answer.status_code in _BUSY:
            wish = retry_after(answer.headers, dt.datetime.now(dt.UTC))
            raise Unavailable(f"{url} answers {answer.status_code}: {answer.text[:200]}", retry_after=wish)
        return Answer(answer.status_code, answer.content, time.perf_counter() - began)
