"""`python -m localcloud.functions_host --app DIR --settings FILE --port P --state DIR`."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import signal
import sys
from pathlib import Path

from localcloud.functions_host import logs, settings
from localcloud.functions_host.host import Host, serve

FAILED = 1
TIMED_OUT = 3


def main() -> None:
    """Run the host until it is told to end."""
    arguments = _arguments()
    logs.set_up({})
    try:
        skipped = settings.lay_under(os.environ, arguments.settings) if arguments.settings else []
    except settings.SettingsError as error:
        sys.exit(f"functions host: {error}")
    for name in skipped:
        logs.HOST.info(f"{name} of {arguments.settings.name} is skipped: the environment holds another value")
    arguments.state.mkdir(parents=True, exist_ok=True)
    status, clean = asyncio.run(_run(arguments))
    logging.shutdown()
    sys.stdout.flush()
    if not clean:
        # A function that does not end would keep the interpreter waiting for its thread for ever.
        os._exit(status or FAILED)
    sys.exit(status)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m localcloud.functions_host", description=__doc__)
    parser.add_argument("--app", type=_path, required=True, help="the folder that holds function_app.py")
    parser.add_argument("--settings", type=_path, help="local.settings.json; the process environment wins")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=_path, required=True, help="a folder for keys and recorded outputs")
    return parser.parse_args()


def _path(text: str) -> Path:
    return Path(text).resolve()


async def _run(arguments: argparse.Namespace) -> tuple[int, bool]:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    host = Host(arguments.app, arguments.state, os.environ)
    try:
        runner = await serve(host, arguments.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        logs.HOST.error(f"port {arguments.port} is busy: end the program that uses it, or choose another --port")
        return FAILED, False
    os.chdir(arguments.app)
    logs.HOST.info(f"listening on http://127.0.0.1:{arguments.port}, app {arguments.app}")
    await host.start()
    waits = [asyncio.create_task(event.wait()) for event in (ending, host.timed_out)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    logs.HOST.info("ending: no new work is taken, what runs may finish")
    timed_out = host.timed_out.is_set()
    clean, _ = await asyncio.gather(host.stop(), runner.cleanup())
    logs.HOST.info("ended")
    return (TIMED_OUT if timed_out else 0), clean and not timed_out


if __name__ == "__main__":
    main()
