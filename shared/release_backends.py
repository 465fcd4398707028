"""What a release asks of the world, as small protocols: the registry, QA, production, the lake, the records."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from shared.release_checks import Served
from shared.release_facts import Deployment, Endpoint, Group, Limits

JSON = Mapping[str, Any]


class Images(Protocol):
    """The container registry."""

    def labels(self, repository: str, digest: str) -> Mapping[str, str] | None:
        """The labels of an image, None when there is no such image.  Raises Unavailable, Refused."""

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest that a tag names now, None when there is no such tag.  Raises Unavailable, Refused."""

    def newest(self, repository: str) -> str | None:
        """The digest that was pushed or tagged last, None in an empty repository.  Raises Unavailable, Refused."""

    def reference(self, repository: str, digest: str) -> str:
        """How an image is pulled by its digest."""


class Models(Protocol):
    """The model registry."""

    def tags(self, name: str, version: str) -> Mapping[str, str] | None:
        """The tags of a model version, None when it is not registered.  Raises Unavailable, Refused."""


class Containers(Protocol):
    """Container Instances.  Every call raises Unavailable or Refused."""

    def group(self, name: str) -> Group | None:
        """A container group, None when there is none."""

    def create(self, name: str, image: str, tags: Mapping[str, str], limits: Limits) -> None:
        """Ask for a container group with one container; does not wait for it."""

    def delete(self, name: str) -> None:
        """Ask for the end of a container group; does not wait for it."""

    def logs(self, name: str) -> str:
        """The end of the container's log, empty when there is none."""


class Endpoints(Protocol):
    """Kubernetes online endpoints of Azure ML.  Every call raises Unavailable or Refused."""

    def endpoint(self, name: str) -> Endpoint | None:
        """An endpoint, None when there is none."""

    def deployments(self, endpoint: str) -> Mapping[str, Deployment]:
        """The deployments of an endpoint by name."""

    def deploy(self, endpoint: str, name: str, repository: str, image: str, tags: Mapping[str, str]) -> None:
        """Ask for a deployment of an image, without traffic; does not wait for it."""

    def remove(self, endpoint: str, name: str) -> None:
        """Ask for the end of a deployment; does not wait for it."""

    def write_traffic(self, endpoint: str, traffic: Mapping[str, int], seen: Mapping[str, int]) -> None:
        """Ask for a traffic map in the place of the one that was `seen`; does not wait for it.

        Reads the map first and keeps its other entries; raises Unavailable when it is not the one that was seen.
        """

    def logs(self, endpoint: str, name: str) -> str:
        """The end of a deployment's log, empty when there is none."""

    def key(self, endpoint: str) -> str:
        """The key that callers of the endpoint present."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a scoring service answered, and how long it took."""

    status: int
    body: bytes
    seconds: float


class Scoring(Protocol):
    """Plain HTTP to a scoring service.  Raises Unavailable when nothing answers."""

    def get(self, url: str) -> int:
        """The status of a GET."""

    def post(
        self, url: str, body: bytes, *, key: str | None = None, deployment: str | None = None, shadow: str | None = None
    ) -> Answer:
        """Send a scoring request, to one deployment when it is named; `shadow` is the id of one that is replayed."""


class Lake(Protocol):
    """The data lake."""

    def read(self, uri: str) -> bytes:
        """The blob at an abfss URI.  Raises Unavailable, NotFound."""


class Golden(Protocol):
    """The golden set: a request, what evaluate predicted for it, and what really happened."""

    @property
    def request(self) -> bytes:
        """The scoring request, as a body."""

    def compare(self, answer: bytes) -> Mapping[str, float]:
        """`reproduced_max_diff`, `mae` and `naive_mae` of an answer.

        Raises ValueError, with what is wrong in plain words, when the answer has not the golden predictions' shape.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call that production has answered: the request word for word, the answer in numbers.

    `predictions` are relative to the `levels` of their series, as `tallies.relative` makes them.
    """

    at: dt.datetime
    request: bytes
    status: int
    latency_ms: float
    predictions: tuple[float, ...] = ()
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)


class ServedCalls(Protocol):
    """What deployments have been asked and have answered, from the scoring log.  Every call raises Unavailable."""

    def served(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Served | None:
        """The calls of a deployment in [since, until), to the minute; None when there were none."""

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> Sequence[LoggedCall]:
        """At most so many calls of a deployment that came after a time, the oldest first."""


class EvidenceChain(Protocol):
    """The records of the releases of an endpoint, by number from 1, never changed.  Every call raises Unavailable."""

    def newest(self, endpoint: str, most: int) -> list[bytes]:
        """At most so many records, the newest first."""

    def all(self, endpoint: str) -> list[bytes]:
        """Every record, the oldest first."""

    def write(self, endpoint: str, number: int, body: bytes) -> bool:
        """Write a record; answers False, and changes nothing, when one of that number exists."""


@dataclasses.dataclass(frozen=True, slots=True)
class Backends:
    """All of them."""

    images: Images
    models: Models
    containers: Containers
    endpoints: Endpoints
    scoring: Scoring
    lake: Lake
    golden: Callable[[bytes], Golden]
    served: ServedCalls
    evidence: EvidenceChain
