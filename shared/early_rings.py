"""A backend says that work has ended: its run is rung now instead of at its next look.

What the event says of the end is not believed: the run reads the backend's own state, as it would have done later.
An event that is lost, late, doubled or false therefore changes nothing but a time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared import leases, runs
from shared.errors import Conflict, SluiceError
from shared.events import Event, parse
from shared.lanes import LaneKey
from shared.phases import Phase
from shared.ports import Ring
from shared.release_facts import RUN_TAG
from shared.runs import Run
from shared.world import World

_COMPLETED = "Microsoft.MachineLearningServices.RunCompleted"
_CHANGED = "Microsoft.MachineLearningServices.RunStatusChanged"
_DEPLOYED = "Microsoft.MachineLearningServices.ModelDeployed"
_WORDS = ("MachineLearningServices.Run", "MachineLearningServices.ModelDeployed")
_ENDS = frozenset({"Completed", "Failed", "Canceled"})


def run_named(event: Event) -> str | None:
    """The id of the run whose Azure ML job has ended, or whose deployment stands, by this event; None for any other.

    Steps of a pipeline raise the same events: only the job that the run has submitted carries its tags, and its name.
    """
    if event.type == _DEPLOYED:
        deployed = event.value(f"data.ServiceTags.{RUN_TAG}")
        return deployed if isinstance(deployed, str) else None
    if event.type not in (_COMPLETED, _CHANGED):
        return None
    if event.type == _CHANGED and event.value("data.runStatus") not in _ENDS:
        return None
    token, run = event.value("data.runTags.token"), event.value("data.runTags.run")
    if not isinstance(token, str) or not isinstance(run, str):
        return None
    return run if event.value("data.runId") == f"sluice-{token[:32]}" else None


def worth_hearing(payloads: Sequence[str | bytes]) -> bool:
    """Whether any of these deliveries may name a run.  Cheap: nearly nothing that a lake sends is about Azure ML."""
    return any(map(_may_name, payloads))


class EarlyRings:
    """Rings the runs that events of backends name."""

    def __init__(self, world: World) -> None:
        self._world = world

    def hear(self, payloads: Sequence[str | bytes]) -> None:
        """Ring every run that these deliveries name.  Never raises: what is missed is looked at in its own time."""
        for payload in filter(_may_name, payloads):
            for event in parse(payload):
                name = run_named(event) if isinstance(event, Event) else None
                if name is not None:
                    self._ring(name)

    def _ring(self, name: str) -> None:
        try:
            run = self._world.lanes.named(name)
            found = run and self._world.lanes.run(LaneKey(run.route, run.key), run.generation)
            if not found or found[0].phase is not Phase.RUNNING:
                return
            now = self._world.clock.now()
            if leases.of_another(found[0], "", now):  # it is being looked at
                return
            hastened = runs.hastened(found[0], now)
            self._world.lanes.save_run(hastened, found[1])
            self._world.bells.ring_run(_ring_of(hastened))
        except Conflict:  # it is being looked at, or was moved on: then somebody is ahead of this event
            return
        except SluiceError:
            logging.warning("run %s could not be rung early; it is looked at in its own time", name, exc_info=True)


def _may_name(payload: str | bytes) -> bool:
    if isinstance(payload, bytes):
        return any(word.encode() in payload for word in _WORDS)
    return any(word in payload for word in _WORDS)


def _ring_of(run: Run) -> Ring:
    return Ring(LaneKey(run.route, run.key), run.generation, run.ring_no)
