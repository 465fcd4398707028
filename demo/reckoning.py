"""The reckoning: what there was, by the services' own records and by the journal."""

from __future__ import annotations

import json
import time

from demo import records
from demo.progress import Progress
from demo.report import Step, StepFailed
from demo.stage import Stage
from demo.traffic import Traffic

QUIET_WITHIN = 90.0
_TO_PRODUCTION = frozenset({"week 1: released", "promoted", "rolled back"})
"""Steps that move all production traffic once, to a new champion or back to the old one."""


def reckon(stage: Stage, progress: Progress, weeks: int, traffic: Traffic) -> None:
    """Count what there was, by the services' own records and by the journal; both must agree."""
    report = progress.report
    with progress.step("reckoning", "Everything accounted for") as step:
        progress.doing("Sluice", "the last deliveries come to rest")
        _quiet(stage)
        traffic.end()
        _answered(step, traffic, str(report.evidence("rolled back").get("deployment", "")))
        effects, told = records.effects(stage.cloud), records.told(stage.ask("runs") or [])
        journal = json.loads(stage.run("console.main", "status", "--json", "--name", stage.name))["deliveries"]
        report.effects, report.journal = effects, journal
        acknowledged = records.delivered(stage.cloud)
        step.prove(control_plane=told, event_grid_acknowledged=acknowledged)
        wanted = {
            "databricks_runs": 2 * weeks,  # each week is curated, and its actuals are joined with what was served
            "azureml_jobs": sum(found.name.endswith(": trained") for found in report.steps),
            "releases": sum(found.name in _TO_PRODUCTION for found in report.steps),
        }
        _check(effects, told, wanted)
        _check_journal(journal, acknowledged, weeks)
        said = ", ".join(f"{count} {outcome}" for outcome, count in journal.items() if outcome != "deliveries")
        progress.note(step, f"{journal['deliveries']} deliveries: {said}")


def _answered(step: Step, traffic: Traffic, bad: str) -> None:
    """Every request of the steady client was answered, but for those that the bad deployment saw."""
    failed = traffic.failures()
    step.prove(requests=len(traffic.asked), failed_of_the_bad_deployment=failed.pop(bad, 0) if bad else 0)
    step.prove(failed=sum(failed.values()))
    if failed:
        raise StepFailed(f"of {len(traffic.asked)} requests of the steady client failed, by deployment: {dict(failed)}")


def _quiet(stage: Stage) -> None:
    """Wait until no run moves, no lane collects and Event Grid has nothing left to deliver."""
    deadline = time.monotonic() + QUIET_WITHIN
    pending = stage.home / "event_grid" / "pending"
    moving = ["nothing was asked yet"]
    while moving:
        if time.monotonic() > deadline:
            raise StepFailed(f"not at rest within {QUIET_WITHIN:.0f} s: {'; '.join(moving)}")
        time.sleep(0.3)
        stage.check()
        runs, lanes = stage.ask("runs"), stage.ask("lanes")
        if runs is None or lanes is None:
            continue
        moving = [f"run {run['run']} is {run['phase']}" for run in runs if run["ended"] is None]
        moving += [f"lane {lane['route']}/{lane['key']} is collecting" for lane in lanes if lane["collecting"]]
        moving += [f"Event Grid has {path.name} to deliver" for path in pending.glob("*.json")]


def _check(effects: dict[str, int], told: dict[str, int], wanted: dict[str, int]) -> None:
    if effects != wanted:
        raise StepFailed(f"the services have carried out {effects}; it should be {wanted}")
    if told != effects:
        raise StepFailed(f"the services have carried out {effects}, the control plane says {told}")


def _check_journal(journal: dict[str, int], acknowledged: int, weeks: int) -> None:
    # Besides Event Grid's, the journal has what was posted to the webhook and the runs' own events.
    if journal["deliveries"] < acknowledged:
        raise StepFailed(f"Event Grid had {acknowledged} deliveries acknowledged, the journal has {journal}")
    if journal["rejected"] < weeks or journal["duplicate"] < 2 * weeks - 1:
        said = f"{weeks} malformed event(s) and {2 * weeks - 1} repeated one(s) were delivered"
        raise StepFailed(f"{said}, the journal counts {journal['rejected']} and {journal['duplicate']}")
