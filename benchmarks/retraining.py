"""`python -m benchmarks.retraining`: what retraining does about a change that stays, by the product's own gate."""

from __future__ import annotations

import datetime as dt
import platform
import sys
import time

from benchmarks import past_weeks

CHANGES = {
    dt.date(2022, 11, 7): ("level +20 %", "the day 3 h later", "the day 6 h later", "the day 12 h later"),
    dt.date(2022, 10, 17): ("level +20 %", "the day 6 h later", "the day 6 h later, six areas"),
}
"""Since when, and what; the last is the demonstration's."""
WEEKS = 3


def main() -> None:
    """Print the table, and keep it in `.local/backtest/retraining.md`."""
    began = time.monotonic()
    rows = [
        row
        for since, changes in CHANGES.items()
        for row in past_weeks.changed(changes, since=since, weeks=WEEKS, origin_every_days=8, iterations=100)
    ]
    lines = [
        "| change | from | week | challenger | champion | relative, 95 % bounds | seasonal naive | verdict "
        "| the week after: challenger | champion |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bounds = f"{row['relative']:+.0%}, {row['low']:+.0%} to {row['high']:+.0%}"
        verdict = "**released**" if row["released"] else "retained"
        served = " | ".join(f"{error:.2f}" for error in row["served"])
        errors = f"{row['challenger']:.2f} | {row['champion']:.2f}"
        beside = f"{errors} | {bounds} | {row['naive']:.2f}"
        lines.append(f"| {row['change']} | {row['since']} | {row['week']} | {beside} | {verdict} | {served} |")
    made = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, Python {platform.python_version()}, {time.monotonic() - began:.0f} s"
    text = "\n".join([made, "", *lines]) + "\n"
    (past_weeks.FOLDER / "retraining.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
