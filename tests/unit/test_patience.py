"""How long the calls of a step may take."""

from __future__ import annotations

import pytest

from shared import patience
from shared.errors import Unavailable
from shared.runs import LEASE


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
