"""Plots of what happened, as PNG into `.local/<name>/`, from the report, the lake and the services' own records."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from deltalake import DeltaTable, QueryBuilder
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demand_forecasting import landing
from demo import change, plot_releases
from demo.plot_style import BLUE, GREEN, GREY, LIGHT, RED, STYLE, figure, note
from demo.report import Report
from demo.stage import Stage
from demo.traffic import Traffic

Row = Mapping[str, Any]
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def draw(stage: Stage, report: Report, traffic: Traffic) -> list[str]:
    """Draw all that there is something to show of; the names of the files."""
    with mpl.rc_context(STYLE):
        drawn = {
            "forecast.png": _forecast(report),
            "errors.png": _errors(report, _served()),
            "drift.png": _drift(report),
            "canary.png": plot_releases.draw(stage, report, traffic),
        }
        for name, one in drawn.items():
            one.savefig(stage.home / name)
    return list(drawn)


def _forecast(report: Report) -> Figure:
    """Forecast against actual: the last week before the change, the first with it, and the newest."""
    by_week: dict[str, list[Row]] = {}
    for seen in _asked(report):
        by_week.setdefault(str(seen["week"]), []).append(seen)
    began = f"{landing.week_start(change.FIRST_WEEK):%Y-%m-%d}"
    before = [week for week in by_week if week < began]
    weeks = [*before[-1:], *(week for week in by_week if week == began), list(by_week)[-1]]
    area = next(iter(by_week.values()))[0]["area"]
    drawing, axes = figure(f"Forecast against actual, area {area} (MAE of all areas, l/s)", rows=len(weeks), height=2.0)
    said = ("before the change", "the day has come 6 h later", "both models")
    for axis, week, words in zip(axes, weeks, said, strict=False):
        asked = by_week[week]
        axis.plot(_numbers(asked[0]["actual"]), color="black", linewidth=1.1, label="measured", zorder=2)
        for seen, colour in zip(asked, (BLUE, GREEN), strict=False):
            label = f"version {seen['model_version']}, MAE {seen['mae']:.2f}"
            axis.plot(seen["forecast"], color=colour, linewidth=1.5, label=label, zorder=3)
        axis.set_title(f"week from {week}: {words}", loc="left")
        axis.set_xticks(range(0, 169, 24), labels=[])
        axis.set_xticks(range(12, 168, 24), labels=DAYS, minor=True)
        axis.tick_params(axis="x", which="minor", length=0)
        axis.set(ylabel="l/s", xlim=(0, 167), ylim=(0, None))
        axis.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=3)
    return drawing


def _errors(report: Report, served: Sequence[Row]) -> Figure:
    """The error per model version and week: of what was served, and of what was forecast for the week to come."""
    drawing, (axis,) = figure("Error of what was served, by model version", rows=1, height=3.6)
    asked = _asked(report)
    last = str(asked[-1]["week"])
    coming = [seen for seen in asked if str(seen["week"]) == last]
    naive = {str(seen["week"]): seen["naive_mae"] for seen in asked}
    weeks = sorted(naive)
    place = {week: index for index, week in enumerate(weeks)}
    axis.plot([place[week] for week in naive], list(naive.values()), ":", color=GREY, label="seasonal naive")
    for version, colour in zip(sorted({str(seen["model_version"]) for seen in asked}), (BLUE, GREEN), strict=False):
        own = [
            (place[row["week"]], row["mae"])
            for row in served
            if row["model_version"] == version and row["week"] in place
        ]
        ahead = [(place[last], seen["mae"]) for seen in coming if str(seen["model_version"]) == version]
        points = [*own, *ahead]
        axis.plot(*zip(*points, strict=True), color=colour, linewidth=2, label=f"version {version}", zorder=3)
        axis.plot(*zip(*points, strict=True), "o", color=colour, markersize=7, zorder=4)
        axis.plot(*zip(*ahead, strict=True), "o", color="white", markersize=4, zorder=5)
        for at, mae in points:
            note(axis, f"{mae:.2f}", (at, mae), above=colour == BLUE)
    began = place[f"{landing.week_start(change.FIRST_WEEK):%Y-%m-%d}"]
    axis.axvspan(began - 0.5, len(weeks) - 0.5, color=LIGHT, zorder=0)
    axis.text(
        began - 0.45, 0.06, f"the day comes {change.HOURS_LATER} h later in {len(change.AREAS)} areas", color=GREY
    )
    axis.set_xticks(range(len(weeks)), [*weeks[:-1], f"{weeks[-1]}\n(○ has not landed)"])
    top = 1.18 * max(*naive.values(), *(row["mae"] for row in served))
    axis.set(ylabel="mean absolute error, l/s", xlim=(-0.5, len(weeks) - 0.5), ylim=(0, top))
    axis.legend(loc="upper left", ncols=3)
    return drawing


def _drift(report: Report) -> Figure:
    """The distance of each area in units of its own threshold, and the served error of the worst, week by week."""
    found = [step.evidence for step in report.steps if "distances" in step.evidence]
    drawing, (above, below) = figure("Drift, week by week", rows=2, height=2.7)
    for at, seen in enumerate(found):
        _distances(above, at, seen)
        if seen.get("served"):
            _served_error(below, at, seen["served"])
    above.axhline(1, color="black", linestyle="--", linewidth=1)
    above.text(-0.45, 1.04, "threshold", va="bottom", fontsize=8)
    above.set_title("distance of each area from its history, over its own threshold", loc="left")
    above.set(ylabel="times the threshold", ylim=(0, 1.15 * max(max(seen["distances"].values()) for seen in found)))
    below.set_title("error of what was served in the area that stands out, over its mean demand", loc="left")
    below.set(ylabel="%", ylim=(0, 115 * max((seen.get("served") or {"error": 0.01})["error"] for seen in found)))
    below.plot([], [], "s", color=GREY, label="usual")
    below.plot([], [], "s", color=RED, label="this week")
    below.plot([], [], "--", color="black", linewidth=1, label="confirms above")
    below.legend(loc="upper left", ncols=3)
    for axis in (above, below):
        axis.set_xticks(range(len(found)), [f"week {seen['drift_week']}" for seen in found])
        axis.set_xlim(-0.5, len(found) - 0.5)
    return drawing


def _distances(axis: Axes, at: int, seen: Row) -> None:
    ratios = sorted(seen["distances"].values())
    spread = [at + 0.024 * (index - len(ratios) / 2) for index in range(len(ratios))]
    axis.scatter(spread, ratios, c=[RED if ratio > 1 else BLUE for ratio in ratios], s=24, zorder=3)
    note(axis, str(seen["level"]), (at + 0.1, ratios[-1]), weight="bold" if seen["level"] == "retrain" else "normal")


def _served_error(axis: Axes, at: int, served: Row) -> None:
    for shift, name, colour in ((-0.13, "usual", GREY), (0.13, "error", RED)):
        axis.bar(at + shift, 100 * served[name], 0.24, color=colour)
        note(axis, f"{served[name]:.1%}", (at + shift, 100 * served[name]))
    axis.hlines(120 * served["usual"], at - 0.3, at + 0.3, color="black", linestyles="--", linewidth=1)


def _asked(report: Report) -> list[Row]:
    return [step.evidence for step in report.steps if "forecast" in step.evidence]


def _served() -> list[Row]:
    """The mean over the areas of the error of what was served, by week and model version: `gold/demand_errors`."""
    account = os.environ["AZURE_STORAGE_ACCOUNT_NAME"]
    at = f"abfss://gold@{account}.dfs.core.windows.net/demand_errors"
    table = DeltaTable(at, storage_options=landing.storage_options())
    query = """select cast(origin as date) as week, model_version, avg(mae) as mae
        from errors group by 1, 2 order by 1, 2"""
    found = QueryBuilder().register("errors", table).execute(query).read_all()
    columns = [found.column(index).to_pylist() for index in range(3)]
    return [
        {"week": str(week), "model_version": str(version), "mae": mae}
        for week, version, mae in zip(*columns, strict=True)
    ]


def _numbers(hours: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in hours]
