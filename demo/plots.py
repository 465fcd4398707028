"""Plots of what happened, as PNG into `.local/<name>/`, from the report, the lake and the services' own records."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from deltalake import DeltaTable, QueryBuilder
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demand_forecasting.landing import storage_options
from demo import records
from demo.report import Report
from demo.stage import Stage

Row = Mapping[str, Any]
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#888888"


def draw(stage: Stage, report: Report) -> list[str]:
    """Draw all that there is something to show of; the names of the files."""
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110, "font.size": 9})
    drawn = {
        "forecast.png": _forecast(report),
        "errors.png": _errors([*_served(), *_coming(report)]),
        "drift.png": _drift(report),
        "canary.png": _canary(stage, report),
    }
    for name, figure in drawn.items():
        figure.savefig(stage.home / name)
    return list(drawn)


def _figure(rows: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, 1.5 + 2.3 * rows), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure, list(figure.subplots(rows, 1, squeeze=False)[:, 0])


def _forecast(report: Report) -> Figure:
    """Forecast against actual, for each week that production was asked for."""
    steps = [step.evidence for step in report.steps if "forecast" in step.evidence]
    by_week: dict[str, list[Row]] = {}
    for seen in steps:
        by_week.setdefault(str(seen["week"]), []).append(seen)
    figure, axes = _figure(len(by_week), f"Forecast against actual, area {steps[0]['area']}")
    for axis, (week, asked) in zip(axes, by_week.items(), strict=True):
        axis.plot(_numbers(asked[0]["actual"]), color="black", linewidth=1, label="actual")
        for seen, colour in zip(asked, (BLUE, GREEN), strict=False):
            label = f"version {seen['model_version']}, MAE of all areas {seen['mae']:.2f}"
            axis.plot(seen["forecast"], color=colour, linewidth=1.2, label=label)
        axis.set_title(f"week from {week}", loc="left")
        axis.set_xticks(range(0, 169, 24))
        axis.set_ylabel("l/s")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, frameon=False)
    axes[-1].set_xlabel("hour of the week")
    return figure


def _errors(rows: Sequence[Row]) -> Figure:
    """The error per model version and week: of what was served, and of what was forecast for the week to come."""
    figure, (axis,) = _figure(1, "Error of what was served, per model version; the last week as it will be measured")
    colours = dict(zip(sorted({row["model_version"] for row in rows}), (BLUE, GREEN, ORANGE, RED), strict=False))
    for version, colour in colours.items():
        own = [row for row in rows if row["model_version"] == version]
        axis.plot(
            [row["week"] for row in own], [row["mae"] for row in own], "o-", color=colour, label=f"version {version}"
        )
    axis.set_ylabel("mean absolute error, l/s")
    axis.set_xlabel("week from")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    return figure


def _drift(report: Report) -> Figure:
    """The largest distance of an area in units of its own threshold, and the served error, week by week."""
    found = [step.evidence for step in report.steps if "distances" in step.evidence]
    figure, (above, below) = _figure(2, "Drift: distance of each area over its own threshold, and the served error")
    weeks = [str(seen["drift_week"]) for seen in found]
    for place, seen in enumerate(found):
        ratios = list(seen["distances"].values())
        colours = [RED if ratio > 1 else BLUE for ratio in ratios]
        above.scatter([place] * len(ratios), ratios, c=colours, s=18, zorder=3)
        above.annotate(str(seen["level"]), (place, max(ratios)), xytext=(6, 4), textcoords="offset points")
    above.axhline(1, color=GREY, linestyle="--")
    above.set_ylabel("distance / threshold")
    for place, seen in enumerate(found):
        served = seen.get("served") or {}
        if served:
            below.bar(
                place - 0.17, served["usual"], 0.3, color=GREY, label="usual" if place + 1 == len(found) else None
            )
            below.bar(
                place + 0.17, served["error"], 0.3, color=RED, label="served" if place + 1 == len(found) else None
            )
            below.hlines(1.2 * served["usual"], place - 0.4, place + 0.4, color="black", linestyles="--")
    below.set_ylabel("error / mean demand")
    for axis in (above, below):
        axis.set_xticks(range(len(weeks)), weeks)
        axis.set_xlim(-0.6, len(weeks) - 0.3)
    if below.get_legend_handles_labels()[0]:
        below.legend(frameon=False)
    return figure


def _canary(stage: Stage, report: Report) -> Figure:
    """The shares of production over time, and what the gates measured of each challenger."""
    figure, (above, below) = _figure(2, "Canary: traffic by deployment, and the gate's measurements")
    maps = records.traffic(stage.cloud, "")
    begin = dt.datetime.fromisoformat(maps[0]["at"])
    seconds = [(dt.datetime.fromisoformat(row["at"]) - begin).total_seconds() for row in maps]
    names = sorted({name for row in maps for name, share in row["traffic"].items() if share})
    for name, colour in zip(names, (BLUE, GREEN, RED, ORANGE), strict=False):
        shares = [int(row["traffic"].get(name, 0)) for row in maps]
        above.step([*seconds, seconds[-1] + 20], [*shares, shares[-1]], where="post", color=colour, label=name)
    above.set_ylabel("% of the requests")
    above.set_xlabel("seconds since the first release")
    above.legend(frameon=False)
    rows = list(_measurements(report))
    for place, (_, check) in enumerate(rows):
        limit = check["fail_above"]
        over = check["value"] / limit if limit else (2.0 if check["value"] else 0.0)
        below.barh(place, min(over, 3.0), color=RED if check["outcome"] == "failure" else GREEN)
        below.annotate(f" {check['value']:.3g}, fails above {limit:g}", (min(over, 3.0), place), va="center")
    below.axvline(1, color="black", linestyle="--")
    below.set_yticks(range(len(rows)), [label for label, _ in rows])
    below.set_xlim(0, 4)
    below.set_xlabel("measured / limit of failure")
    return figure


def _measurements(report: Report) -> list[tuple[str, Row]]:
    found = []
    for name in ("promoted", "rolled back"):
        for gate in report.evidence(name).get("gates") or ():
            checks = [check for check in gate["checks"] if check["value"] is not None and not check["dry_run"]]
            found += [(f"{name}: {gate['step']}, {check['metric']}", check) for check in checks]
    return found


def _served() -> list[Row]:
    account = os.environ["AZURE_STORAGE_ACCOUNT_NAME"]
    table = DeltaTable(f"abfss://gold@{account}.dfs.core.windows.net/demand_errors", storage_options=storage_options())
    query = """select cast(origin as date) as week, model_version, sum(absolute_error) / sum(hours) as mae
        from errors group by 1, 2 order by 1, 2"""
    found = QueryBuilder().register("errors", table).execute(query).read_all()
    weeks, versions, errors = (found.column(index).to_pylist() for index in range(3))
    return [
        {"week": str(week), "model_version": version, "mae": mae}
        for week, version, mae in zip(weeks, versions, errors, strict=True)
    ]


def _coming(report: Report) -> list[Row]:
    """The error of each version that was asked for the last week, which has not landed."""
    asked = [step.evidence for step in report.steps if "forecast" in step.evidence]
    last = str(asked[-1]["week"])
    found = [seen for seen in asked if str(seen["week"]) == last]
    return [{"week": last, "model_version": str(seen["model_version"]), "mae": seen["mae"]} for seen in found]


def _numbers(hours: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in hours]
