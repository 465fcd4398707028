"""The end of the demonstration, for a person: what happened, how well, and where to look next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.report import Report
from localcloud.cloud import ROOT


def show(console: Console, report: Report, weeks: int, path: Path, name: str, *, kept: bool) -> None:
    """Print the summary of a finished or failed demonstration."""
    if not report.ok:
        _show_failure(console, report, path)
        return
    parts: list[RenderableType] = [
        _weeks(report, weeks),
        Text(),
        _reckoning(report),
        Text(),
        _next(report, path, name, kept),
    ]
    title = (
        f"[bold green]{'Two weeks' if weeks == 2 else 'One week'} from landed data to forecast, {report.seconds:.0f} s"
    )
    console.print()
    console.print(Panel(Group(*parts), title=title, title_align="left", border_style="bright_black", padding=(1, 2)))


def _weeks(report: Report, weeks: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black", padding=(0, 3, 0, 0))
    table.add_column("")
    for number in range(1, weeks + 1):
        table.add_column(f"week {number}", overflow="fold")
    columns = [list(_week(report, number)) for number in range(1, weeks + 1)]
    for row in zip(*columns, strict=True):
        table.add_row(Text(row[0][0], "bright_black"), *(value for _, value in row))
    return table


def _week(report: Report, number: int) -> Iterator[tuple[str, str]]:
    steps = ("landed", "curated", "trained", "released", "forecast")
    found = {step: report.evidence(f"week {number}: {step}") for step in steps}
    took = {step.name: step.elapsed for step in report.steps}
    seconds = sum(took[f"week {number}: {step}"] for step in steps)
    release, forecast = found["released"], found["forecast"]
    better = 1 - forecast["mae"] / forecast["naive_mae"]
    yield "landed", f"Delta version {found['landed']['delta_version']} of bronze"
    yield "curated", f"Databricks run {found['curated']['databricks_run']}"
    yield "gold", f"version {found['curated']['gold_version']}"
    yield "trained", f"Azure ML job {found['trained']['azureml_job'][:12]}…"
    yield "model", f"{found['trained']['model']} version {found['trained']['model_version']}"
    if "digest" in release:
        yield "image", f"{release['digest']['production'][:19]}…"
        yield "QA", f"MAE {release['qa']['mae']:.2f}, naive {release['qa']['naive_mae']:.2f}"
        yield "production", f"{release['deployment']}, all traffic"
    else:
        trained = found["trained"]
        yield "image", "none: the champion is retained"
        yield "QA", f"challenger MAE {trained['mae']:.2f}, champion {trained['champion']['mae']:.2f}"
        yield "production", f"{release['deployment']} stays"
    yield "next week", f"MAE {forecast['mae']:.2f}, naive {forecast['naive_mae']:.2f} ({-better:.0%})"
    yield "", f"median of five weeks {forecast['median_mae']:.2f}"
    yield "took", f"{seconds:.0f} s"


def _reckoning(report: Report) -> Text:
    done, journal = report.effects, report.journal
    names = {"databricks_runs": "Databricks run", "azureml_jobs": "Azure ML job", "releases": "release"}
    effects = ", ".join(f"{done[key]} {name}{'s' * (done[key] != 1)}" for key, name in names.items())
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in journal.items() if outcome != "deliveries")
    return Text.assemble(
        ("Exactly ", "bold"), (effects, "bold"), ", by the services' own records.\n",
        "Registry, QA and production each had the same digest.  Errors are in l/s; naive repeats last week.\n",
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
