"""A registry, a lake, Container Instances and an online endpoint in memory, which can be made to misbehave."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.actions.release import Release
from shared.adapters.memory_releases import MemoryEvidence, MemoryServedCalls
from shared.errors import NotFound, Unavailable
from shared.observations import Observation, Status
from shared.release_backends import Answer, Backends, LoggedCall
from shared.release_facts import Deployment, Endpoint, Group, Limits, Plan
from tests.unit.worlds import Crash

DIGEST = "sha256:" + "ab" * 32
OLD_DIGEST = "sha256:" + "cd" * 32
GOLDEN = json.dumps({"request": {"week": 1}}).encode()
LABELS = {
    "sluice.model.name": "demand-forecast",
    "sluice.model.version": "2",
    "sluice.azureml.job": "sluice-job",
    "sluice.data.version": "7",
    "sluice.golden.uri": "abfss://azureml@lake.dfs.core.windows.net/golden.json",
    "sluice.golden.sha256": hashlib.sha256(GOLDEN).hexdigest(),
    "sluice.correlation": "chain-1",
}
NEW, OLD = "v2-abababababab", "v1-cdcdcdcdcdcd"
OLD_TAGS = {"sluice-run": "release-old", "sluice-token": "0" * 64, "sluice-digest": OLD_DIGEST}
SCORING_URI = "http://production/score"


def request(*, steps: list[Any] | None = None, more: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The frozen request of a release, with the steps and options that a test wants."""
    options: dict[str, Any] = {
        "repository": "demand-forecast",
        "digest": DIGEST,
        "endpoint": "demand-forecast",
        "compute": "aks-prod",
        "qa": {"requests": 3},
        **(more or {}),
    }
    if steps is not None:
        options["steps"] = steps
    return {"run": "release-0123abcd-4", "token": "f" * 64, "options": options, "correlation": "c", **changes}


class FakeGolden:
    """A golden set whose answers are numbers: 1.0 is what evaluate predicted."""

    request = b'{"week": 1}'

    def __init__(self, content: bytes) -> None:
        json.loads(content)

    def compare(self, answer: bytes) -> Mapping[str, float]:
        told = json.loads(answer)
        if "prediction" not in told:
            raise ValueError("it has no prediction")
        return {"reproduced_max_diff": abs(told["prediction"] - 1.0), "mae": told.get("mae", 0.5), "naive_mae": 1.0}


@dataclasses.dataclass
class World:
    """Everything outside; every field may be changed by a test between two steps."""

    now: dt.datetime = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    labels: Mapping[str, str] | None = dataclasses.field(default_factory=lambda: dict(LABELS))
    model_tags: Mapping[str, str] | None = dataclasses.field(
        default_factory=lambda: {"azureml_job": "sluice-job", "gold_version": "7"}
    )
    golden: bytes | None = GOLDEN
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)
    endpoint_exists: bool = True
    endpoint_state: str = "Succeeded"
    traffic: dict[str, int] = dataclasses.field(default_factory=lambda: {OLD: 100})
    deployments: dict[str, Deployment] = dataclasses.field(
        default_factory=lambda: {OLD: Deployment("Succeeded", dict(OLD_TAGS))}
    )
    images: dict[str, str] = dataclasses.field(default_factory=lambda: {OLD: f"registry/demand-forecast@{OLD_DIGEST}"})
    healthy: bool = True
    qa_answer: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"prediction": 1.0, "model_version": "2"})
    malformed_status: int = 400
    production_answer: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"prediction": 1.0, "model_version": "2"}
    )
    seconds: float = 0.05
    shadow_fails: bool = False
    mood: str = ""
    becomes: str = "Succeeded"
    log: str = "the end of the log"
    calls: list[str] = dataclasses.field(default_factory=list)
    fault: Callable[[str], str | None] = lambda _: None
    examined: set[str] = dataclasses.field(default_factory=set)
    tags: dict[str, str] = dataclasses.field(default_factory=lambda: {"2": DIGEST})
    newest: str | None = DIGEST
    trusted: set[str] = dataclasses.field(default_factory=lambda: {OLD, "hand-made"})
    champion_answer: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"prediction": 3.0, "model_version": "1", "mae": 0.6}
    )
    served: MemoryServedCalls = dataclasses.field(default_factory=MemoryServedCalls)
    evidence: MemoryEvidence = dataclasses.field(default_factory=MemoryEvidence)

    def called(self, what: str, effect: Callable[[], None] = lambda: None) -> None:
        """Note a call and do its effect, unless a fault comes before, or after, it; or the process dies of it."""
        fault = self.fault(what)
        if fault == "before":
            raise Unavailable(f"{what} did not answer")
        self.calls.append(what)
        effect()
        if fault == "after":
            raise Unavailable(f"the answer of {what} was lost")
        if fault == "die":
            raise Crash(what)

    @property
    def release(self) -> Release:
        """The action over this world."""
        return Release(self.backends, FixedClock(self))

    @property
    def backends(self) -> Backends:
        """What a release reaches of this world."""
        return Backends(
            images=Images(self),
            models=Models(self),
            containers=Containers(self),
            endpoints=Endpoints(self),
            scoring=Scoring(self),
            lake=Lake(self),
            golden=FakeGolden,
            served=Served(self),
            evidence=Evidence(self),
        )

    def serve(self, deployment: str, count: int, *, status: int = 200, ms: float = 20.0, level: float = 1.0) -> None:
        """Log calls of a deployment, answered now: predictions spread around a level."""
        for number in range(count):
            spread = tuple(level + (place - 2) / 10 for place in range(5))
            at = self.now - dt.timedelta(milliseconds=count - number)
            call = LoggedCall(at, b'{"series": {}}', status, ms, spread if status == 200 else ())
            self.served.add("demand-forecast", deployment, call)

    def observe(self, asked: Mapping[str, Any], progress: Mapping[str, Any]) -> Observation:
        """The next observation; a backend that does not answer is one that changes nothing."""
        try:
            return self.release.observe(asked, self.release.start(asked), progress)
        except Unavailable as error:
            return Observation(Status.ACTIVE, str(error), progress=progress)

    def run(self, asked: Mapping[str, Any] | None = None, steps: int = 400) -> list[Observation]:
        """Observe until the end, saving the progress each time; a minute passes whenever nothing has changed."""
        asked = asked or request()
        progress: Mapping[str, Any] = {}
        seen: list[Observation] = []
        for _ in range(steps):
            seen.append(self.observe(asked, progress))
            if seen[-1].status is not Status.ACTIVE:
                return seen
            if seen[-1].progress == progress:
                self.now += dt.timedelta(minutes=1)
            progress = json.loads(json.dumps(seen[-1].progress))
        raise AssertionError(f"the release did not end: {seen[-1]}")


@dataclasses.dataclass
class FixedClock:
    world: World

    def now(self) -> dt.datetime:
        return self.world.now


@dataclasses.dataclass
class Images:
    world: World

    def labels(self, repository: str, digest: str) -> Mapping[str, str] | None:
        self.world.called(f"labels {repository}@{digest[:13]}")
        return self.world.labels

    def tagged(self, repository: str, tag: str) -> str | None:
        self.world.called(f"tag {repository}:{tag}")
        return self.world.tags.get(tag)

    def newest(self, repository: str) -> str | None:
        self.world.called(f"newest of {repository}")
        return self.world.newest

    def reference(self, repository: str, digest: str) -> str:
        return f"registry/{repository}@{digest}"


@dataclasses.dataclass
class Models:
    world: World

    def tags(self, name: str, version: str) -> Mapping[str, str] | None:
        self.world.called(f"model {name}:{version}")
        return self.world.model_tags


@dataclasses.dataclass
class Lake:
    world: World

    def read(self, uri: str) -> bytes:
        if self.world.golden is None:
            raise NotFound(uri)
        return self.world.golden


@dataclasses.dataclass
class Containers:
    world: World

    def group(self, name: str) -> Group | None:
        return self.world.groups.get(name)

    def create(self, name: str, image: str, tags: Mapping[str, str], limits: Limits) -> None:
        assert limits.cpu > 0
        assert image.endswith(f"@{DIGEST}")
        made = Group("Running", dict(tags), f"http://{name}")
        self.world.called(f"create {name}", lambda: self.world.groups.setdefault(name, made) and None)

    def delete(self, name: str) -> None:
        assert "sluice-token" in self.world.groups[name].tags, "a container group of others was deleted"
        self.world.called(f"delete {name}", lambda: self.world.groups.pop(name, None) and None)

    def logs(self, name: str) -> str:
        return self.world.log if name in self.world.groups else ""


@dataclasses.dataclass
class Endpoints:
    """Answers as Azure ML does: a change is under way until it is next looked at."""

    world: World

    def endpoint(self, name: str) -> Endpoint | None:  # noqa: ARG002
        if not self.world.endpoint_exists:
            return None
        traffic = {deployment: self.world.traffic.get(deployment, 0) for deployment in self.world.deployments}
        return Endpoint(traffic | self.world.traffic, self.world.endpoint_state, SCORING_URI, "aks-prod")

    def deployments(self, endpoint: str) -> Mapping[str, Deployment]:  # noqa: ARG002
        seen = dict(self.world.deployments)
        for name, one in seen.items():
            if one.state == "Creating":
                self.world.deployments[name] = dataclasses.replace(one, state=self.world.becomes)
            if one.state == "Deleting":
                del self.world.deployments[name]
        return seen

    def deploy(self, endpoint: str, name: str, repository: str, image: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        assert image.startswith(f"registry/{repository}@")
        assert not self.world.traffic.get(name), "a deployment with traffic was replaced"
        assert image.rpartition("@")[2] in self.world.examined, "a digest was deployed that QA has not seen"
        self.world.images[name] = image
        made = Deployment("Creating", dict(tags))
        self.world.called(f"deploy {name}", lambda: self.world.deployments.update({name: made}))

    def remove(self, endpoint: str, name: str) -> None:  # noqa: ARG002
        found = self.world.deployments[name]
        assert not self.world.traffic.get(name), "a deployment with traffic was deleted"
        assert "sluice-run" in found.tags, "a deployment was deleted that no release has made"
        gone = dataclasses.replace(found, state="Deleting")
        self.world.called(f"remove {name}", lambda: self.world.deployments.update({name: gone}))

    def write_traffic(self, endpoint: str, traffic: Mapping[str, int], seen: Mapping[str, int]) -> None:  # noqa: ARG002
        shares = {name: share for name, share in (self.world.traffic | dict(traffic)).items() if share}
        if {name: share for name, share in seen.items() if share} != self.world.traffic:
            raise Unavailable("the traffic has changed since it was looked at")
        assert sum(shares.values()) == 100
        for name in shares:
            assert self.world.deployments[name].state == "Succeeded", f"traffic for {name}, which does not stand"
            assert name in self.world.trusted or self.world.images[name].rpartition("@")[2] in self.world.examined
        self.world.called(f"traffic {shares}", lambda: setattr(self.world, "traffic", shares))

    def logs(self, endpoint: str, name: str) -> str:  # noqa: ARG002
        return self.world.log

    def key(self, endpoint: str) -> str:  # noqa: ARG002
        return "key"


@dataclasses.dataclass
class Scoring:
    world: World

    def get(self, url: str) -> int:
        if not self.world.healthy:
            raise Unavailable(f"{url} does not answer")
        return 200

    def post(
        self, url: str, body: bytes, *, key: str | None = None, deployment: str | None = None, shadow: str | None = None
    ) -> Answer:
        self.world.called(f"score {'production' if url == SCORING_URI else 'qa'} {deployment or ''}".strip())
        if url != SCORING_URI:
            if not self.world.healthy:
                raise Unavailable(f"{url} does not answer")
            if body != FakeGolden.request:
                return Answer(self.world.malformed_status, b"{}", self.world.seconds)
            self.world.examined.add(DIGEST)
            return Answer(200, json.dumps(self.world.qa_answer).encode(), self.world.seconds)
        assert key == "key"
        shares = self.world.traffic
        answering = deployment or max(sorted(shares), key=lambda each: shares[each], default=None)
        if answering not in self.world.deployments:
            return Answer(404, b"no such deployment", self.world.seconds)
        told = self.world.production_answer if answering == NEW else self.world.champion_answer
        status = 500 if shadow and answering == NEW and self.world.shadow_fails else 200
        return Answer(status, json.dumps(told).encode(), self.world.seconds)


@dataclasses.dataclass
class Served:
    world: World

    def served(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Any:
        self.world.called(f"served {deployment}")
        return self.world.served.served(endpoint, deployment, since, until)

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[LoggedCall]:
        self.world.called(f"calls {deployment}")
        return self.world.served.calls(endpoint, deployment, after, most)


@dataclasses.dataclass
class Evidence:
    world: World

    def newest(self, endpoint: str, most: int) -> list[bytes]:
        self.world.called("newest evidence")
        return self.world.evidence.newest(endpoint, most)

    def all(self, endpoint: str) -> list[bytes]:
        return self.world.evidence.all(endpoint)

    def write(self, endpoint: str, number: int, body: bytes) -> bool:
        self.world.called(f"evidence {number}", lambda: self.world.evidence.write(endpoint, number, body) and None)
        return True


GROUP = Plan.of(request()).group


def steps_until(
    world: World, asked: dict[str, object], step: str, progress: Mapping[str, object] | None = None
) -> dict[str, object]:
    """The progress with which a release enters a step; half a minute passes whenever nothing has changed."""
    progress = dict(progress or {})
    for _ in range(500):
        if progress.get("step") == step:
            return progress
        seen = world.observe(asked, progress)
        assert seen.status is Status.ACTIVE, seen.reason
        if seen.progress == progress:
            world.now += dt.timedelta(seconds=30)
        progress = json.loads(json.dumps(seen.progress))
    raise AssertionError(f"it did not come to {step}: {seen.reason}")


def finish(world: World, asked: dict[str, object], progress: dict[str, object]) -> Observation:
    """The last observation of a release that goes on from a progress."""
    for _ in range(3000):
        seen = world.observe(asked, progress)
        if seen.status is not Status.ACTIVE:
            return seen
        world.now += dt.timedelta(seconds=30)
        progress = dict(seen.progress or {})
    raise AssertionError(f"it did not end: {seen.reason}")


def assert_untouched(world: World) -> None:
    assert world.traffic == {OLD: 100}
    assert set(world.deployments) == {OLD}
    assert world.groups == {}


def assert_matches(seen: Observation, reason: str) -> None:
    assert re.search(reason, seen.reason), seen.reason
