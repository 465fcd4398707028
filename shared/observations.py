"""What a backend says of an attempt."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]


class Status(enum.StrEnum):
    """What a backend says of an attempt."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Failure(enum.StrEnum):
    """Why an attempt failed, as far as a retry is concerned."""

    TRANSIENT = "transient"  # the platform's fault: capacity, throttling, a lost node
    TIMEOUT = "timeout"  # it took longer than the route allows and was cancelled
    PERMANENT = "permanent"  # the work's own fault: the same input fails again


@dataclasses.dataclass(frozen=True, slots=True)
class Remote:
    """The backend's own thing: its id, and where a person can look at it."""

    id: str
    url: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What a backend says of an attempt, read from its authoritative state.

    `progress` replaces what a many-step action remembers between calls; `result` is merged into the run's result;
    `correlation` is set when the backend's thing tells to which chain it belongs; `retry_after` is in how many seconds
    to look again, where that is known; `url` where a person can look at it, where its start did not tell.
    """

    status: Status
    reason: str
    failure: Failure | None = None
    progress: JSON | None = None
    result: JSON = dataclasses.field(default_factory=dict)
    correlation: str | None = None
    retry_after: float | None = None
    url: str | None = None
