"""Raises an event and does nothing else: the route's `emits` says which.  Its options become the run's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.observations import Observation, Remote, Status

JSON = Mapping[str, Any]


class Emit:
    """The action `emit`."""

    exclusive = False

    def faults(self, options: JSON) -> list[str]:  # noqa: ARG002
        """Nothing can be wrong: the options are free."""
        return []

    def start(self, request: JSON) -> Remote:
        """There is no backend."""
        return Remote(f"emit-{request['token'][:12]}")

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        """It has succeeded at once."""
        return Observation(Status.SUCCEEDED, "there is nothing to do but to tell", result=dict(request["options"]))

    def cancel(self, request: JSON, remote: Remote) -> None:
        """There is nothing to cancel."""
