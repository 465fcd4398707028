"""Everything outside that the control plane reaches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shared.ports import Action, Bells, Clock, DueIndex, Guard, Journal, Lanes, Limits, Publisher, Sets, Telemetry


@dataclasses.dataclass(frozen=True)
class World:
    """Everything outside that the control plane reaches, each behind its port."""

    clock: Clock
    journal: Journal
    lanes: Lanes
    limits: Limits
    due: DueIndex
    bells: Bells
    sets: Sets
    actions: Mapping[str, Action]
    guards: Mapping[str, Guard]
    telemetry: Telemetry
    publisher: Publisher | None
    settings: Mapping[str, str]
