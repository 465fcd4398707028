"""Moves of a run that change its lane too: both rows in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import Conflict, NotFound, Unavailable
from shared.lanes import Lane, LaneKey
from shared.ports import Lanes
from shared.runs import Run

_TRIES = 20


Known = tuple[Lane, str]
"""A lane as it was read or written last, and its version then."""


def move(
    lanes: Lanes, run: Run, version: str, change: Callable[[Lane], Lane], known: Known | None = None
) -> tuple[str, Lane]:
    """Replace a run's row, and its lane's by what `change` makes of it; answers the run's new version, and the lane.

    Who has just had the lane in hand says what is `known` of it.  Raises Conflict when the run has changed since it
    was read: others may change the lane meanwhile.
    """
    name = LaneKey(run.route, run.key)
    for _ in range(_TRIES):
        found, known = known or lanes.lane(name), None
        if found is None:
            raise NotFound(f"run {run.id} has no lane any more")
        changed = change(found[0])
        try:
            return lanes.move(changed, found[1], run, version), changed
        except Conflict:
            current = lanes.run(name, run.generation)
            if current is None or current[1] != version:
                raise
    raise Unavailable(f"lane {name.route}/{name.key} changed {_TRIES} times while run {run.id} moved")
