"""The `sluice` command.

Exit status: 0 when the answer is good, 1 when something is wrong (nothing runs, nothing found, the store does not
answer), 2 when the command line is wrong.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from console import local, questions
from console.local import Problem

Answer = Any
Shown = Callable[[Answer], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except Problem as problem:
        return _complain(str(problem), given.json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever reads our output has seen enough; Python's own farewell would complain about it.
        sys.stderr.close()
        return 0


def _complain(text: str, as_json: bool) -> int:
    if as_json:
        _print_json({"error": text})
    else:
        sys.stderr.write(f"sluice: {text}\n")
    return 1


def _print_json(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer, indent=1, default=str) + "\n")


def _show(given: argparse.Namespace, answer: Answer, view: str) -> None:
    """Print an answer as JSON, or as the view of this name shows it to a person."""
    if given.json:
        _print_json(answer)
        return
    try:
        from console import views
    except ImportError as missing:
        raise Problem(
            f"tables need the package {missing.name}: install it (`make setup` does), or use --json"
        ) from None
    getattr(views, view)(answer)


def _up(given: argparse.Namespace) -> int:
    return local.up(given.name or local.DEFAULT, host=not given.no_host, fresh=given.fresh, as_json=given.json)


def _down(given: argparse.Namespace) -> int:
    return local.down(given.name or local.DEFAULT, as_json=given.json)


def _status(given: argparse.Namespace) -> int:
    answer = questions.status(given.name)
    _show(given, answer, "status")
    return 0 if answer["ok"] else 1


def _events(given: argparse.Namespace) -> int:
    _show(given, questions.events(given.name, given.outcome, given.limit), "events")
    return 0


def _runs(given: argparse.Namespace) -> int:
    _show(given, questions.runs(given.name), "runs")
    return 0


def _lanes(given: argparse.Namespace) -> int:
    _show(given, questions.lanes(given.name), "lanes")
    return 0


def _explain(given: argparse.Namespace) -> int:
    _show(given, questions.explain(given.name, given.event), "explain")
    return 0


def _replay(given: argparse.Namespace) -> int:
    _show(given, questions.replay(given.name, given.event), "replay")
    return 0


def _evidence(given: argparse.Namespace) -> int:
    answer = questions.evidence(given.name, given.endpoint)
    _show(given, answer, "evidence")
    return 0 if answer["ok"] else 1


def _train(given: argparse.Namespace) -> int:
    _show(given, questions.train(given.name, given.table, given.by, given.note), "said")
    return 0


def _command(given: argparse.Namespace) -> int:
    what = "force_new" if getattr(given, "force_new", False) else given.what
    _show(given, questions.command(given.name, what, given.run_id, given.by, given.note), "said")
    return 0


def _who() -> str:
    try:
        return getpass.getuser()
    except OSError:
        return ""


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice",
        description="Looks into a Sluice control plane, puts events through again, and runs local clouds.",
        epilog="The control plane is the local cloud --name, else the store that the environment names "
        "(SluiceStorage), else the local cloud 'default'.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", help="of the local cloud")
    shared.add_argument("--json", action="store_true", help="print the answer as JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, parents=[shared])
        one.set_defaults(run=run)
        return one

    up = command("up", _up, "Start a local cloud and stay until Ctrl-C or `sluice down`.")
    up.add_argument("--no-host", action="store_true", help="leave the Functions host to somebody else (func start)")
    up.add_argument("--fresh", action="store_true", help="forget everything that this cloud knew")
    command("down", _down, "End a local cloud: every process that it started, and only those.")
    command("status", _status, "What runs, whether it is healthy, and how much there is.")
    events = command("events", _events, "The newest deliveries and how each ended.")
    events.add_argument("--outcome", choices=["routed", "ignored", "duplicate", "rejected"])
    events.add_argument("--limit", type=_positive, default=50, help="how many at most (default 50)")
    command("runs", _runs, "Every run, the newest first.")
    command("lanes", _lanes, "Every lane and what it is collecting.")
    explain = command("explain", _explain, "From an event to all that came of it, and back to what it came from.")
    evidence = command("evidence", _evidence, "What every release of an endpoint has shown, in an unbroken chain.")
    evidence.add_argument("endpoint", metavar="ENDPOINT", help="the online endpoint's name")
    replay = command("replay", _replay, "Put a journalled event through again; what it has started is joined.")
    for one in (explain, replay):
        one.add_argument("event", metavar="EVENT", help="the event's id, as `sluice events` shows it")
    cancel = command("cancel", _command, "Cancel a run, its remote work too.")
    abandon = command("abandon", _command, "End a run that was cancelled and whose backend will never answer.")
    retry = command("retry", _command, "Another attempt of a run that failed or was cancelled.")
    retry.add_argument("--force-new", action="store_true", help="a new run of its set instead, whatever came of it")
    approve = command("approve", _command, "Let a run start, or go on, that waits for a person.")
    reject = command("reject", _command, "End a run that waits for a person.")
    commanding = {"cancel": cancel, "abandon": abandon, "retry": retry, "approve": approve, "reject": reject}
    for what, one in commanding.items():
        one.set_defaults(what=what)
        one.add_argument("run_id", metavar="RUN", help="the run's name, as `sluice runs` shows it")
    train = command("train", _train, "Ask for a training, as drift does; the governor refuses the same data again.")
    train.add_argument("table", metavar="TABLE", help="the table of the lake that it trains on, such as demand")
    for one in (*commanding.values(), train):
        one.add_argument("--by", default=_who(), metavar="NAME", help="who decides (default: your name here)")
        one.add_argument("--note", default="", help="why, for those who read it later")
    return parser


if __name__ == "__main__":
    sys.exit(main())
