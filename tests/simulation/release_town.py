"""What a release reaches, simulated: registry, Container Instances, an online endpoint of Azure ML, its callers' log.

Everything takes its time; a call that is late takes effect when nobody waits for it.  Each change of production is
checked when it happens.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

from shared.adapters.memory_releases import MemoryEvidence
from shared.errors import Unavailable
from shared.release_backends import Answer, Backends, LoggedCall
from shared.release_facts import DIGEST_TAG, RUN_TAG, Deployment, Endpoint, Group, Limits
from shared.tallies import Tally
from tests.simulation.dice import Dice
from tests.simulation.release_images import REQUEST, FakeGolden, Lake, Registry, digest_of
from tests.simulation.scheduler import NOON, Scheduler

JSON = Mapping[str, Any]
Hold = Callable[[bool, str], None]

NATURES = ("good", "good", "good", "wrong", "crashes", "fails to stand", "never stands", "errs", "errs in shadow")
"""What an image is worth: `wrong` predicts otherwise than evaluate did, `errs` answers real callers with 500."""
OLD = "v0-0000000000"
URI, FOREVER = "http://production/score", 1e9


@dataclasses.dataclass
class _Group:
    image: str
    tags: Mapping[str, str]
    ready_at: float


@dataclasses.dataclass
class _Deployment:
    digest: str
    tags: Mapping[str, str]
    ready_at: float
    gone_at: float = FOREVER


class ReleaseTown:
    """The world of all releases of one endpoint."""

    def __init__(self, scheduler: Scheduler, dice: Dice, hold: Hold) -> None:
        self.scheduler, self.dice, self.hold = scheduler, dice, hold
        self.versions: dict[str, int] = {digest_of(0): 0}
        self.tags: dict[str, str] = {}
        self.groups: dict[str, _Group] = {}
        self.standing = {OLD: _Deployment(digest_of(0), {RUN_TAG: "release-old", DIGEST_TAG: digest_of(0)}, 0.0)}
        self.traffic = {OLD: 100}
        self.maps: list[tuple[float, Mapping[str, int]]] = [(0.0, {OLD: 100})]
        self.examined = {digest_of(0)}
        self.evidence = MemoryEvidence()
        self.busy_until, self.by_hand = 0.0, False
        self.lag = dice.pick("log lag", (0.0, 0.0, 60.0))
        """After so many seconds a call is in the log."""

    def pushed(self, version: int) -> None:
        """An image was pushed."""
        self.versions[digest_of(version)] = version
        self.tags[str(version)] = digest_of(version)

    def nature(self, digest: str) -> str:
        """What an image is worth."""
        version = self.versions[digest]
        return NATURES[int(Dice(self.dice.seed).roll(f"nature {version}").a * len(NATURES))] if version else "good"

    def write_by_hand(self) -> None:
        """A person changes the traffic of production behind everybody's back."""
        standing = sorted(name for name in list(self.standing) if self.state(name) == "Succeeded")
        if len(standing) > 1 and self.busy_until <= self.scheduler.now:
            self.by_hand = True
            self.write(dict(zip(standing, (37, 63), strict=False)))

    def write(self, shares: Mapping[str, int]) -> None:
        """The endpoint has another traffic map."""
        if self.busy_until > self.scheduler.now:
            raise Unavailable("the endpoint is Updating: 409")
        shares = {name: share for name, share in shares.items() if share}
        self.hold(sum(shares.values()) == 100, f"all requests go somewhere: {shares}")
        for name in shares:
            self.hold(self.state(name) == "Succeeded", f"traffic goes to what stands: {name} is {self.state(name)}")
            seen = name in self.standing and self.standing[name].digest in self.examined
            self.hold(seen, f"only a digest that QA has seen gets traffic: {name}")
        self.traffic = shares
        self.maps.append((self.scheduler.now, shares))
        self.busy_until = self.scheduler.now + self.dice.number("endpoint", 1, 15)

    def state(self, name: str) -> str | None:
        """The state of a deployment as Azure ML shows it, None when there is none."""
        found, now = self.standing.get(name), self.scheduler.now
        if found is None or found.gone_at <= now:
            self.standing.pop(name, None)
            return None
        if found.gone_at < FOREVER:
            return "Deleting"
        nature = self.nature(found.digest)
        if now < found.ready_at or nature == "never stands":
            return "Creating"
        return "Failed" if nature == "fails to stand" else "Succeeded"

    def backends(self, wired: Callable[[str, Any], Any]) -> Backends:
        """What one instance of the app reaches; `wired` makes each port one that can fail."""
        registry = wired("registry", Registry(self))
        return Backends(
            images=registry, models=registry, containers=wired("containers", Containers(self)),
            endpoints=Endpoints(wired("azureml", AzureMl(self))), scoring=wired("scoring", Scoring(self)),
            lake=Lake(), golden=FakeGolden, served=wired("log", Log(self)), evidence=wired("evidence", self.evidence),
        )  # fmt: skip

    # -- at rest ---------------------------------------------------------------------------------------------------

    def at_rest(self, *, tidy: bool) -> None:
        """Production is as a release or a person has left it; `tidy`: nobody has interfered with any release."""
        for name in self.traffic:
            self.hold(self.state(name) == "Succeeded", f"production never loses what it serves with: {name}")
        if not tidy or self.by_hand:
            return
        self.hold(list(self.traffic.values()) == [100], f"at rest one deployment serves: {self.traffic}")
        worse = [name for name in self.traffic if self.nature(self.standing[name].digest) != "good"]
        self.hold(not worse, f"a worse model is never left in production: {worse}")
        left = [name for name in list(self.standing) if self.state(name) and name not in self.traffic]
        self.hold(not left, f"what a release made and does not need is gone: {left}")
        self.hold(not self.groups, f"QA leaves nothing behind: {list(self.groups)}")


class Containers:
    """Container Instances."""

    def __init__(self, town: ReleaseTown) -> None:
        self._town = town

    def group(self, name: str) -> Group | None:
        """See `release_backends.Containers`."""
        found = self._town.groups.get(name)
        if found is None:
            return None
        ready = self._town.scheduler.now >= found.ready_at
        crashed = ready and self._town.nature(found.image) == "crashes"
        return Group("Failed" if crashed else "Running" if ready else "Pending", found.tags, f"http://qa/{name}")

    def create(self, name: str, image: str, tags: Mapping[str, str], limits: Limits) -> None:  # noqa: ARG002
        """See `release_backends.Containers`."""
        ready = self._town.scheduler.now + self._town.dice.number(f"container {name}", 2, 40)
        self._town.groups.setdefault(name, _Group(image.rpartition("@")[2], tags, ready))

    def delete(self, name: str) -> None:
        """See `release_backends.Containers`."""
        self._town.groups.pop(name, None)

    def logs(self, name: str) -> str:  # noqa: ARG002
        """See `release_backends.Containers`."""
        return ""


class AzureMl:
    """Azure ML's own calls: it has no conditional write."""

    def __init__(self, town: ReleaseTown) -> None:
        self._town = town

    def endpoint(self) -> Endpoint:
        """The endpoint."""
        busy = self._town.busy_until > self._town.scheduler.now
        return Endpoint(dict(self._town.traffic), "Updating" if busy else "Succeeded", URI, "aks")

    def deployments(self) -> Mapping[str, Deployment]:
        """Its deployments."""
        states = {name: self._town.state(name) for name in list(self._town.standing)}
        return {name: Deployment(state, self._town.standing[name].tags) for name, state in states.items() if state}

    def put_deployment(self, name: str, digest: str, tags: Mapping[str, str]) -> None:
        """Make a deployment, in the place of one of the same name; the same once more changes nothing."""
        town, found = self._town, self._town.standing.get(name)
        if found and (found.digest, found.tags, found.gone_at) == (digest, tags, FOREVER):
            return
        town.hold(digest in town.examined, f"only a digest that QA has passed is deployed: {name}")
        town.hold(not town.traffic.get(name), f"what serves is never replaced: {name}")
        town.standing[name] = _Deployment(digest, tags, town.scheduler.now + town.dice.number(f"stands {name}", 2, 60))

    def delete_deployment(self, name: str) -> None:
        """Delete a deployment."""
        town, found = self._town, self._town.standing.get(name)
        town.hold(not town.traffic.get(name), f"what serves is never deleted: {name}")
        if found is not None:
            town.hold(RUN_TAG in found.tags, f"what no release has made is never deleted: {name}")
            found.gone_at = min(found.gone_at, town.scheduler.now + town.dice.number("deleted", 1, 20))

    def put_traffic(self, shares: Mapping[str, int]) -> None:
        """Write the whole map."""
        self._town.write(shares)


class Endpoints:
    """As the adapter makes them of Azure ML's calls: the map is read again before it is written."""

    def __init__(self, azure_ml: Any) -> None:
        self._azure_ml = azure_ml

    def endpoint(self, name: str) -> Endpoint | None:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        found: Endpoint = self._azure_ml.endpoint()
        return found

    def deployments(self, endpoint: str) -> Mapping[str, Deployment]:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        found: Mapping[str, Deployment] = self._azure_ml.deployments()
        return found

    def deploy(self, endpoint: str, name: str, repository: str, image: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        self._azure_ml.put_deployment(name, image.rpartition("@")[2], tags)

    def remove(self, endpoint: str, name: str) -> None:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        self._azure_ml.delete_deployment(name)

    def write_traffic(self, endpoint: str, traffic: Mapping[str, int], seen: Mapping[str, int]) -> None:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        now = self._azure_ml.endpoint().traffic
        if {name: share for name, share in seen.items() if share} != now:
            raise Unavailable("the traffic has changed since it was looked at")
        self._azure_ml.put_traffic({**now, **traffic})

    def logs(self, endpoint: str, name: str) -> str:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        return ""

    def key(self, endpoint: str) -> str:  # noqa: ARG002
        """See `release_backends.Endpoints`."""
        return "key"


class Scoring:
    """The scoring services: of QA at their own addresses, of production behind the endpoint."""

    def __init__(self, town: ReleaseTown) -> None:
        self._town = town

    def get(self, url: str) -> int:
        """See `release_backends.Scoring`."""
        self._image_of(url)
        return 200

    def post(
        self,
        url: str,
        body: bytes,
        *,
        key: str | None = None,  # noqa: ARG002
        deployment: str | None = None,
        shadow: str | None = None,
    ) -> Answer:
        """See `release_backends.Scoring`."""
        town = self._town
        if url != URI:
            digest = self._image_of(url)
            if body != REQUEST:
                return Answer(400, b"", 0.02)
            if town.nature(digest) != "wrong":
                town.examined.add(digest)
            return self._answer(digest)
        name = deployment or max(sorted(town.traffic), key=lambda each: town.traffic[each])
        if town.state(name) != "Succeeded":
            return Answer(404, b"", 0.02)
        digest = town.standing[name].digest
        return Answer(500, b"", 0.02) if shadow and town.nature(digest) == "errs in shadow" else self._answer(digest)

    def _answer(self, digest: str) -> Answer:
        prediction = 5.0 if self._town.nature(digest) == "wrong" else 1.0
        told = {"prediction": prediction, "model_version": str(self._town.versions[digest])}
        return Answer(200, json.dumps(told).encode(), 0.02)

    def _image_of(self, url: str) -> str:
        found = self._town.groups.get(url.split("/")[3])
        if found is None or self._town.scheduler.now < found.ready_at:
            raise Unavailable(f"{url} does not answer")
        return found.image


class Log:
    """The scoring log: a call a second, shared out by the traffic map."""

    def __init__(self, town: ReleaseTown) -> None:
        self._town = town

    def served(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Tally | None:  # noqa: ARG002
        """See `release_backends.ServedCalls`."""
        town, first, last = self._town, (since - NOON).total_seconds(), (until - NOON).total_seconds()
        count = 0.0
        for number, (at, shares) in enumerate(town.maps):
            ends = town.maps[number + 1][0] if number + 1 < len(town.maps) else FOREVER
            logged = min(ends, last, town.scheduler.now - town.lag) - max(at, first)
            count += max(0.0, logged) * shares.get(deployment, 0) / 100
        calls, found = int(count), town.standing.get(deployment)
        if not calls or found is None:
            return None
        failures = calls // 2 if town.nature(found.digest).startswith("errs") else 0
        return Tally(count=calls, failures=failures, predictions=calls, prediction_sum=float(calls),
                     prediction_squares=1.01 * calls, prediction_bins={20: calls})  # fmt: skip

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> list[LoggedCall]:  # noqa: ARG002
        """See `release_backends.ServedCalls`."""
        now = NOON + dt.timedelta(seconds=self._town.scheduler.now)
        at = (after + dt.timedelta(seconds=10) * number for number in range(1, most + 1))
        return [LoggedCall(one, REQUEST, 200, 20.0, (1.0,), {}) for one in at if one < now]
