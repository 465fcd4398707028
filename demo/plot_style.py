"""How the plots look."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The palette of Okabe and Ito, which people who do not tell red from green can read too.
BLUE, ORANGE, GREEN, RED, GREY, LIGHT = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#777777", "#f3f0e6"

STYLE: dict[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.color": "#e8e8e8",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "savefig.dpi": 130,
}


def figure(title: str, *, rows: int, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many rows of so many inches, with its axes row by row."""
    drawing = Figure(figsize=(9.5, 0.7 + height * rows), layout="constrained")
    drawing.suptitle(title, x=0.008, ha="left", fontsize=13, fontweight="bold")
    return drawing, list(drawing.subplots(rows, columns, squeeze=False).ravel())


def note(axis: Axes, text: str, at: tuple[float, float], *, above: bool = True, weight: str = "normal") -> None:
    """A few words above or below a point."""
    axis.annotate(
        text,
        at,
        xytext=(0, 7 if above else -7),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=8.5,
        fontweight=weight,
        zorder=6,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6},
    )
