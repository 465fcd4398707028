"""A steady client of production: four requests a second from the first release to the end, each for one area."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from demo import forecast
from localcloud.cloud import Cloud

EVERY = 0.25
_PATIENCE = 30


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request: when it was answered, by which deployment, and how; status 0 is no answer."""

    at: str
    deployment: str
    status: int


class Traffic:
    """Asks until it is ended, and keeps what came of each request."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._bodies: Sequence[bytes] = ()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def about(self, request: Mapping[str, Any]) -> None:
        """From now on ask for the week of this request, area by area."""
        each = request["series"].items()
        self._bodies = [json.dumps({**request, "series": {name: hours}}).encode() for name, hours in each]

    def start(self, cloud: Cloud) -> None:
        """Begin; the address and the key are those of the endpoint now."""
        uri, key = forecast.address(cloud)
        self._thread = threading.Thread(target=self._ask, args=(uri, key), name="traffic", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ask no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE + 1)

    def failures(self) -> Counter[str]:
        """Requests that were not answered with 200, by deployment."""
        return Counter(one.deployment for one in list(self.asked) if one.status != 200)

    def between(self, since: str, until: str) -> Counter[str]:
        """Requests that were answered in this time, by deployment."""
        return Counter(one.deployment for one in list(self.asked) if since <= one.at <= until)

    def _ask(self, uri: str, key: str) -> None:
        for number in itertools.count():
            began, bodies = time.monotonic(), self._bodies
            deployment, status = _answered(forecast.posted(uri, key, bodies[number % len(bodies)]))
            self.asked.append(Asked(dt.datetime.now(dt.UTC).isoformat(), deployment, status))
            if self._ending.wait(max(0.0, EVERY - (time.monotonic() - began))):
                return


def _answered(posted: urllib.request.Request) -> tuple[str, int]:
    try:
        with forecast.OPENER.open(posted, timeout=_PATIENCE) as answer:
            answer.read()
            return answer.headers.get(forecast.DEPLOYMENT_HEADER, ""), int(answer.status)
    except urllib.error.HTTPError as error:
        return error.headers.get(forecast.DEPLOYMENT_HEADER, ""), error.code
    except OSError:
        return "", 0
