"""How long the calls of one step of a run may take together.

A step of a run is taken under its lease: its calls must be over before the lease is.  The control plane says when that
is, with `until`; the adapters ask `left` before each call.  No client repeats a call by itself: the run does, later and
on record, and the backend's `Retry-After` is when.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.errors import Unavailable

MARGIN = 5.0
"""Seconds between the end of the last call and the end of the lease: to save what was heard."""

LEAST = 1.0
"""A call that cannot have this many seconds is not made."""

_ends: ContextVar[float | None] = ContextVar("ends", default=None)


@contextmanager
def until(seconds: float) -> Iterator[None]:
    """The calls made inside are over in `seconds`, less `MARGIN`."""
    token = _ends.set(time.monotonic() + seconds - MARGIN)
    try:
        yield
    finally:
        _ends.reset(token)


def left(most: float) -> float:
    """How many seconds the next call may take, at most `most`.  Raises Unavailable when its step has none left."""
    ends = _ends.get()
    if ends is None:
        return most
    remaining = ends - time.monotonic()
    if remaining < LEAST:
        raise Unavailable("the time of this step is used up; it goes on under the next lease", retry_after=0.0)
    return min(most, remaining)
