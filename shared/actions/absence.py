"""What it means that a backend does not know what it was asked to start.

An accepted start may be seen late, so what is missing is looked for until the start's own deadline has surely passed.
Then it has been deleted: nobody can tell whether its work is done, and doing it again could double it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from shared.leases import LEASE
from shared.observations import Failure, Observation, Status

JSON = Mapping[str, Any]

_MISSED = "missed_since"


def missing(what: str, request: JSON, progress: JSON, now: dt.datetime) -> Observation:
    """Active while it may still appear: for the length of a lease since it was first missed; then a person decides."""
    since = dt.datetime.fromisoformat(str(progress.get(_MISSED, now.isoformat())))
    if now < since + LEASE:
        return Observation(
            Status.ACTIVE, f"{what} is not to be seen", progress={**progress, _MISSED: since.isoformat()}
        )
    return Observation(Status.FAILED, deleted(what, request), Failure.PERMANENT)


def seen(progress: JSON) -> JSON | None:
    """The progress of what is there: forget that it was missed."""
    return {name: value for name, value in progress.items() if name != _MISSED} if _MISSED in progress else None


def deleted(what: str, request: JSON) -> str:
    """The sentence for whoever has to decide."""
    return (
        f"{what} was started and has been deleted, so nobody can tell whether its work is done: "
        f"a person must look; if it is not, `sluice retry {request['run']}` does it again"
    )
