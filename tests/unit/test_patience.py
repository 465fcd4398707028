"""How long the calls of a step may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared import patience
from shared.errors import Unavailable
from shared.leases import LEASE
from shared.observations import Observation, Remote
from shared.routing import Route
from tests.unit.worlds import Backend, Stage, event


def test_outside_of_a_step_a_call_takes_what_it_likes() -> None:
    assert patience.left(20.0) == 20.0


def test_a_call_has_what_is_left_of_the_lease_less_a_margin_at_most_what_it_likes() -> None:
    with patience.until(LEASE.total_seconds()):
        assert patience.left(20.0) == 20.0
        assert patience.left(600.0) <= LEASE.total_seconds() - patience.MARGIN
    with patience.until(patience.MARGIN + 10.0):
        assert 9.0 < patience.left(20.0) <= 10.0


def test_no_call_is_made_when_the_step_has_no_time_left() -> None:
    with patience.until(patience.MARGIN), pytest.raises(Unavailable, match="under the next lease"):
        patience.left(20.0)
    assert patience.left(20.0) == 20.0


class Patient(Backend):
    """Notes how long each of its calls might take."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.had: dict[str, float] = {}

    def start(self, request: Mapping[str, Any]) -> Remote:
        self.had["start"] = patience.left(1e9)
        return super().start(request)

    def observe(self, request: Mapping[str, Any], remote: Remote, progress: Mapping[str, Any]) -> Observation:
        self.had["observe"] = patience.left(1e9)
        return super().observe(request, remote, progress)

    def cancel(self, request: Mapping[str, Any], remote: Remote) -> None:
        self.had["cancel"] = patience.left(1e9)
        super().cancel(request, remote)


@pytest.mark.parametrize("exclusive", [False, True])
def test_every_call_for_a_run_ends_before_a_lease_would(exclusive: bool) -> None:
    stage = Stage(Route("work", frozenset({"A.B"}), "k", "work", {}))
    backend = stage.actions["work"] = Patient(stage.clock, exclusive=exclusive)
    stage.send(event("1"))
    process = stage.process()
    while not backend.effects:
        stage.step(process)
    process.control_plane.commands.cancel(stage.runs()[0].id)
    stage.play()
    stage.close()
    assert set(backend.had) == {"start", "observe", "cancel"}
    assert all(0 < left <= LEASE.total_seconds() - patience.MARGIN for left in backend.had.values())
