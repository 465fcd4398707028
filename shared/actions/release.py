"""Takes an image to production, one idempotent step an observation; `shared.releases` decides every step.

Options: `repository`, `digest`, `endpoint`, `compute`; optionally `model` (the only model that the route releases),
`tag` (must stand for the digest until production has it), `requested_by` (who cannot approve), `qa` (limits), `ready`
(how long a deployment may take), `rollback_window`, `analysis` and `steps` (docs/releases.md).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from shared import release_cleaning, release_evidence, release_facts, release_rules, release_traffic, releases
from shared.actions.release_looks import LOOKS, Looks
from shared.errors import Refused, Unavailable
from shared.observations import Observation, Remote, Status
from shared.ports import Clock
from shared.release_backends import Backends
from shared.release_decisions import Decision
from shared.release_facts import Ending, Facts, Plan
from shared.release_steps import Step
from shared.release_verdicts import Effect
from shared.releases import Move

JSON = Mapping[str, Any]

_PAUSE = 2.0
"""After so many seconds a call is repeated whose answer was lost, where the backend says nothing else."""


class Release:
    """The action `release`."""

    exclusive = True

    def __init__(self, backends: Backends, clock: Clock) -> None:
        self._world, self._clock, self._looks = backends, clock, Looks(backends, clock)

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
        """Take the next step of the release.

        `request` may hold beside what was frozen: `decisions` (a list of `verdict`, `by`, `at`, `note`) and `ending`
        (`kind` and `reason`), when people have decided something or the run is to end.  Raises Unavailable while a
        backend does not answer and the step's time is not over.
        """
        plan, known = Plan.of(request), progress
        progress = progress or releases.begun(self._clock.now())
        asked, called, pause = self._asked(plan, request, progress), False, None
        try:
            facts = self._look(plan, progress, asked)
            move = self._advance(plan, progress, facts)
            called = move.effect is not None
            if called:
                move = self._tried(move, plan, progress, facts, asked)
        except Unavailable as error:
            facts = dataclasses.replace(asked, unreachable=str(error), called=called)
            move = self._advance(plan, progress, facts)
            if move.status is Status.ACTIVE and move.progress == known:
                raise  # nothing has changed: the run tells it, and asks again when the backend wishes
            if move.progress["step"] == progress["step"]:
                pause = error.retry_after or _PAUSE
        correlation = (facts.labels or {}).get(release_rules.CORRELATION_LABEL)
        return Observation(move.status, move.reason, move.failure, move.progress, move.result, correlation, pause)

    def cancel(self, request: JSON, remote: Remote) -> None:
        """Nothing: a release learns from `request["ending"]` that it is to end, and turns back step by step."""

    def _asked(self, plan: Plan, request: JSON, progress: JSON) -> Facts:
        """What people and the control plane want of the release."""
        decisions = tuple(Decision.of(given) for given in request.get("decisions", ()))
        given = request.get("ending")
        if given is None:
            return Facts(decisions=decisions)
        can_turn = given["kind"] == "superseded" and not progress.get("committed")
        same = can_turn and self._newest(plan) == plan.digest
        return Facts(decisions=decisions, ending=Ending(given["kind"], given["reason"], same))

    def _newest(self, plan: Plan) -> str | None:
        try:
            return self._world.images.newest(plan.repository)
        except (Refused, Unavailable):
            return None

    def _look(self, plan: Plan, progress: JSON, asked: Facts) -> Facts:
        try:
            seen = LOOKS[Step(progress["step"])](self._looks, plan, progress)
        except Refused as error:
            return dataclasses.replace(asked, refused=str(error))
        return dataclasses.replace(seen, decisions=asked.decisions, ending=asked.ending)

    def _advance(self, plan: Plan, progress: JSON, facts: Facts) -> Move:
        return releases.advance(plan, progress, facts, self._clock.now())

    def _tried(self, move: Move, plan: Plan, progress: JSON, facts: Facts, asked: Facts) -> Move:
        """The move with its effect done, or the one that its failing leads to."""
        assert move.effect is not None
        try:
            self._do(move.effect, plan, progress, facts)
        except Refused as error:
            return self._advance(plan, progress, dataclasses.replace(asked, refused=str(error)))
        return move

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
            assert facts.endpoint is not None
            endpoints.write_traffic(plan.endpoint, release_traffic.wanted(progress), facts.endpoint.traffic)
        elif effect is Effect.WRITE_EVIDENCE:
            self._world.evidence.write(plan.endpoint, *release_evidence.record(plan, progress, facts.chain))
        else:
            old = release_cleaning.retired(progress, facts)
            if old is not None:
                endpoints.remove(plan.endpoint, old)

    def _image(self, plan: Plan) -> str:
        return self._world.images.reference(plan.repository, plan.digest)
