"""The action that only tells."""

from __future__ import annotations

from shared.actions.emit import Emit
from shared.observations import Status


def test_it_succeeds_at_once_with_its_options() -> None:
    request = {"run": "r-1-1", "token": "a" * 64, "options": {"table": "demand"}}
    action = Emit()
    remote = action.start(request)
    action.cancel(request, remote)
    seen = action.observe(request, remote, {})
    assert action.faults(request["options"]) == []
    assert (seen.status, seen.result) == (Status.SUCCEEDED, {"table": "demand"})
