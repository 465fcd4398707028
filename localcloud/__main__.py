"""`python -m localcloud up|down|restart --name NAME`: a local cloud in the foreground, and its end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from localcloud import ports, processes, supervisor
from localcloud.azurite import STOP_WITHIN, AzuriteMissing
from localcloud.cloud import ROOT, SERVICES, Cloud, UnknownCloud
from localcloud.event_grid import DEFAULT_TIME_SCALE
from localcloud.subscriptions import SubscriptionsFailed, create, wait_for_app
from localcloud.supervisor import CannotStart, Options, Supervisor

PROBLEMS = (CannotStart, ports.BusyPort, AzuriteMissing, UnknownCloud, SubscriptionsFailed)
"""What is said in one line instead of a traceback."""


async def up(options: Options, *, subscribe: bool = False) -> int:
    """Start the cloud and keep it until it is told to end; the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    cloud = supervisor.prepare(options)
    watched = Supervisor(cloud, options, say)
    try:
        await watched.start()
        if subscribe:
            await asyncio.to_thread(create, cloud)
        say(description(cloud, host=options.host))
        if options.host:
            await asyncio.to_thread(_say_whether_the_app_runs, cloud)
        waiting = [asyncio.create_task(event.wait()) for event in (stop, watched.failed)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
    finally:
        await watched.close()
    say(f"the local cloud {cloud.name!r} has ended")
    return 1 if watched.failed.is_set() else 0


def down(name: str, root: Path = ROOT) -> int:
    """End the cloud `name`: its supervisor first, then whatever that left; only processes that the cloud started."""
    cloud = Cloud.load(name, root)
    known = supervisor.saved_processes(cloud.home)
    ended = []
    if (pid := supervisor.running(cloud.home)) is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.terminate()
            processes.wait_until_ended([process], 2 * STOP_WITHIN)
        ended += [one.name for one in known if one.process() is None]
        ended += processes.end(cloud.home, [one for one in known if one.pid == pid])
    ended += supervisor.clear_left_over(cloud.home)
    cloud.save()
    say(f"the local cloud {name!r}: " + (f"ended {', '.join(dict.fromkeys(ended))}" if ended else "was not running"))
    return 0


def restart(name: str, part: str, root: Path = ROOT) -> int:
    """Ask one process of a running cloud to end, and wait until its supervisor has started it again."""
    home = Cloud.load(name, root).home
    found = [known for known in supervisor.saved_processes(home) if known.name == part and known.process()]
    if not found:
        raise CannotStart(f"the local cloud {name!r} runs no process {part!r}; `sluice up --name {name}` starts it")
    processes.end(home, found, grace=STOP_WITHIN)
    deadline = time.monotonic() + supervisor.READY_WITHIN
    while time.monotonic() < deadline:
        again = [known for known in supervisor.saved_processes(home) if known.name == part and known.process()]
        if again and again != found:
            say(f"{part} of the local cloud {name!r} was started again (process {again[0].pid})")
            return 0
        time.sleep(0.1)
    raise CannotStart(f"{part!r} did not come back; see {home / 'logs' / f'{part}.log'}")


def description(cloud: Cloud, *, host: bool) -> str:
    """Where everything of `cloud` is."""
    lines = [f"The local cloud {cloud.name!r} is up.", ""]
    lines += [f"  {name:14} {cloud.url(name)}" for name in SERVICES if host or name != "functions"]
    lines += [
        "",
        f"  settings       {cloud.home / 'local.settings.json'}",
        f"  records        {cloud.home / 'records'}",
        f"  logs           {cloud.home / 'logs'}",
        f"  certificates   {cloud.ca_bundle}",
        "",
        f"Ctrl-C or `sluice down --name {cloud.name}` ends it.",
    ]
    return "\n".join(lines)


def _say_whether_the_app_runs(cloud: Cloud) -> None:
    """A host stays up with an app that does not load, so that it can be looked at."""
    try:
        wait_for_app(cloud)
    except SubscriptionsFailed as problem:
        say(str(problem))


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", given.name):
        say(f"{given.name!r} cannot be a name: use letters, digits, '.', '_' and '-'")
        return 2
    try:
        if given.command == "down":
            return down(given.name, given.root)
        if given.command == "restart":
            return restart(given.name, given.process, given.root)
        options = Options(
            name=given.name,
            root=given.root,
            host=not given.no_host,
            fresh=given.fresh,
            time_scale=given.time_scale,
            ports=dict(given.port),
        )
        return asyncio.run(up(options, subscribe=given.subscribe))
    except PROBLEMS as problem:
        sys.stderr.write(f"{problem}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localcloud")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (("up", "start and stay"), ("down", "end"), ("restart", "end one process; it comes back")):
        one = commands.add_parser(name, help=help_text)
        one.add_argument("--name", default="default")
        one.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    starting = commands.choices["up"]
    starting.add_argument("--no-host", action="store_true", help="leave the Functions host to somebody else")
    starting.add_argument("--fresh", action="store_true", help="forget everything that this cloud knew")
    starting.add_argument("--subscribe", action="store_true", help="create the Event Grid subscriptions")
    starting.add_argument("--time-scale", type=float, default=DEFAULT_TIME_SCALE, help="of Event Grid's retries")
    starting.add_argument("--port", type=_port, action="append", default=[], metavar="SERVICE=NUMBER")
    commands.choices["restart"].add_argument("process", choices=["azurite", "services", "functions"])
    return parser


def _port(text: str) -> tuple[str, int]:
    service, _, number = text.partition("=")
    if service not in SERVICES or not number.isdigit() or not 0 < int(number) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not SERVICE=NUMBER with one of {', '.join(SERVICES)}")
    return service, int(number)


if __name__ == "__main__":
    sys.exit(main())
