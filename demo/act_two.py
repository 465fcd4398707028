"""Act two: the day comes six hours later in six areas; drift is confirmed, a better model trained, canaried, promoted.

Until a model is better beyond noise each new week trains another one, and the champion is retained.
"""

from __future__ import annotations

import time

from demo import act_one, change, records
from demo.chain import Chain, Row
from demo.progress import Progress
from demo.report import Step, StepFailed
from demo.stage import Stage
from demo.traffic import Traffic

LAST_WEEK = change.FIRST_WEEK + 3
_CANARY_WITHIN = 300.0


def play(stage: Stage, progress: Progress, traffic: Traffic) -> int:
    """An ordinary week, then changed ones until a model is better than the champion; the last week that landed."""
    for number in range(3, change.FIRST_WEEK):
        act_one.ordinary_week(stage, progress, traffic, number)
    for number in range(change.FIRST_WEEK, LAST_WEEK):
        if _changed_week(stage, progress, traffic, number):
            return number
    raise StepFailed(f"no model was better than the champion by week {LAST_WEEK - 1}")


def _changed_week(stage: Stage, progress: Progress, traffic: Traffic, number: int) -> bool:
    """Land a changed week and follow what it leads to; whether a new model came into production."""
    champion = str(progress.report.evidence("week 1: released")["deployment"])
    chain, gold_version = act_one.landed(stage, progress, number)
    first = number == change.FIRST_WEEK
    if first:
        with progress.step("drift confirmed", "  drift confirmed") as step:
            _confirmed(progress, step, chain.wait("drift")["result"])
    with progress.step(f"week {number}: forecast", "  the next week, forecast") as step:
        act_one.ask(stage, progress, step, number, gold_version, traffic, champion)
    with progress.step(f"week {number}: trained", "  trained beside the champion") as step:
        # New data come before the drift that they show: the first changed week has a run that they did not start.
        run = chain.wait("train", 2 if first else 1)
        act_one.trained(stage, progress, step, run)
        step.prove(because=run["result"]["guard"]["rule"])
    better = bool(run["result"].get("model_version"))
    if better:
        _promoted(stage, progress, traffic, chain, number, gold_version)
    if not first:
        with progress.step(f"week {number}: assessed", "  drift assessed meanwhile") as step:
            found = chain.wait("drift")["result"]
            act_one.assessment(step, found)
            progress.note(step, f"{found['level']}: {found['finding']}")
    return better


def _promoted(stage: Stage, progress: Progress, traffic: Traffic, chain: Chain, number: int, gold_version: int) -> None:
    """Follow the better model into production, and ask it what the old one was asked."""
    champion = str(progress.report.evidence("week 1: released")["deployment"])
    _canary(stage, progress, chain, champion)
    with progress.step("promoted", "  promoted to production") as step:
        act_one.released(stage, progress, step, chain.wait("release"))
    with progress.step("error falls", "  the same week, forecast again") as step:
        _falls(stage, progress, step, traffic, number, gold_version)


def _confirmed(progress: Progress, step: Step, found: Row) -> None:
    act_one.assessment(step, found)
    if found["level"] != "retrain" or not found.get("served"):
        raise StepFailed(f"the detector was to ask for a retrain, it says {found['level']}: {found['finding']}")
    served = found["served"]
    times = served["error"] / served["usual"]
    progress.note(step, f"{len(found['flagged'])} areas over their thresholds, error {times:.1f} times the usual")


def _canary(stage: Stage, progress: Progress, chain: Chain, champion: str) -> None:
    with progress.step("canary", "  canary beside the champion") as step:
        shares = canary(stage, chain, champion)
        step.prove(traffic=shares)
        progress.note(step, records.in_words(shares))


def canary(stage: Stage, chain: Chain, champion: str) -> dict[str, int]:
    """The traffic map in which a challenger has a share beside the champion, once Azure ML has it."""
    deadline = time.monotonic() + _CANARY_WITHIN
    while time.monotonic() < deadline:
        stage.check()
        for row in records.traffic(stage.cloud, chain.since):
            shares = {name: int(share) for name, share in row["traffic"].items() if share}
            if len(shares) > 1 and champion in shares:
                return shares
        run = chain.find("release")
        chain.say("release", run)
        if run is not None and run["phase"] == "failed":
            raise StepFailed(f"run {run['run']} failed before any canary: {run['reason']}")
        time.sleep(0.5)
    raise StepFailed(f"no challenger had a share of the traffic within {_CANARY_WITHIN:.0f} s")


def _falls(stage: Stage, progress: Progress, step: Step, traffic: Traffic, number: int, gold_version: int) -> None:
    """Ask the new champion what the old one was asked."""
    release = progress.report.evidence("promoted")
    act_one.ask(stage, progress, step, number, gold_version, traffic, str(release["deployment"]))
    before, after = progress.report.evidence(f"week {number}: forecast")["mae"], step.evidence["mae"]
    if not after < before:
        raise StepFailed(f"the new model's error is {after:.2f} l/s in the week that comes, the old one's {before:.2f}")
    step.prove(mae_before=before, falls_by=round(1 - after / before, 4))
    progress.note(step, f"MAE {after:.2f} l/s, {before:.2f} by the old model: {1 - after / before:.1%} less")
