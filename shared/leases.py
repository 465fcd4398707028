"""Who alone may make the calls of a run that no name can make safe, and for how long.  Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt

from shared.runs import Run

LEASE = dt.timedelta(seconds=60)
"""How long one holder may make calls for a run; the clients' own timeouts and retries end before it."""


def leased(run: Run, holder: str, now: dt.datetime) -> Run:
    """`holder` alone may make the calls that no name can make safe, until the lease runs out."""
    return dataclasses.replace(run, leased_by=holder, leased_until=now + LEASE)


def of_another(run: Run, holder: str, now: dt.datetime) -> dt.datetime | None:
    """When the lease that somebody else holds runs out, None when nobody else holds one."""
    if run.leased_by in ("", holder) or run.leased_until is None or run.leased_until <= now:
        return None
    return run.leased_until
