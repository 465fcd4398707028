"""What happens on the stage, in order: the set-up, a week from landed data to a forecast, and the reckoning."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import json
import os
import time

from demand_forecasting import client, landing
from demo import forecast, noise, records
from demo.chain import Chain, Row
from demo.progress import Progress
from demo.report import Step, StepFailed
from demo.stage import Stage
from localcloud import subscriptions

QUIET_WITHIN = 90.0


def set_up(stage: Stage, progress: Progress) -> None:
    """A fresh cloud with the app, history that nobody is told of, the workload, and the subscriptions."""
    with progress.step("cloud", "Local cloud and app") as step:
        progress.doing("local cloud", "storage, services, Functions host")
        stage.start()
        step.prove(name=stage.name, app=stage.cloud.url("functions"))
        progress.note(
            step, f"{len(stage.cloud.ports)} services on 127.0.0.1, the app at {stage.cloud.url('functions')}"
        )
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        published = beside.submit(stage.run, "demand_forecasting.publish")
        with progress.step("history", "History in the lake") as step:
            progress.doing("lake", "22 months of hourly demand as one Delta commit")
            version = landing.land_history(noise.table())
            step.prove(table=noise.table(), delta_version=version)
            progress.note(
                step, f"{landing.HISTORY_START:%d %b %Y} to {landing.HISTORY_END:%d %b %Y}, before anybody listens"
            )
        with progress.step("publish", "Workload published") as step:
            progress.doing("Databricks, Azure ML", "job, components, pipeline, endpoint")
            said = published.result()
            step.prove(said=said.splitlines())
            progress.note(step, "Databricks job, Azure ML pipeline and components, online endpoint")
    with progress.step("subscriptions", "Event Grid subscriptions") as step:
        progress.doing("Event Grid", "handshake with the app")
        made = subscriptions.create(stage.cloud)
        step.prove(subscriptions=made)
        progress.note(step, f"{', '.join(made)} to the app's webhook")


def week(stage: Stage, progress: Progress, number: int) -> None:
    """Land a week, follow its chain to production, and ask production for the week after it."""
    chain = Chain(stage, progress, dt.datetime.now(dt.UTC).isoformat())
    start = landing.week_start(number)
    with progress.step(f"week {number}: landed", f"Week {number} lands, {start:%d %b %Y}") as step:
        _land(stage, progress, step, number)
    with progress.step(f"week {number}: curated", "  curated by Databricks") as step:
        curated = chain.wait("curate")
        gold_version = int(curated["result"]["gold_version"])
        step.prove(run=curated["run"], databricks_run=curated["result"]["databricks_run"], gold_version=gold_version)
        step.prove(correlation=curated["correlation"])
        progress.note(step, f"Databricks run {curated['result']['databricks_run']} wrote gold version {gold_version}")
    with progress.step(f"week {number}: trained", "  trained by Azure ML") as step:
        trained = chain.wait("train")
        _trained(stage, progress, step, trained)
    with progress.step(f"week {number}: released", "  released to production") as step:
        if trained["result"].get("model_version"):
            _released(stage, progress, step, chain.wait("release"))
        else:
            _retained(progress, step, trained, number)
    with progress.step(f"week {number}: forecast", "  the next week, forecast") as step:
        _forecast(stage, progress, step, number, gold_version)


def reckon(stage: Stage, progress: Progress, weeks: int) -> None:
    """Count what there was, by the services' own records and by the journal; both must agree."""
    with progress.step("reckoning", "Everything accounted for") as step:
        progress.doing("Sluice", "the last deliveries come to rest")
        _quiet(stage)
        effects, told = records.effects(stage.cloud), records.told(stage.ask("runs") or [])
        journal = json.loads(stage.run("console.main", "status", "--json", "--name", stage.name))["deliveries"]
        progress.report.effects, progress.report.journal = effects, journal
        acknowledged = records.delivered(stage.cloud)
        step.prove(control_plane=told, event_grid_acknowledged=acknowledged)
        released = sum("digest" in progress.report.evidence(f"week {number + 1}: released") for number in range(weeks))
        _check(effects, told, journal, acknowledged, weeks, released)
        said = ", ".join(f"{count} {outcome}" for outcome, count in journal.items() if outcome != "deliveries")
        progress.note(step, f"{journal['deliveries']} deliveries: {said}")


def _land(stage: Stage, progress: Progress, step: Step, number: int) -> None:
    progress.doing("lake", "blobs that mean nothing, then one commit that does, then a compaction")
    noise.deliver_badly(stage)
    step.prove(noise_blobs=noise.blobs(stage, number), malformed_answered=noise.malformed(stage))
    if number > 1:
        earlier = str(progress.report.evidence(f"week {number - 1}: landed")["event"])
        step.prove(delivered_again=earlier, delivered_again_answered=noise.again(stage, earlier))
    version = landing.land_week(noise.table(), number)
    compaction = landing.compact(noise.table())
    if compaction == version:
        raise StepFailed(f"there was nothing to compact in {noise.table()} after version {version}")
    event = noise.event_of(stage, version)
    if event is None:
        raise StepFailed(f"version {version} of {noise.table()} has raised no event: does the lake's front run?")
    step.prove(delta_version=version, event=event, compaction_version=compaction)
    progress.note(
        step, f"Delta version {version} amid noise: told twice, with a compaction, strays and a malformed event"
    )


def _trained(stage: Stage, progress: Progress, step: Step, run: Row) -> None:
    job = str(run["remote"]["id"])
    registered = [row for row in stage.cloud.records("azure_ml", "model_registered") if row["job"] == job]
    report = run["result"].get("report") or {}
    if not registered and report.get("verdict") != "retained":
        raise StepFailed(f"Azure ML job {job} has registered no model, and does not say why")
    model = registered[-1] if registered else {"name": "the champion", "version": report["champion"]["version"]}
    ended = [row for row in stage.cloud.records("azure_ml", "step_ended") if row["job"] == job]
    steps = {str(row["step"]).rpartition(".")[2]: row["status"] for row in ended}
    step.prove(
        run=run["run"], azureml_job=job, model=model["name"], model_version=str(model["version"]), pipeline=steps
    )
    step.prove(verdict=report.get("verdict"), mae=report.get("mae"), champion=report.get("champion"))
    progress.note(step, f"{model['name']} version {model['version']}: {report.get('reason') or ', '.join(steps)}")


def _released(stage: Stage, progress: Progress, step: Step, run: Row) -> None:
    result = run["result"]
    group = str(run["run"])[-50:].strip("-")
    digests = records.digests(stage.cloud, result["digest"], f"qa-{group}-", result["deployment"])
    evidence = ("model_version", "azureml_job", "deployment", "scoring_uri", "qa", "traffic")
    step.prove(run=run["run"], digest=digests, **{name: result.get(name) for name in evidence})
    errors = f"MAE {result['qa']['mae']:.2f}, naive {result['qa']['naive_mae']:.2f}"
    progress.note(step, f"{str(result['digest'])[:19]} passed QA ({errors}), all traffic to {result['deployment']}")


def _retained(progress: Progress, step: Step, run: Row, number: int) -> None:
    """The champion stays: production is what it was the week before."""
    before = progress.report.evidence(f"week {number - 1}: released")
    step.prove(run=run["run"], retained=True, **{name: before[name] for name in ("deployment", "model_version")})
    progress.note(step, f"nothing: version {before['model_version']} stays in production")


def _forecast(stage: Stage, progress: Progress, step: Step, number: int, gold_version: int) -> None:
    progress.doing("production", "asked for the week that comes next")
    start = landing.week_start(number + 1)
    gold = f"abfss://gold@{os.environ['AZURE_STORAGE_ACCOUNT_NAME']}.dfs.core.windows.net/demand"
    request = client.request(gold, gold_version)
    if request["origin"] != start.isoformat():
        raise StepFailed(f"gold version {gold_version} ends before {request['origin']}, not before {start.isoformat()}")
    answer = forecast.ask(stage.cloud, request)
    released = progress.report.evidence(f"week {number}: released")
    expected = {"deployment": released["deployment"], "model_version": released["model_version"]}
    answered = {"deployment": answer.deployment, "model_version": answer.model_version}
    if answered != expected:
        raise StepFailed(f"production was to answer as {expected}, it answered as {answered}")
    measured = client.actual(start)
    mae = client.mean_absolute_error(answer.predictions, measured)
    naive = client.mean_absolute_error(client.seasonal_naive(request), measured)
    median = client.mean_absolute_error(client.median_of_weeks(request), measured)
    step.prove(
        week=start.date(), **answered, scoring_uri=answer.scoring_uri, milliseconds=round(answer.milliseconds, 1)
    )
    step.prove(mae=round(mae, 4), naive_mae=round(naive, 4), median_mae=round(median, 4), hours=client.WEEK_HOURS)
    versus = f"MAE {mae:.2f} l/s against {naive:.2f} of seasonal naive"
    progress.note(step, f"version {answer.model_version} answers: {versus} ({1 - mae / naive:.0%} better)")


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


def _check(
    effects: dict[str, int],
    told: dict[str, int],
    journal: dict[str, int],
    acknowledged: int,
    weeks: int,
    released: int,
) -> None:
    # Each week is curated, and its actuals are joined with what was served.
    wanted = dict.fromkeys(effects, weeks) | {"databricks_runs": 2 * weeks, "releases": released}
    if effects != wanted:
        raise StepFailed(f"the services have carried out {effects}; it should be {wanted}")
    if told != effects:
        raise StepFailed(f"the services have carried out {effects}, the control plane says {told}")
    # Besides Event Grid's, the journal has what was posted to the webhook and the runs' own events.
    if journal["deliveries"] < acknowledged:
        raise StepFailed(f"Event Grid had {acknowledged} deliveries acknowledged, the journal has {journal}")
    if journal["rejected"] < weeks or journal["duplicate"] < 2 * weeks - 1:
        said = f"{weeks} malformed event(s) and {2 * weeks - 1} repeated one(s) were delivered"
        raise StepFailed(f"{said}, the journal counts {journal['rejected']} and {journal['duplicate']}")
