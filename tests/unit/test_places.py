"""Places of a route in a store that others use too."""

from __future__ import annotations

import dataclasses

from shared.flow import Flow
from shared.lanes import LaneKey
from shared.limits import Limit
from shared.places import Places
from shared.routing import Route
from tests.unit.worlds import Stage, event

ROUTE = Route("work", frozenset({"A.B"}), "{data.key}", "work", {}, limit=1, flow=Flow())


def test_a_place_that_was_taken_for_what_had_ended_meanwhile_is_found_by_who_needs_one() -> None:
    stage = Stage(ROUTE)
    stage.send(event("1", key="a"))
    stage.play()
    (run,) = stage.runs()
    stage.limits.save_limit("work", Limit((("a", run.generation),)), stage.limits.limit("work")[1])
    places = Places(dataclasses.replace(stage.process().control_plane._world, lanes=stage.lanes, limits=stage.limits))
    assert places.take(LaneKey("work", "b"), 1, 1)
    assert stage.limits.limit("work")[0].holders == (("b", 1),)
    assert not places.take(LaneKey("work", "c"), 1, 1), "what has not ended keeps its place"
    stage.close()
