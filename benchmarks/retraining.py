"""`python -m benchmarks.retraining`: what retraining does about a change that stays, by the product's own gate."""

from __future__ import annotations

import datetime as dt
import platform
import sys
import time

from benchmarks import past_weeks

SINCE, WEEKS = dt.date(2022, 11, 7), 5


def main() -> None:
    """Print the table, and keep it in `.local/backtest/retraining.md`."""
    began = time.monotonic()
    rows = past_weeks.changed(since=SINCE, weeks=WEEKS, origin_every_days=8, iterations=100)
    lines = [
        "| change in all areas | week since | challenger | champion | relative, 95 % bounds | verdict "
        "| the week after: challenger | champion |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bounds = f"{row['relative']:+.0%}, {row['low']:+.0%} to {row['high']:+.0%}"
        verdict = "**released**" if row["better"] else "retained"
        served = " | ".join(f"{error:.2f}" for error in row["served"])
        errors = f"{row['challenger']:.2f} | {row['champion']:.2f}"
        lines.append(f"| {row['change']} | {row['week']} | {errors} | {bounds} | {verdict} | {served} |")
    made = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, Python {platform.python_version()}, {time.monotonic() - began:.0f} s"
    text = "\n".join([made, "", *lines]) + "\n"
    (past_weeks.FOLDER / "retraining.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
