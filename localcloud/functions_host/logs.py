"""The host's log: one line a record on stdout, filtered by `logging.logLevel` of host.json."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import sys
import time
import traceback
from collections.abc import Mapping

from localcloud.functions_host import worker

HOST = logging.getLogger("host")
_QUIET = logging.getLogger("localcloud.functions_host.wire")
_QUIET.propagate = False


def quiet() -> logging.Logger:
    """The logger for the host's own storage requests: it writes nothing, so that the app's lines can be read."""
    return _QUIET


def _line(at: float, level: str, place: str, text: str) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds")
    return f"{moment.replace('+00:00', 'Z')} {level:<7}{place} {text}"


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        running = worker.current.get()
        place = f" [{running[0]} {running[1][:8]}]" if running and record.name != HOST.name else ""
        line = _line(record.created, record.levelname, place, record.getMessage())
        if record.exc_info and record.exc_info[1]:
            line += "\n" + "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        return line


class _Levels(logging.Filter):
    """Drops what host.json's log levels do not want; the longest matching category decides."""

    def __init__(self, levels: Mapping[str, int]) -> None:
        super().__init__()
        self._levels = dict(levels)
        self.least = functools.cache(self._least)

    def filter(self, record: logging.LogRecord) -> bool:
        running = worker.current.get()
        of_the_app = f"Function.{running[0]}.User" if running else "Worker"
        return record.levelno >= self.least("Host" if record.name == HOST.name else of_the_app)

    def _least(self, category: str) -> int:
        """The least level that is written for a category."""
        matching = [name for name in self._levels if category == name or category.startswith(name + ".")]
        return self._levels.get(max(matching, key=len, default="default"), logging.INFO)


_levels = _Levels({})
_flushing = False


def set_up(levels: Mapping[str, int]) -> None:
    """Send the root logger to stdout; the worker's level is INFO, or lower when host.json asks for it."""
    global _levels
    _levels = _Levels(levels)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines())
    handler.addFilter(_levels)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(min([logging.INFO, *levels.values()]))


def invocation(function: str, message: str, *, level: int = logging.INFO) -> None:
    """The line that says how an invocation of `function` went.

    It is written past `logging`, which would cost more than the rest of an invocation, and flushed with all others of
    this turn of the host's loop.
    """
    global _flushing
    if level >= _levels.least(f"Function.{function}"):
        sys.stdout.write(_line(time.time(), logging.getLevelName(level), "", message) + "\n")
        if not _flushing:
            _flushing = True
            asyncio.get_running_loop().call_soon(_flush)


def _flush() -> None:
    global _flushing
    _flushing = False
    sys.stdout.flush()
