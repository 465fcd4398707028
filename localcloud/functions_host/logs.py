"""The host's log: one line a record on stdout, filtered by `logging.logLevel` of host.json."""

from __future__ import annotations

import datetime as dt
import logging
import sys
import traceback
from collections.abc import Mapping

from localcloud.functions_host import worker

HOST = logging.getLogger("host")
_QUIET = logging.getLogger("localcloud.functions_host.wire")
_QUIET.propagate = False


def quiet() -> logging.Logger:
    """The logger for the host's own storage requests: it writes nothing, so that the app's lines can be read."""
    return _QUIET


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        running = worker.current.get()
        place = f" [{running[0]} {running[1][:8]}]" if running and record.name != HOST.name else ""
        line = f"{moment.replace('+00:00', 'Z')} {record.levelname:<7}{place} {record.getMessage()}"
        if record.exc_info and record.exc_info[1]:
            line += "\n" + "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        return line


class _Levels(logging.Filter):
    """Drops what host.json's log levels do not want; the longest matching category decides."""

    def __init__(self, levels: Mapping[str, int]) -> None:
        super().__init__()
        self._levels = dict(levels)

    def filter(self, record: logging.LogRecord) -> bool:
        running = worker.current.get()
        if record.name == HOST.name:
            category = getattr(record, "category", "Host")
        else:
            category = f"Function.{running[0]}.User" if running else "Worker"
        matching = [name for name in self._levels if category == name or category.startswith(name + ".")]
        name = max(matching, key=len, default="default")
        return record.levelno >= self._levels.get(name, logging.INFO)


def set_up(levels: Mapping[str, int]) -> None:
    """Send the root logger to stdout; the worker's level is INFO, or lower when host.json asks for it."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines())
    handler.addFilter(_Levels(levels))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(min([logging.INFO, *levels.values()]))


def invocation(function: str, message: str, *, level: int = logging.INFO) -> None:
    """The line that says how an invocation of `function` went."""
    HOST.log(level, message, extra={"category": f"Function.{function}"})
