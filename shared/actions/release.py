"""Takes an image to production, one idempotent step an observation; `shared.releases` decides every step.

Options: `repository`, `digest`, `endpoint`, `compute`, optionally `model` (the only model that the route releases) and
`qa` (limits: `cpu`, `memory_gb`, `requests`, `latency_p95_ms`, `tolerance`, `ready_minutes`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from shared import release_facts, release_rules, release_traffic, releases
from shared.actions import quality
from shared.errors import NotFound, Refused, Unavailable
from shared.observations import Observation, Remote
from shared.ports import Clock
from shared.release_backends import Backends, Golden
from shared.release_facts import Checks, Facts, Group, Plan
from shared.release_verdicts import Effect
from shared.releases import Step

JSON = Mapping[str, Any]


class Release:
    """The action `release`."""

    exclusive = True

    def __init__(self, backends: Backends, clock: Clock) -> None:
        self._world, self._clock = backends, clock

    def faults(self, options: JSON) -> list[str]:
        """What is wrong with a route's options."""
        return release_facts.request_faults(options)

    def start(self, request: JSON) -> Remote:
        """Nothing is created yet: the release is known by the container group that its QA will use."""
        wrong = self.faults(request["options"])
        digest = str(request["options"].get("digest"))
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            wrong.append(f"option digest must be sha256:<64 hexadecimal digits>, it is {digest!r}")
        if wrong:
            raise Refused("; ".join(wrong))
        return Remote(Plan.of(request).group)

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        """Take the next step of the release."""
        plan = Plan.of(request)
        progress = progress or releases.begun(self._clock.now())
        try:
            facts = _LOOKS[Step(progress["step"])](self, plan, progress)
        except Refused as error:
            facts = Facts(refused=str(error))
        move = releases.advance(plan, progress, facts, self._clock.now())
        if move.effect:
            try:
                self._do(move.effect, plan, progress, facts)
            except Refused as error:
                move = releases.advance(plan, progress, Facts(refused=str(error)), self._clock.now())
        correlation = (facts.labels or {}).get(release_rules.CORRELATION_LABEL)
        return Observation(move.status, move.reason, move.failure, move.progress, move.result, correlation)

    def cancel(self, request: JSON, remote: Remote) -> None:
        """Delete what this attempt has made and production does not use; a release past its traffic goes on."""
        plan = Plan.of(request)
        group = self._world.containers.group(remote.id)
        if group and plan.owns(group):
            self._world.containers.delete(remote.id)
        endpoint = self._world.endpoints.endpoint(plan.endpoint)
        if endpoint is None or not endpoint.settled:
            return
        for name, deployment in self._world.endpoints.deployments(plan.endpoint).items():
            if plan.owns(deployment) and not endpoint.share(name) and deployment.state.lower() != "deleting":
                self._world.endpoints.remove(plan.endpoint, name)

    # -- what each step looks at ------------------------------------------------------------------------------------

    def _identity(self, plan: Plan, _: JSON) -> Facts:
        labels = self._world.images.labels(plan.repository, plan.digest)
        name, version = ((labels or {}).get(release_rules.LABELS[part]) for part in ("model", "model_version"))
        tags = self._world.models.tags(name, version) if name and version else None
        return Facts(labels=labels, model=tags, endpoint=self._world.endpoints.endpoint(plan.endpoint))

    def _group(self, plan: Plan, _: JSON) -> Facts:
        return Facts(group=self._world.containers.group(plan.group))

    def _readiness(self, plan: Plan, _: JSON) -> Facts:
        group = self._world.containers.group(plan.group)
        if group is None or group.ended or not group.address:
            return Facts(group=group, logs=self._world.containers.logs(plan.group) if group else "")
        try:
            ready = self._world.scoring.get(f"{group.address}/") == 200
        except Unavailable:
            ready = False
        return Facts(group=group, ready=ready, logs="" if ready else self._world.containers.logs(plan.group))

    def _quality(self, plan: Plan, progress: JSON) -> Facts:
        group = self._world.containers.group(plan.group)
        if group is None or group.ended or not group.address:
            return Facts(group=group, logs=self._world.containers.logs(plan.group) if group else "")
        golden, address = self._golden(progress), group.address
        return self._asked(
            plan, group, lambda: quality.examine(self._world.scoring, f"{address}/score", golden, plan.limits)
        )

    def _asked(self, plan: Plan, group: Group | None, ask: Callable[[], Checks]) -> Facts:
        """The checks, or that the service did not answer: the step's own patience decides what that means."""
        try:
            return Facts(group=group, checks=ask())
        except Unavailable as error:
            logs = self._world.containers.logs(plan.group) if group else ""
            return Facts(group=group, unreachable=str(error), logs=logs)

    def _production(self, plan: Plan, _: JSON) -> Facts:
        endpoint = self._world.endpoints.endpoint(plan.endpoint)
        found = self._world.endpoints.deployments(plan.endpoint) if endpoint else {}
        return Facts(endpoint=endpoint, deployments=found)

    def _deployment(self, plan: Plan, progress: JSON) -> Facts:
        name = progress["evidence"]["deployment"]
        found = self._world.endpoints.deployments(plan.endpoint)
        standing = name in found and found[name].state.lower() == "succeeded"
        logs = self._world.endpoints.logs(plan.endpoint, name) if name in found and not standing else ""
        return Facts(deployments=found, logs=logs)

    def _smoke(self, plan: Plan, progress: JSON) -> Facts:
        return self._ask_production(plan, progress, progress["evidence"]["deployment"])

    def _plain(self, plan: Plan, progress: JSON) -> Facts:
        return self._ask_production(plan, progress, None)

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

    # -- what it does ------------------------------------------------------------------------------------------------

    def _do(self, effect: Effect, plan: Plan, progress: JSON, facts: Facts) -> None:
        containers, endpoints = self._world.containers, self._world.endpoints
        if effect is Effect.CREATE_QA:
            containers.create(plan.group, self._image(plan), plan.tags(progress), plan.limits)
        elif effect is Effect.DELETE_QA:
            containers.delete(plan.group)
        elif effect is Effect.CREATE_DEPLOYMENT:
            name = progress["evidence"]["deployment"]
            endpoints.deploy(plan.endpoint, name, plan.repository, self._image(plan), plan.tags(progress))
        elif effect is Effect.DELETE_DEPLOYMENT:
            endpoints.remove(plan.endpoint, progress["evidence"]["deployment"])
        elif effect is Effect.WRITE_TRAFFIC:
            endpoints.write_traffic(plan.endpoint, release_traffic.wanted(progress))
        else:
            old = release_traffic.retired(progress, facts)
            if old is not None:
                endpoints.remove(plan.endpoint, old)

    def _image(self, plan: Plan) -> str:
        return self._world.images.reference(plan.repository, plan.digest)


_LOOKS: Mapping[Step, Callable[[Release, Plan, JSON], Facts]] = {
    Step.IDENTIFY: Release._identity,
    Step.QA_CREATE: Release._group,
    Step.QA_WAIT: Release._readiness,
    Step.QA_CHECK: Release._quality,
    Step.QA_DELETE: Release._group,
    Step.DEPLOY: Release._production,
    Step.DEPLOY_WAIT: Release._deployment,
    Step.SMOKE: Release._smoke,
    Step.TRAFFIC_PLAN: Release._production,
    Step.TRAFFIC: Release._production,
    Step.VERIFY: Release._plain,
    Step.RETIRE: Release._production,
    Step.RESTORE: Release._production,
    Step.CLEAN_QA: Release._group,
    Step.CLEAN_DEPLOYMENT: Release._production,
}
