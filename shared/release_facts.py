"""What a release is asked to do, and what it can see of the world.  Values only; `releases` decides on them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from shared.durations import duration
from shared.release_checks import Served
from shared.release_decisions import Decision
from shared.release_stages import ALL_AT_ONCE, Stage, stage_faults, stages

JSON = Mapping[str, Any]

_READY = dt.timedelta(minutes=45)
_ROLLBACK_WINDOW = 3
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

RUN_TAG, TOKEN_TAG, DIGEST_TAG, CORRELATION_TAG = "sluice-run", "sluice-token", "sluice-digest", "sluice-correlation"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What QA asks of an image, and the machine that it gets."""

    cpu: float = 1.0
    memory_gb: float = 1.5
    requests: int = 20
    latency_p95_ms: float = 1000.0
    tolerance: float = 1e-4
    champion_ratio: float = 1.1
    ready_minutes: float = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """One attempt to take one image to production, as its frozen request says."""

    run: str
    token: str
    repository: str
    digest: str
    endpoint: str
    compute: str
    model: str | None = None
    tag: str | None = None
    requested_by: str | None = None
    limits: Limits = dataclasses.field(default_factory=Limits)
    stages: tuple[Stage, ...] = (ALL_AT_ONCE,)
    ready: dt.timedelta = _READY
    rollback_window: int = _ROLLBACK_WINDOW

    @staticmethod
    def of(request: JSON) -> Plan:
        """Read a request whose options `faults` has accepted."""
        options = request["options"]
        return Plan(
            run=request["run"],
            token=request["token"],
            repository=options["repository"],
            digest=options["digest"],
            endpoint=options["endpoint"],
            compute=options["compute"],
            model=options.get("model"),
            tag=options.get("tag"),
            requested_by=options.get("requested_by"),
            limits=Limits(**options.get("qa", {})),
            stages=stages(options),
            ready=duration(options["ready"]) if "ready" in options else _READY,
            rollback_window=options.get("rollback_window", _ROLLBACK_WINDOW),
        )

    @property
    def group(self) -> str:
        """The container group of this attempt's QA: run and token make it unique, Azure allows 63 characters."""
        run = re.sub(r"[^a-z0-9]+", "-", self.run.lower()).strip("-")
        return f"qa-{run[-50:].strip('-')}-{self.token[:8]}"

    def tags(self, progress: JSON) -> dict[str, str]:
        """What all that this attempt creates is tagged with: only that is ever deleted, and its chain is known."""
        own = {RUN_TAG: self.run, TOKEN_TAG: self.token, DIGEST_TAG: self.digest}
        return own | {CORRELATION_TAG: progress["evidence"]["correlation"]}

    def owns(self, thing: Group | Deployment) -> bool:
        """Whether this attempt has created the thing."""
        return thing.tags.get(TOKEN_TAG) == self.token

    def deployment(self, model_version: str) -> str:
        """The name of the deployment of this image: the same digest always gets the same name (32 characters)."""
        version = re.sub(r"[^A-Za-z0-9]+", "-", model_version)[:12].strip("-")
        return f"v{version}-{self.digest.removeprefix('sha256:')[:12]}"


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """A container group as Azure shows it; `state` is the container's own where it has one."""

    state: str
    tags: Mapping[str, str]
    address: str | None = None
    detail: str = ""

    @property
    def ended(self) -> bool:
        """Whether the container will never answer (again)."""
        return self.state.lower() in {"failed", "terminated", "stopped", "succeeded", "unhealthy"}


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """An online endpoint: who gets how many percent of the requests."""

    traffic: Mapping[str, int]
    state: str
    scoring_uri: str | None = None
    compute: str | None = None

    @property
    def settled(self) -> bool:
        """Whether Azure ML is done with the last change, so that another is accepted."""
        return self.state.lower() in {"succeeded", "failed", "canceled"}

    def share(self, deployment: str) -> int:
        """The percentage of the requests that a deployment gets."""
        return int(self.traffic.get(deployment, 0))


@dataclasses.dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment of an online endpoint."""

    state: str
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Checks:
    """What QA measured on a container, and every reason against it."""

    measured: JSON
    faults: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """That the run is to end early, and why; `same_image` says that the image which is newest by now is its own."""

    kind: str
    reason: str
    same_image: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What a step has looked up; each step fills in what its rule reads.

    `refused` is a backend's final no, `unreachable` a service that did not answer this time, `called` whether it was
    asked to do something; `waited` is for how many seconds the step has been tried.  `tagged` is the digest that the
    plan's tag names now.  `chain` are the newest records of the endpoint's evidence, the newest first.  `challenger`
    and `champion` are what both have served since the stage began, where that was measured.
    """

    labels: Mapping[str, str] | None = None
    model: Mapping[str, str] | None = None
    tagged: str | None = None
    group: Group | None = None
    logs: str = ""
    ready: bool = False
    checks: Checks | None = None
    endpoint: Endpoint | None = None
    deployments: Mapping[str, Deployment] = dataclasses.field(default_factory=dict)
    chain: tuple[JSON, ...] = ()
    measured: bool = False
    challenger: Served | None = None
    champion: Served | None = None
    replayed: JSON | None = None
    decisions: tuple[Decision, ...] = ()
    ending: Ending | None = None
    unreachable: str | None = None
    called: bool = False
    refused: str | None = None
    now: dt.datetime = _EPOCH
    waited: float = 0.0


def request_faults(options: JSON) -> list[str]:
    """What is wrong with a route's options for a release; placeholders are not filled yet."""
    wrong = [
        f"option {name} is missing: it must be a string"
        for name in ("repository", "digest", "endpoint", "compute")
        if not isinstance(options.get(name), str) or not options[name]
    ]
    wrong += [f"option {name} is not known" for name in sorted(set(options) - _OPTIONS)]
    for name in ("model", "tag", "requested_by"):
        if name in options and not (isinstance(options[name], str) and options[name]):
            wrong.append(f"option {name} must be a string, it is {options[name]!r}")
    window = options.get("rollback_window", _ROLLBACK_WINDOW)
    if isinstance(window, bool) or not isinstance(window, int) or not 0 <= window <= 100:
        wrong.append(f"option rollback_window must be a whole number from 0 to 100, it is {window!r}")
    try:
        duration(options.get("ready", "45m"))
    except ValueError as error:
        wrong.append(f"option ready: {error}")
    return wrong + _limit_faults(options.get("qa", {})) + stage_faults(options)


def _limit_faults(limits: Any) -> list[str]:
    if not isinstance(limits, Mapping):
        return ["option qa must be a mapping"]
    known = {field.name for field in dataclasses.fields(Limits)}
    wrong = [f"option qa.{name} is not known, there are {', '.join(sorted(known))}" for name in set(limits) - known]
    for name in sorted(known & set(limits)):
        value = limits[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            wrong.append(f"option qa.{name} must be a number above 0, it is {value!r}")
    return wrong


_OPTIONS = frozenset({"repository", "digest", "endpoint", "compute", "model", "tag", "requested_by", "qa", "ready"})
_OPTIONS |= {"rollback_window", "analysis", "steps"}


def elapsed(since: str, now: dt.datetime) -> float:
    """Seconds since an ISO 8601 time."""
    return (now - dt.datetime.fromisoformat(since)).total_seconds()
