"""The places of routes that have a limit over all their lanes, taken and given back through the store."""

from __future__ import annotations

from shared import limits
from shared.errors import Conflict, Unavailable
from shared.lanes import LaneKey
from shared.ports import Ring
from shared.runs import Run
from shared.world import World

_TRIES, _OLD = 20, 20


class Places:
    """Takes and gives back, again and again until no other instance was faster."""

    def __init__(self, world: World) -> None:
        self._world = world

    def take(self, lane: LaneKey, generation: int, most: int) -> bool:
        """Take one of `most` places for the run of a generation, or stand in line.  Taking again is fine."""
        for _ in range(_TRIES):
            limit, version = self._world.limits.limit(lane.route)
            after, taken = limits.taken(limit, (lane.key, generation), most, self._world.clock.now())
            over = () if taken else self._over(lane.route, limit)
            if over:
                self._saved(lane.route, limit, limits.without(limit, over), version)
                continue
            if self._saved(lane.route, limit, after, version):
                return taken
        raise Unavailable(f"the places of route {lane.route} changed {_TRIES} times while one was taken")

    def give_back(self, run: Run, most: int | None) -> None:
        """Give back the place of a run that has ended, and ring the lanes that are next.  Again is fine."""
        for _ in range(_TRIES):
            limit, version = self._world.limits.limit(run.route)
            after, following = limits.returned(limit, (run.key, run.generation), most or 0, self._world.clock.now())
            if self._saved(run.route, limit, after, version):
                for key in following:
                    self._ring(LaneKey(run.route, key))
                return
        raise Unavailable(f"the places of route {run.route} changed {_TRIES} times while one was given back")

    def _over(self, route: str, limit: limits.Limit) -> tuple[limits.Holder, ...]:
        """The oldest holders whose runs are over: who was slow took a place for what had ended meanwhile."""
        oldest = limit.holders[:_OLD]
        found = ((holder, self._world.lanes.run(LaneKey(route, holder[0]), holder[1])) for holder in oldest)
        return tuple(holder for holder, run in found if run is not None and not run[0].alive)

    def _saved(self, route: str, before: limits.Limit, after: limits.Limit, version: str) -> bool:
        if after == before:
            return True
        try:
            self._world.limits.save_limit(route, after, version)
        except Conflict:
            return False
        return True

    def _ring(self, name: LaneKey) -> None:
        found = self._world.lanes.lane(name)
        if found is not None:
            self._world.bells.ring_lane(Ring(name, found[0].generation, found[0].ring_no))
