"""The guard `training`: the governor's ruling on each event that asks for a training.

Options: `table` (the abfss address of what is trained on), `champion` (`{route, key}` of the lane of the releases whose
newest success put the champion into production), and the governor's limits: `cooldown` and `within` (durations),
`min_new_rows`, `refresh_rows`, `futile`, `budget`.  What it saw is stored with the set: `{guard.data_version}` is the
version that the training is pinned to, `{guard.champion}` the model version that it must beat, or `none`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import governor
from shared.backends import Tables
from shared.durations import duration
from shared.events import Event, parse
from shared.governor import Data, Limits
from shared.lanes import LaneKey
from shared.phases import Phase
from shared.ports import JSON, Asked, Clock, Lanes

_DURATIONS = ("cooldown", "within")
_COUNTS = ("min_new_rows", "refresh_rows", "futile", "budget")
_GENERATIONS = 500
NONE = "none"
"""Stands for a champion where there is none."""


class TrainingGuard:
    """Rules by the history of the lane that the run is in: a route whose key is the model, or what it is trained on."""

    def __init__(self, lanes: Lanes, tables: Tables, clock: Clock) -> None:
        self._lanes, self._tables, self._clock = lanes, tables, clock

    def observe(self, asked: Asked) -> JSON:
        """See `ports.Guard`."""
        event = next((read for read in parse(str(asked.record.get("raw"))) if isinstance(read, Event)), None)
        why = governor.cause(event) if event else None
        if why is None:
            return {"proceed": False, "rule": "cause", "reason": "the event says nothing of data, drift or a request"}
        table = str(asked.options["table"])
        version = self._tables.newest(table) if why.version is None else why.version
        if version is None:
            return {
                "proceed": False,
                "rule": "version",
                "reason": f"there is nothing to train on: {table} is not there",
            }
        data = Data(version, self._tables.rows(table, version))
        earlier = self._lanes.history(LaneKey(asked.run.route, asked.run.key), _GENERATIONS)
        past = governor.trainings(run for run in earlier if run.generation != asked.run.generation)
        ruling = governor.rule(why, data, past, limits(asked.options), self._clock.now())
        return {**governor.facts(why, data, ruling), "champion": self._champion(asked.options)}

    def _champion(self, options: JSON) -> str:
        """The model version that the newest release to succeed has promoted, `none` when there was none."""
        if "champion" not in options:
            return NONE
        lane = LaneKey(str(options["champion"]["route"]), str(options["champion"]["key"]))
        released = (run for run in self._lanes.history(lane, _GENERATIONS) if run.phase is Phase.SUCCEEDED)
        return next((str(run.result["model_version"]) for run in released if "model_version" in run.result), NONE)


def limits(options: Mapping[str, Any]) -> Limits:
    """The limits that a route's options name; what they leave out has its default."""
    given: dict[str, Any] = {name: options[name] for name in _COUNTS if name in options}
    given |= {name: duration(options[name]) for name in _DURATIONS if name in options}
    return Limits(**given)


def faults(options: JSON) -> list[str]:
    """What is wrong with a route's options for this guard."""
    known = {"table", "champion", *_COUNTS, *_DURATIONS}
    wrong = [f"option {name} is not known" for name in sorted(set(options) - known)]
    if not isinstance(options.get("table"), str):
        wrong.append("option table is missing: it is the abfss address of what is trained on")
    champion = options.get("champion", {"route": "", "key": ""})
    if not isinstance(champion, Mapping) or set(champion) != {"route", "key"}:
        wrong.append("option champion has route and key: those of the lane of the releases")
    for name in _COUNTS:
        value = options.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < (0 if name == "min_new_rows" else 1):
            wrong.append(f"option {name} must be a whole number, not {value!r}")
    for name in _DURATIONS:
        try:
            duration(options.get(name, "0s"))
        except ValueError as error:
            wrong.append(f"option {name}: {error}")
    return wrong
