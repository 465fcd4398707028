"""What each step of a release looks up in the world before it is decided."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from shared import release_analysis, release_course, release_evidence, release_rules
from shared.actions import quality, shadowing
from shared.errors import NotFound, Refused, Unavailable
from shared.ports import Clock
from shared.release_backends import Answer, Backends, Golden
from shared.release_checks import Served
from shared.release_facts import Checks, Facts, Group, Plan
from shared.release_stages import Stage
from shared.release_steps import Step

JSON = Mapping[str, Any]

_CHAIN, _NEWEST = 50, 5
"""So many records of an endpoint are looked at for a version that goes back, and for the release's own."""

_BEFORE = dt.timedelta(hours=1)


class Looks:
    """Reads the backends; changes nothing."""

    def __init__(self, backends: Backends, clock: Clock) -> None:
        self._world, self._clock = backends, clock

    def identity(self, plan: Plan, _: JSON) -> Facts:
        """What the image says it is, the registered model, its tag, the endpoint and its evidence."""
        labels = self._world.images.labels(plan.repository, plan.digest)
        name, version = ((labels or {}).get(release_rules.LABELS[part]) for part in ("model", "model_version"))
        tags = self._world.models.tags(name, version) if name and version else None
        endpoint = self._world.endpoints.endpoint(plan.endpoint)
        return Facts(
            labels=labels, model=tags, endpoint=endpoint, tagged=self._tagged(plan), chain=self._chain(plan, _CHAIN)
        )

    def group(self, plan: Plan, _: JSON) -> Facts:
        """QA's container group."""
        return Facts(group=self._world.containers.group(plan.group))

    def readiness(self, plan: Plan, _: JSON) -> Facts:
        """Whether QA's container answers its health check."""
        group = self._world.containers.group(plan.group)
        if group is None or group.ended or not group.address:
            return Facts(group=group, logs=self._world.containers.logs(plan.group) if group else "")
        try:
            ready = self._world.scoring.get(f"{group.address}/") == 200
        except Unavailable:
            ready = False
        return Facts(group=group, ready=ready, logs="" if ready else self._world.containers.logs(plan.group))

    def quality(self, plan: Plan, progress: JSON) -> Facts:
        """All that QA measures."""
        group = self._world.containers.group(plan.group)
        if group is None or group.ended or not group.address:
            return Facts(group=group, logs=self._world.containers.logs(plan.group) if group else "")
        golden, address = self._golden(progress), group.address
        return self._asked(
            plan,
            group,
            lambda: quality.examine(
                self._world.scoring, f"{address}/score", golden, plan.limits, self._champion(plan, progress, golden)
            ),
        )

    def production(self, plan: Plan, _: JSON) -> Facts:
        """The endpoint and its deployments."""
        endpoint = self._world.endpoints.endpoint(plan.endpoint)
        return Facts(
            endpoint=endpoint, deployments=self._world.endpoints.deployments(plan.endpoint) if endpoint else {}
        )

    def production_and_tag(self, plan: Plan, progress: JSON) -> Facts:
        """The endpoint, its deployments, and whether the tag still stands for the digest."""
        return dataclasses.replace(self.production(plan, progress), tagged=self._tagged(plan))

    def deployment(self, plan: Plan, progress: JSON) -> Facts:
        """The new deployment, with its log while it does not stand."""
        name = progress["evidence"]["deployment"]
        found = self._world.endpoints.deployments(plan.endpoint)
        standing = name in found and found[name].state.lower() == "succeeded"
        logs = self._world.endpoints.logs(plan.endpoint, name) if name in found and not standing else ""
        return Facts(deployments=found, logs=logs)

    def smoke(self, plan: Plan, progress: JSON) -> Facts:
        """What the new deployment predicts, asked by its name."""
        return self._ask_production(plan, progress, progress["evidence"]["deployment"])

    def plain(self, plan: Plan, progress: JSON) -> Facts:
        """What production predicts: asked plainly where only the new deployment can answer."""
        name = progress["evidence"]["deployment"]
        return self._ask_production(plan, progress, None if progress["intended"].get(name) == 100 else name)

    def shadow(self, plan: Plan, progress: JSON) -> Facts:
        """The endpoint, and a handful of replayed requests when it is time for one."""
        facts, stage = self.production(plan, progress), release_course.current(plan, progress)
        if facts.endpoint is None or not self._due(stage, progress):
            return facts
        key = self._world.endpoints.key(plan.endpoint)
        target = shadowing.Target(plan.endpoint, progress["evidence"]["deployment"], str(facts.endpoint.scoring_uri))
        replayed = shadowing.replay(
            self._world, target, key, progress, shadowing.champion(facts, target), stage.shadow or 0, plan.run
        )
        return dataclasses.replace(facts, measured=True, replayed=replayed) if replayed else facts

    def hold(self, plan: Plan, progress: JSON) -> Facts:
        """The endpoint, and what its deployments have served when it is time for a measurement."""
        facts, stage = self.production(plan, progress), release_course.current(plan, progress)
        state = progress.get("analysis")
        if not self._due(stage, progress) or state is None:
            return facts
        now = self._clock.now()
        since = release_analysis.since(stage.analysis, state, now)
        own = self._served(plan, progress["evidence"]["deployment"], since, now)
        if progress.get("committed"):  # the champion serves nothing any more: it is what it was
            since = dt.datetime.fromisoformat(progress["begun"]) - _BEFORE
        taking = progress["taking"]
        champion = max(sorted(taking), key=lambda name: taking[name]) if taking else None
        beside = self._served(plan, champion, since, now) if champion else None
        return dataclasses.replace(facts, measured=True, challenger=own, champion=beside)

    def records(self, plan: Plan, _: JSON) -> Facts:
        """The newest records of the endpoint's evidence."""
        return Facts(chain=self._chain(plan, _NEWEST))

    # ------------------------------------------------------------------------------------------------------------------

    def _tagged(self, plan: Plan) -> str | None:
        return self._world.images.tagged(plan.repository, plan.tag) if plan.tag else None

    def _chain(self, plan: Plan, most: int) -> tuple[JSON, ...]:
        return tuple(release_evidence.read(body) for body in self._world.evidence.newest(plan.endpoint, most))

    def _due(self, stage: Stage, progress: JSON) -> bool:
        state, now = progress.get("analysis"), self._clock.now()
        if stage.shadow is not None and state is not None:  # handful after handful, without a pause
            return now >= dt.datetime.fromisoformat(state["began"]) + stage.analysis.delay
        return release_analysis.due(state, now)

    def _served(self, plan: Plan, deployment: str, since: dt.datetime, until: dt.datetime) -> Served | None:
        """What a deployment has served; a log that does not answer is like one that has nothing: inconclusive."""
        try:
            return self._world.served.served(plan.endpoint, deployment, since, until)
        except Unavailable:
            return None

    def _asked(self, plan: Plan, group: Group | None, ask: Callable[[], Checks]) -> Facts:
        """The checks, or that the service did not answer: the step's own patience decides what that means."""
        try:
            return Facts(group=group, checks=ask())
        except Unavailable as error:
            logs = self._world.containers.logs(plan.group) if group else ""
            return Facts(group=group, unreachable=str(error), logs=logs)

    def _champion(self, plan: Plan, progress: JSON, golden: Golden) -> Answer | None:
        """What production answers to the golden request now, None when nobody serves yet."""
        if progress["evidence"].get("first"):
            return None
        key = self._world.endpoints.key(plan.endpoint)
        return self._world.scoring.post(progress["evidence"]["scoring_uri"], golden.request, key=key)

    def _ask_production(self, plan: Plan, progress: JSON, deployment: str | None) -> Facts:
        golden, seen = self._golden(progress), progress["evidence"]

        def ask() -> Checks:
            key = self._world.endpoints.key(plan.endpoint)
            answer = self._world.scoring.post(seen["scoring_uri"], golden.request, key=key, deployment=deployment)
            return quality.same(golden, answer, plan.limits, seen["model_version"])

        return self._asked(plan, None, ask)

    def _golden(self, progress: JSON) -> Golden:
        uri, wanted = progress["evidence"]["golden_uri"], progress["evidence"]["golden_sha256"]
        try:
            content = self._world.lake.read(uri)
        except NotFound as error:
            raise Refused(f"the golden set {uri}, which the image names, is not there") from error
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise Refused(f"the golden set {uri} has sha256 {found}, the image names {wanted}")
        try:
            return self._world.golden(content)
        except ValueError as error:
            raise Refused(f"the golden set {uri} cannot be used: {error}") from error


LOOKS: Mapping[Step, Callable[[Looks, Plan, JSON], Facts]] = {
    Step.IDENTIFY: Looks.identity,
    Step.QA_CREATE: Looks.group,
    Step.QA_WAIT: Looks.readiness,
    Step.QA_CHECK: Looks.quality,
    Step.QA_DELETE: Looks.group,
    Step.APPROVAL: lambda *_: Facts(),
    Step.DEPLOY: Looks.production_and_tag,
    Step.DEPLOY_WAIT: Looks.deployment,
    Step.SMOKE: Looks.smoke,
    Step.SHADOW: Looks.shadow,
    Step.TRAFFIC_PLAN: Looks.production_and_tag,
    Step.TRAFFIC: Looks.production,
    Step.VERIFY: Looks.plain,
    Step.HOLD: Looks.hold,
    Step.RETIRE: Looks.production,
    Step.RESTORE: Looks.production,
    Step.CLEAN_DEPLOYMENT: Looks.production,
    Step.CLEAN_QA: Looks.group,
    Step.RECORD: Looks.records,
}
