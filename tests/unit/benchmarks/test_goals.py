"""The goals: judged by what was measured, and by nothing else."""

from __future__ import annotations

import pytest

from benchmarks.goals import GOALS, Goal, table
from benchmarks.report import Part, page, spread

RATIO = Goal("twice as fast", 2, None, "ours", "theirs", " ×")  # noqa: RUF001
BOUND = Goal("soon", None, 150, "wait", "", " ms")


@pytest.mark.parametrize(
    ("goal", "facts", "said"),
    [
        (RATIO, {"ours": 40.0, "theirs": 20.0}, "| met |"),
        (RATIO, {"ours": 39.0, "theirs": 20.0}, "| **missed** |"),
        (RATIO, {"ours": 40.0}, "| not measured |"),
        (RATIO, {}, "| not measured |"),
        (BOUND, {"wait": 150.0}, "| met |"),
        (BOUND, {"wait": 151.0}, "| **missed** |"),
    ],
)
def test_a_goal_is_met_missed_or_not_measured(goal: Goal, facts: dict[str, float], said: str) -> None:
    assert goal.row(facts).endswith(said)


def test_without_facts_no_goal_is_met() -> None:
    rows = table({})
    assert len(rows) == len(GOALS) + 2
    assert all(row.endswith("| not measured |") for row in rows[2:])


def test_a_cell_is_the_median_with_the_least_and_the_most() -> None:
    assert spread([3, 1000, 2]) == "3 [2–1,000]"  # noqa: RUF001
    assert spread([2.25], 1) == "2.2"


def test_the_page_has_the_goals_before_the_tables() -> None:
    part = Part("Storm")
    part.table("", "runs")
    part.row("hub", 20)
    text = page("a machine", table({}), [part], {"Restate": "not measured: npm is not here"})
    assert text.index("## Goals") < text.index("## Storm")
    assert "* Restate: not measured: npm is not here" in text
    assert "| hub | 20 |" in text
