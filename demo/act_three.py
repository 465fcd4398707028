"""Act three: a model that passes QA and errs in production is canaried and rolled back."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

from demo import act_two, bad_model, records
from demo.chain import Chain
from demo.progress import Progress
from demo.report import Step, StepFailed
from demo.stage import Stage
from demo.traffic import Traffic


def play(stage: Stage, progress: Progress, traffic: Traffic) -> None:
    """Build the bad model, and see it rolled back with production as it was."""
    release = progress.report.evidence("promoted")
    chain = Chain(stage, progress, dt.datetime.now(dt.UTC).isoformat())
    with progress.step("bad model", "A bad model is pushed") as step:
        progress.doing("registry", "builds the champion's model with a fault in its service")
        built = bad_model.release(stage, release)
        step.prove(**built)
        progress.note(step, f"version {built['model_version']}, {built['digest'][:19]}: half of its answers will fail")
    with progress.step("bad model: canary", "  passes QA, canary beside the champion") as step:
        shares = act_two.canary(stage, chain, str(release["deployment"]))
        step.prove(traffic=shares)
        progress.note(step, records.in_words(shares))
    with progress.step("rolled back", "  rolled back") as step:
        run = chain.wait("release", ends=("failed",))
        result = run["result"]
        because = re.sub(r"^attempt \d+ failed \(\w+\): |; permanent failures are not retried$", "", run["reason"])
        step.prove(run=run["run"], reason=because, qa=result.get("qa"), gates=result.get("gates"))
        step.prove(digest=result["digest"], deployment=result["deployment"])
        _restored(stage, step, release, chain.since)
        _seen(step, traffic, shares, records.traffic(stage.cloud, chain.since))
        share = step.evidence["share_of_requests"]
        progress.note(step, f"{because}; it saw {share:.0%} of the requests meanwhile")


def _restored(stage: Stage, step: Step, release: Mapping[str, Any], since: str) -> None:
    """Production is the champion's exact digest, with all the traffic."""
    shares = {name: share for name, share in records.traffic(stage.cloud, since)[-1]["traffic"].items() if share}
    if shares != {release["deployment"]: 100}:
        raise StepFailed(f"{release['deployment']} was to have all traffic again; the shares are {shares}")
    digest = records.serving(stage.cloud, str(release["deployment"]))
    if digest != release["digest"]["production"]:
        raise StepFailed(f"{release['deployment']} was released as {release['digest']}, and serves {digest}")
    step.prove(traffic=shares, champion_digest=digest)


def _seen(step: Step, traffic: Traffic, shares: dict[str, int], maps: list[records.Row]) -> None:
    """Of the requests while it was canaried, the bad deployment saw its share: three standard deviations are chance."""
    bad = str(step.evidence["deployment"])
    asked = traffic.between(str(maps[0]["at"]), str(maps[-1]["at"]))
    total, share = sum(asked.values()), shares[bad] / 100
    most = share * total + 3 * math.sqrt(total * share * (1 - share))
    if asked[bad] > most:
        raise StepFailed(f"{bad} saw {asked[bad]} of {total} requests, its share was {share:.0%}")
    seen = round(asked[bad] / total, 4) if total else 0.0
    step.prove(requests=total, requests_seen=asked[bad], share_of_requests=seen, canary_share=share)
