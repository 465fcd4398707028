"""The end of the demonstration, for a person: what happened, how well, and where to look next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo import records
from demo.report import Report
from localcloud.cloud import ROOT


def show(console: Console, report: Report, path: Path, name: str, *, kept: bool) -> None:
    """Print the summary of a finished or failed demonstration."""
    if not report.ok:
        _show_failure(console, report, path)
        return
    parts = [_first_act(report)]
    if report.evidence("promoted"):
        parts += [_second_act(report), _third_act(report)]
    body = [part for table in parts for part in (table, Text())]
    what = "Three acts" if len(parts) > 1 else "From landed data to forecasts"
    title = f"[bold green]{what}, {report.seconds:.0f} s"
    group = Group(*body, _reckoning(report), Text(), _next(report, path, name, kept))
    console.print()
    console.print(Panel(group, title=title, title_align="left", border_style="bright_black", padding=(1, 2)))


def _table(title: str, rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, title=title, title_justify="left", title_style="bold")
    table.add_column("what", style="bright_black")
    table.add_column("value", overflow="fold")
    for what, value in rows:
        table.add_row(what, value)
    return table


def _first_act(report: Report) -> Table:
    found = {step.name: step.evidence for step in report.steps}

    def rows() -> Iterator[tuple[str, str]]:
        landed, curated = found["week 1: landed"], found["week 1: curated"]
        trained, release = found["week 1: trained"], found["week 1: released"]
        yield "landed", f"Delta version {landed['delta_version']} of bronze"
        yield "curated", f"Databricks run {curated['databricks_run']}, gold version {curated['gold_version']}"
        yield "trained", f"Azure ML job {trained['azureml_job']}: {trained['model']} version {trained['model_version']}"
        yield "QA", f"{_digest(release)}: MAE {release['qa']['mae']:.2f}, naive {release['qa']['naive_mae']:.2f}"
        yield "production", f"{release['deployment']}, all traffic"
        yield "week 2", _forecast(found["week 1: forecast"])
        yield "", f"not trained: {found['week 2: assessed']['not_trained'][0]}"
        yield "week 3", _forecast(found["week 2: forecast"])

    return _table("Act one: data become forecasts", rows())


def _second_act(report: Report) -> Table:
    found = {step.name: step.evidence for step in report.steps}

    def rows() -> Iterator[tuple[str, str]]:
        drift = found["drift confirmed"]
        times = drift["served"]["error"] / drift["served"]["usual"]
        areas = f"{len(drift['flagged'])} of {len(drift['distances'])} areas over their thresholds"
        yield "drift", f"{areas}, forecasts off by {times:.1f} times the usual"
        for name, seen in found.items():
            if name.endswith(": trained") and seen.get("champion"):
                yield name.partition(":")[0], f"{seen['verdict']}: {seen['reason']}"
        yield "canary", records.in_words(found["canary"]["traffic"])
        yield "promoted", f"{found['promoted']['deployment']}, {_digest(found['promoted'])}"
        falls = found["error falls"]
        change = f"MAE {falls['mae_before']:.2f} becomes {falls['mae']:.2f}"
        yield "the error", f"{change}: {falls['falls_by']:.1%} less in the week from {falls['week']}"
        yield "not shown", "a level of +20 %: a retrain hardly ever mends it (docs/decisions/25)"

    return _table("Act two: the day comes six hours later in six of ten areas", rows())


def _third_act(report: Report) -> Table:
    seen = report.evidence("rolled back")

    def rows() -> Iterator[tuple[str, str]]:
        requests = f"{seen['requests_seen']} of {seen['requests']} requests"
        yield "QA", f"MAE {seen['qa']['mae']:.2f}: passed"
        yield "rolled back", str(seen["reason"])
        yield "it saw", f"{requests} ({seen['share_of_requests']:.0%}), at {seen['canary_share']:.0%} of the traffic"
        yield "production", f"{next(iter(seen['traffic']))}, {seen['champion_digest'][:19]}…, as before"

    return _table("Act three: a bad model", rows())


def _digest(release: Mapping[str, Any]) -> str:
    return f"{release['digest']['production'][:19]}…"


def _forecast(seen: Mapping[str, Any]) -> str:
    versus = f"naive {seen['naive_mae']:.2f}, median of five weeks {seen['median_mae']:.2f}"
    return f"version {seen['model_version']}: MAE {seen['mae']:.2f}, {versus}"


def _reckoning(report: Report) -> Text:
    done, journal = report.effects, report.journal
    names = {"databricks_runs": "Databricks run", "azureml_jobs": "Azure ML job", "releases": "release"}
    effects = ", ".join(f"{done[key]} {name}{'s' * (done[key] != 1)}" for key, name in names.items())
    step = report.evidence("reckoning")
    steady = f"{step['failed']} of {step['requests']} requests of the steady client failed"
    bad = step["failed_of_the_bad_deployment"]
    beside = f" (and {bad} that the bad deployment saw).\n" if bad else ".\n"
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in journal.items() if outcome != "deliveries")
    return Text.assemble(
        ("Exactly ", "bold"), (effects, "bold"), ", by the services' own records.\n",
        "Registry, QA and production each had the same digest.  Errors are in l/s; naive repeats last week.\n",
        (steady, "bold"), beside,
        (f"{journal['deliveries']} deliveries in the journal: {outcomes}.", "bright_black"),
    )  # fmt: skip


def _next(report: Report, path: Path, name: str, kept: bool) -> Table:
    event = str(report.evidence("week 1: landed")["event"])
    table = Table(box=None, pad_edge=False, title="Where to look next", title_justify="left", title_style="bold")
    table.add_column("command", overflow="fold")
    table.add_column("what", style="bright_black")
    table.show_header = False
    if not kept:
        table.add_row(f"sluice up --name {name}", "brings this cloud back")
    table.add_row(f"sluice explain {event} --name {name}", "the chain")
    table.add_row(f"sluice events --outcome duplicate --name {name}", "what came twice")
    table.add_row(str(path.relative_to(ROOT)), "the report")
    if report.evidence("promoted"):
        table.add_row(f"{path.parent.relative_to(ROOT)}/*.png", "forecasts, errors, drift, canaries")
    return table


def _show_failure(console: Console, report: Report, path: Path) -> None:
    failed: dict[str, Any] = {step.title.strip(): step.error for step in report.steps if step.error}
    lines = [Text.assemble((f"{title}: ", "bold"), str(error)) for title, error in failed.items()]
    if not lines:
        lines = [Text(report.error or "it ended before it was finished")]
    console.print()
    title = f"[bold red]The demonstration did not finish ({report.seconds:.0f} s)"
    body = Group(*lines, Text(f"\n{path}", "bright_black"))
    console.print(Panel(body, title=title, title_align="left", border_style="red", padding=(1, 2)))
