"""Replays logged requests to a deployment that gets no traffic; nobody but the release hears its answers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import Any

from shared import release_shares
from shared.errors import Unavailable
from shared.release_backends import Answer, Backends, LoggedCall
from shared.release_facts import Facts
from shared.tallies import Tally, answered, relative

JSON = Mapping[str, Any]

BATCH, BUDGET = 10, 20.0
"""At most so many requests, and begun within so many seconds, between two saves: the run's lease is longer."""

_BACK = dt.timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The deployment that is asked."""

    endpoint: str
    deployment: str
    scoring_uri: str


def champion(facts: Facts, target: Target) -> str | None:
    """The deployment whose logged calls are replayed: the one that gets most requests."""
    shares = facts.endpoint.traffic if facts.endpoint else {}
    taking = release_shares.champions(shares, facts.deployments, target.deployment)
    return max(sorted(taking), key=lambda name: taking[name]) if taking else None


def replay(
    world: Backends, target: Target, key: str, progress: JSON, of: str | None, wanted: int, run: str
) -> JSON | None:
    """What both have answered by now with a few more requests replayed; None when there are none (left)."""
    known = progress.get("replayed") or {}
    mine, theirs = Tally.of(known.get("challenger")), Tally.of(known.get("champion"))
    after = known.get("after")
    since = dt.datetime.fromisoformat(after or progress["entered"]) - (dt.timedelta(0) if after else _BACK)
    most = min(BATCH, wanted - mine.count)
    calls = world.served.calls(target.endpoint, of, since, most) if of and most > 0 else ()
    began = time.monotonic()
    for call in calls:
        answer = _ask(world, target, key, call, f"shadow-{run}-{mine.count + 1}")
        mine += answered(answer.status, answer.seconds * 1000, _predictions(answer, call))
        theirs += answered(call.status, call.latency_ms, call.predictions)
        after = call.at.isoformat()
        if time.monotonic() - began > BUDGET:
            break
    return {"challenger": mine.facts(), "champion": theirs.facts(), "after": after} if calls else None


def _ask(world: Backends, target: Target, key: str, call: LoggedCall, name: str) -> Answer:
    """The challenger's answer; one that does not come is a failure of the challenger."""
    began = time.monotonic()
    try:
        return world.scoring.post(target.scoring_uri, call.request, key=key, deployment=target.deployment, shadow=name)
    except Unavailable:
        return Answer(504, b"", time.monotonic() - began)


def _predictions(answer: Answer, call: LoggedCall) -> list[float]:
    try:
        told = json.loads(answer.body)
    except ValueError:
        return []
    return relative(told.get("predictions"), call.levels) if isinstance(told, dict) else []
