"""`python -m demo`: the whole loop on a local cloud of its own.  Exit status 0 only when every step happened."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console

from demo import act_one, act_three, act_two, plots, reckoning, summary
from demo.progress import Progress
from demo.report import Report, StepFailed
from demo.stage import Stage
from demo.traffic import Traffic


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; its exit status."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    stage, report, console = Stage(given.name), Report(), Console(highlight=False)
    progress = Progress(report, console)
    path = stage.home / "report.json"
    try:
        status = _play(stage, progress, whole=not given.quick)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if given.keep and report.ok:
            console.print(f"The local cloud {given.name} stays up; `sluice down --name {given.name}` ends it.")
        else:
            stage.end()
        report.write(path)
    summary.show(console, report, path, given.name, kept=given.keep)
    return status


def _play(stage: Stage, progress: Progress, *, whole: bool) -> int:
    report, traffic = progress.report, Traffic()
    try:
        with progress.shown():
            act_one.set_up(stage, progress)
            act_one.first_week(stage, progress, traffic)
            act_one.ordinary_week(stage, progress, traffic, 2)
            weeks = 2
            if whole:
                weeks = act_two.play(stage, progress, traffic)
                act_three.play(stage, progress, traffic)
            reckoning.reckon(stage, progress, weeks, traffic)
            if whole:
                plots.draw(stage, report, traffic)
        report.finished = True
    except StepFailed as failure:
        report.error = str(failure)
    except KeyboardInterrupt:
        report.error = "it was interrupted"
        return 130
    except Exception as error:
        # Whatever it was, the cloud must end and the report must say so.
        report.error = f"{type(error).__name__}: {error}"
        progress.console.print_exception()
    finally:
        traffic.end()
    return 0 if report.ok else 1


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="From landed data to a forecast, and around.")
    parser.add_argument("--name", default="demo", help="of the local cloud (default demo)")
    parser.add_argument("--quick", action="store_true", help="act one alone")
    parser.add_argument("--keep", action="store_true", help="leave the local cloud running at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
