"""Act one: the set-up, a week from landed data to a model in production, and weeks that train nothing."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import os

from demand_forecasting import client, landing
from demo import change, forecast, noise, records
from demo.chain import Chain, Row
from demo.progress import Progress
from demo.report import Step, StepFailed
from demo.stage import Stage
from demo.traffic import Traffic
from localcloud import subscriptions

SHOWN = "dma_7"
"""The area that the plots show: one that changes, with a clear shape of the day."""


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


def first_week(stage: Stage, progress: Progress, traffic: Traffic) -> None:
    """Land a week, follow its chain to production, and ask production for the week after it."""
    chain, gold_version = landed(stage, progress, 1)
    with progress.step("week 1: trained", "  trained by Azure ML") as step:
        trained(stage, progress, step, chain.wait("train"))
    with progress.step("week 1: released", "  released to production") as step:
        released(stage, progress, step, chain.wait("release"))
    with progress.step("week 1: forecast", "  the next week, forecast") as step:
        release = progress.report.evidence("week 1: released")
        ask(stage, progress, step, 1, gold_version, traffic, str(release["deployment"]))
    traffic.start(stage.cloud)


def ordinary_week(stage: Stage, progress: Progress, traffic: Traffic, number: int) -> None:
    """Land a week that gives nobody a reason to train: production goes on with the model that it has."""
    chain, gold_version = landed(stage, progress, number)
    with progress.step(f"week {number}: assessed", "  assessed: no reason to train") as step:
        found = chain.wait("drift")["result"]
        refused = [chain.wait("train", nth, ends=("skipped",)) for nth in (1, 2)]
        because = [str(run["reason"]).removeprefix("guard training: ") for run in refused]
        assessment(step, found)
        step.prove(not_trained=because)
        progress.note(step, "; ".join(because))
    with progress.step(f"week {number}: forecast", "  the next week, forecast") as step:
        release = progress.report.evidence("week 1: released")
        ask(stage, progress, step, number, gold_version, traffic, str(release["deployment"]))


def assessment(step: Step, found: Row) -> None:
    """Prove what the detector has found: its level, each area's distance over its threshold, the served error."""
    metric = "normalized_wasserstein_distance"
    distances = {name: round(seen[metric] / seen["threshold"], 4) for name, seen in found["series"].items()}
    step.prove(level=found["level"], finding=found["finding"], drift_week=found["week"], distances=distances)
    step.prove(flagged=found["flagged"], served=found.get("served"))


def landed(stage: Stage, progress: Progress, number: int) -> tuple[Chain, int]:
    """Land a week and see it curated; its chain, and the version of gold that it became."""
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
    return chain, gold_version


def _land(stage: Stage, progress: Progress, step: Step, number: int) -> None:
    progress.doing("lake", "blobs that mean nothing, then one commit that does, then a compaction")
    noise.deliver_badly(stage)
    step.prove(noise_blobs=noise.blobs(stage, number), malformed_answered=noise.malformed(stage))
    if number > 1:
        earlier = str(progress.report.evidence(f"week {number - 1}: landed")["event"])
        step.prove(delivered_again=earlier, delivered_again_answered=noise.again(stage, earlier))
    version = landing.land_rows(noise.table(), change.rows(number))
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


def trained(stage: Stage, progress: Progress, step: Step, run: Row) -> None:
    """Prove a training: its Azure ML job, and the model that it has registered or why it has not."""
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
    step.prove(reason=report.get("reason"))
    what = f"version {model['version']} {report.get('verdict') or 'registered'}"
    progress.note(step, f"{what}: {report.get('reason') or ', '.join(steps)}")


def released(stage: Stage, progress: Progress, step: Step, run: Row) -> None:
    """Prove a release: one digest in registry, QA and production."""
    result = run["result"]
    group = str(run["run"])[-50:].strip("-")
    digests = records.digests(stage.cloud, result["digest"], f"qa-{group}-", result["deployment"])
    evidence = ("model_version", "azureml_job", "deployment", "scoring_uri", "qa", "traffic", "gates")
    evidence += ("gold_version", "golden_uri", "golden_sha256")
    step.prove(run=run["run"], digest=digests, **{name: result.get(name) for name in evidence})
    errors = f"MAE {result['qa']['mae']:.2f}, naive {result['qa']['naive_mae']:.2f}"
    progress.note(step, f"{str(result['digest'])[:19]} passed QA ({errors}), all traffic to {result['deployment']}")


def ask(
    stage: Stage, progress: Progress, step: Step, number: int, gold_version: int, traffic: Traffic, deployment: str
) -> None:
    """Ask production for the week after week `number`, and compare with what will be measured.

    Raises StepFailed when another deployment than this one answers.
    """
    progress.doing("production", "asked for the week that comes next")
    start = landing.week_start(number + 1)
    gold = f"abfss://gold@{os.environ['AZURE_STORAGE_ACCOUNT_NAME']}.dfs.core.windows.net/demand"
    request = client.request(gold, gold_version)
    if request["origin"] != start.isoformat():
        raise StepFailed(f"gold version {gold_version} ends before {request['origin']}, not before {start.isoformat()}")
    traffic.about(request)
    answer = forecast.ask(stage.cloud, request)
    if answer.deployment != deployment:
        raise StepFailed(f"production was to answer as {deployment}, it answered as {answer.deployment}")
    measured = change.measured(number + 1, client.actual(start))
    mae = client.mean_absolute_error(answer.predictions, measured)
    naive = client.mean_absolute_error(client.seasonal_naive(request), measured)
    median = client.mean_absolute_error(client.median_of_weeks(request), measured)
    step.prove(week=start.date(), deployment=answer.deployment, model_version=answer.model_version)
    step.prove(scoring_uri=answer.scoring_uri, milliseconds=round(answer.milliseconds, 1))
    step.prove(mae=round(mae, 4), naive_mae=round(naive, 4), median_mae=round(median, 4), hours=client.WEEK_HOURS)
    step.prove(area=SHOWN, forecast=answer.predictions[SHOWN], actual=measured[SHOWN])
    versus = f"MAE {mae:.2f} l/s, seasonal naive {naive:.2f}"
    progress.note(step, f"version {answer.model_version} answers: {versus}")
