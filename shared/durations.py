"""Durations as people write them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1000 * _UNITS["d"]


def duration(text: Any) -> dt.timedelta:
    """`500ms`, `2s`, `5m`, `1h` or `1d`, at most 1000 days.  Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(text).strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration: a number and ms, s, m, h or d, such as 30s")
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is too long a duration: the longest is 1000d")
    return dt.timedelta(seconds=seconds)
