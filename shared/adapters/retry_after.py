"""When a backend wants to be asked again, out of the headers of its answer."""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Mapping

MOST = 3600.0
"""Nobody is obeyed for longer than an hour at a time; then it is asked again, and may say so again."""


def retry_after(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """Seconds until the next call is welcome, None when the backend does not say, or not readably.

    `retry-after-ms` and `x-ms-retry-after-ms` (milliseconds) go before `Retry-After`, which holds seconds or a date
    (RFC 9110, 10.2.3); `now` is what a date is compared with.
    """
    known = {name.lower(): str(value).strip() for name, value in headers.items()}
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (milliseconds := _number(known.get(name, ""))) is not None:
            return min(MOST, milliseconds / 1000)
    text = known.get("retry-after", "")
    if (seconds := _number(text)) is not None:
        return min(MOST, seconds)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(MOST, max(0.0, (_aware(date) - now).total_seconds()))


def _number(text: str) -> float | None:
    return float(text) if text.replace(".", "", 1).isdecimal() else None


def _aware(date: dt.datetime) -> dt.datetime:
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)
