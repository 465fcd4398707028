"""The plot of the two canaries: who had which share, what the steady client got, and what the gate measured."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from demo import records
from demo.plot_style import BLUE, GREEN, GREY, ORANGE, RED, figure
from demo.report import Report
from demo.stage import Stage
from demo.traffic import Asked, Traffic

Row = Mapping[str, Any]
AROUND = 10.0
"""Seconds that are shown before the first traffic map of a release and after its last."""
_BIN = 2.0


def draw(stage: Stage, report: Report, traffic: Traffic) -> Figure:
    """A column for each release that was canaried: shares, requests, measurements."""
    drawing, axes = figure("Canaries: traffic, requests, and what the gate measured", rows=3, height=2.1, columns=2)
    maps = records.traffic(stage.cloud, "")
    champion = str(report.evidence("week 1: released")["deployment"])
    better, bad = (str(report.evidence(name)["deployment"]) for name in ("promoted", "rolled back"))
    _column(axes[0::2], "version 2 is promoted", maps, traffic.asked, {champion: BLUE, better: GREEN})
    _column(axes[1::2], "the bad model is rolled back", maps, traffic.asked, {better: GREEN, bad: ORANGE})
    for axis, name in zip(axes[4:], ("promoted", "rolled back"), strict=True):
        _gate(axis, report.evidence(name).get("gates") or ())
    return drawing


def _column(axes: Sequence[Axes], title: str, maps: list[Row], asked: list[Asked], colours: dict[str, str]) -> None:
    own = [row for row in maps if set(colours) <= set(row["traffic"])]
    begin = _time(own[0]["at"])

    def seconds(at: str) -> float:
        return (_time(at) - begin).total_seconds()

    after = maps[maps.index(own[-1]) :][:2]  # the map that ended it
    end = seconds(after[-1]["at"]) + AROUND
    _shares(axes[0], maps, seconds, end, colours)
    axes[0].set_title(title, loc="left")
    _requests(axes[1], [one for one in asked if -AROUND <= seconds(one.at) <= end], seconds, colours)
    for axis in axes[:2]:
        axis.set_xlim(-AROUND, end)


def _shares(
    axis: Axes, maps: list[Row], seconds: Callable[[str], float], end: float, colours: Mapping[str, str]
) -> None:
    at = [*(seconds(row["at"]) for row in maps), end]
    shares = [[int(row["traffic"].get(name, 0)) for row in [*maps, maps[-1]]] for name in colours]
    axis.stackplot(at, *shares, step="post", labels=list(colours), colors=list(colours.values()), alpha=0.85)
    axis.set(ylabel="% of the traffic", ylim=(0, 100))
    axis.legend(loc="lower right", frameon=True, framealpha=0.9)
    axis.tick_params(labelbottom=False)


def _requests(axis: Axes, asked: list[Asked], seconds: Callable[[str], float], colours: Mapping[str, str]) -> None:
    kinds = {name: Counter(_bin(seconds(one.at)) for one in asked if one.deployment == name and one.status == 200)
             for name in colours}  # fmt: skip
    failed = Counter(_bin(seconds(one.at)) for one in asked if one.status != 200)
    floor: Counter[float] = Counter()
    for (name, counts), colour in zip([*kinds.items(), ("failed", failed)], [*colours.values(), RED], strict=True):
        bins = sorted(counts)
        heights = [counts[place] / _BIN for place in bins]
        axis.bar(
            bins, heights, _BIN * 0.9, [floor[place] / _BIN for place in bins], color=colour, align="edge",
            label=name if name == "failed" else None, hatch="////" if name == "failed" else None, edgecolor="white",
        )  # fmt: skip
        floor += counts
    axis.set(ylabel="requests a second", xlabel="seconds since the canary began", ylim=(0, 5.5))
    if failed:
        axis.legend(loc="upper right")


def _gate(axis: Axes, gates: Sequence[Row]) -> None:
    """Each check that decides, as a share of the limit at which it fails; the last reading of each stage."""
    rows = [(gate, check) for gate in gates for check in gate["checks"] if check["value"] is not None][::-1]
    for place, (_, check) in enumerate(rows):
        limit, value = check["fail_above"], check["value"]
        over = value / limit if limit else (1.25 if value else 0.0)
        bad = check["outcome"] == "failure"
        axis.barh(place, min(over, 1.5), 0.6, color=GREY if check["dry_run"] else RED if bad else GREEN)
        words = f"{value:.3g}, fails above {limit:g}" + (" (dry run)" if check["dry_run"] else "")
        axis.annotate(
            words, (min(over, 1.5), place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip
    axis.axvline(1, color="black", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(rows)), [f"{gate['step']}: {check['metric']}" for gate, check in rows], fontsize=8)
    axis.set(xlim=(0, 2.6), xlabel="measured, over the limit of failure")
    axis.grid(visible=False, axis="y")


def _bin(seconds: float) -> float:
    return seconds // _BIN * _BIN


def _time(at: str) -> dt.datetime:
    return dt.datetime.fromisoformat(at)
