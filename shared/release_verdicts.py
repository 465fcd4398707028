"""What a step of a release can conclude, and all that a release may do to the world."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from shared.observations import Failure
from shared.release_steps import Step

JSON = Mapping[str, Any]


class Effect(enum.StrEnum):
    """The only things that a release does to the world; each is repeatable under its name."""

    CREATE_QA = "create_qa"
    DELETE_QA = "delete_qa"
    CREATE_DEPLOYMENT = "create_deployment"
    DELETE_DEPLOYMENT = "delete_deployment"
    DELETE_RETIRED = "delete_retired"
    WRITE_TRAFFIC = "write_traffic"
    WRITE_EVIDENCE = "write_evidence"


@dataclasses.dataclass(frozen=True, slots=True)
class Next:
    """The step is done (with an effect, once that has been asked for); a `note` is told with the outcome.

    `to` is the step that follows where that is another than the table's.
    """

    reason: str
    evidence: JSON = dataclasses.field(default_factory=dict)
    progress: JSON = dataclasses.field(default_factory=dict)
    effect: Effect | None = None
    note: bool = False
    to: Step | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Look again later; at once when there is new `progress`."""

    reason: str
    progress: JSON = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Act:
    """Do something, then look again at the same step."""

    effect: Effect
    reason: str
    progress: JSON = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Fail:
    """The release cannot go on; clean up, then fail.  `stopped` says that it was asked to end, not that it failed."""

    reason: str
    failure: Failure = Failure.PERMANENT
    evidence: JSON = dataclasses.field(default_factory=dict)
    stopped: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """The release has nothing to do."""

    reason: str
    evidence: JSON = dataclasses.field(default_factory=dict)


Verdict = Next | Wait | Act | Fail | Done
