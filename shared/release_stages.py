"""The part of a release that a route writes itself: its stages, and how each is judged.  Values, and their faults.

    steps:
      - approval: 3d                  # somebody else than the requester says yes within this time
      - shadow: 50                    # so many logged requests are replayed to the challenger
      - {weight: 10, hold: 10m}       # so many percent of the requests, for so long
      - {weight: 100, hold: 30m}      # all of them; the hold is the bake time of the champion

The order is: approvals anywhere, shadows before the first weight, weights rising, 100 last.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.durations import duration
from shared.release_checks import Check, check_faults

JSON = Mapping[str, Any]

_NOTHING = dt.timedelta(0)


@dataclasses.dataclass(frozen=True, slots=True)
class Analysis:
    """How a stage is judged, after Argo Rollouts: measurements of each check, one every `interval`, after a `delay`.

    A stage has succeeded when each check has succeeded `count` times in a row.  It has failed when a check has failed
    more than `failure_limit` times.  While it has done neither it is inconclusive; after `patience` a person is asked,
    for at most `wait`.  Only calls of the last `window` are looked at, by default all since the stage began.
    """

    checks: tuple[Check, ...] = ()
    interval: dt.timedelta = dt.timedelta(seconds=30)
    delay: dt.timedelta = _NOTHING
    count: int = 1
    failure_limit: int = 0
    patience: dt.timedelta = dt.timedelta(minutes=30)
    wait: dt.timedelta = dt.timedelta(days=1)
    window: dt.timedelta | None = None

    @property
    def binding(self) -> tuple[Check, ...]:
        """The checks that decide; those of a dry run are measured and told."""
        return tuple(check for check in self.checks if not check.dry_run)


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """One entry of a route's `steps`; exactly one of `approval`, `shadow` and `weight` is set."""

    approval: dt.timedelta | None = None
    shadow: int | None = None
    weight: int | None = None
    hold: dt.timedelta = _NOTHING
    analysis: Analysis = dataclasses.field(default_factory=Analysis)

    @property
    def name(self) -> str:
        """What it is called in reasons and in the evidence."""
        if self.weight is not None:
            return f"weight {self.weight}"
        return "approval" if self.approval is not None else f"shadow {self.shadow}"

    @property
    def needs_deployment(self) -> bool:
        """Whether the challenger must stand before it."""
        return self.approval is None


ALL_AT_ONCE = Stage(weight=100)


def stages(options: JSON) -> tuple[Stage, ...]:
    """The stages of options without faults; by default all traffic at once, and nothing is judged."""
    common = options.get("analysis", {})
    return tuple(_stage(step, common) for step in options.get("steps", ())) or (ALL_AT_ONCE,)


def stage_faults(options: JSON) -> list[str]:
    """What is wrong with `steps` and `analysis`, one sentence each, naming the option."""
    wrong = _analysis_faults("analysis", options.get("analysis", {}))
    steps = options.get("steps")
    if steps is None:
        return wrong
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        return [*wrong, "option steps must be a list of steps: approval, shadow or weight"]
    for place, step in enumerate(steps):
        wrong += _step_faults(f"steps[{place}]", step)
    return wrong or _order_faults(stages(options))


def _stage(step: JSON, common: JSON) -> Stage:
    analysis = _analysis({**common, **step.get("analysis", {})})
    if "approval" in step:
        return Stage(approval=duration(step["approval"]), analysis=analysis)
    if "shadow" in step:
        return Stage(shadow=step["shadow"], analysis=analysis)
    return Stage(weight=step["weight"], hold=duration(step.get("hold", "0s")), analysis=analysis)


def _analysis(given: JSON) -> Analysis:
    read = {name: _KEYS[name].read(value) for name, value in given.items() if name != "checks"}
    return Analysis(tuple(Check(**check) for check in given.get("checks", ())), **read)


@dataclasses.dataclass(frozen=True, slots=True)
class _Key:
    read: Callable[[Any], Any]
    fault: Callable[[str, Any], list[str]]


def _duration_fault(name: str, value: Any) -> list[str]:
    try:
        duration(value)
    except ValueError as error:
        return [f"option {name}: {error}"]
    return []


def _longer_than_nothing(name: str, value: Any) -> list[str]:
    wrong = _duration_fault(name, value)
    return wrong or ([] if duration(value) else [f"option {name} must be longer than nothing"])


def _whole(least: int, most: int) -> Callable[[str, Any], list[str]]:
    def fault(name: str, value: Any) -> list[str]:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return []
        return [f"option {name} must be a whole number from {least} to {most}, it is {value!r}"]

    return fault


_KEYS: Mapping[str, _Key] = {
    "interval": _Key(duration, _longer_than_nothing),
    "delay": _Key(duration, _duration_fault),
    "count": _Key(int, _whole(1, 1000)),
    "failure_limit": _Key(int, _whole(0, 1000)),
    "patience": _Key(duration, _duration_fault),
    "wait": _Key(duration, _duration_fault),
    "window": _Key(duration, _longer_than_nothing),
}


def _analysis_faults(name: str, given: Any) -> list[str]:
    if not isinstance(given, Mapping):
        return [f"option {name} must be a mapping"]
    known = {*_KEYS, "checks"}
    wrong = [f"option {name}.{key} is not known, there are {', '.join(sorted(known))}" for key in set(given) - known]
    for key in sorted(set(_KEYS) & set(given)):
        wrong += _KEYS[key].fault(f"{name}.{key}", given[key])
    checks = given.get("checks", [])
    if not isinstance(checks, Sequence) or isinstance(checks, str):
        return [*wrong, f"option {name}.checks must be a list of checks"]
    for place, check in enumerate(checks):
        wrong += check_faults(f"{name}.checks[{place}]", check)
    return wrong


_STEPS: Mapping[str, Callable[[str, Any], list[str]]] = {
    "approval": _longer_than_nothing,
    "shadow": _whole(1, 500),  # what they have answered is kept in the run's row
    "weight": _whole(1, 100),
}
_BESIDE = {"approval": set[str](), "shadow": {"analysis"}, "weight": {"hold", "analysis"}}


def _step_faults(name: str, step: Any) -> list[str]:
    kinds = sorted(set(step) & set(_STEPS)) if isinstance(step, Mapping) else []
    if len(kinds) != 1:
        return [f"option {name} must have exactly one of {', '.join(sorted(_STEPS))}, it is {step!r}"]
    kind = kinds[0]
    allowed = {kind, *_BESIDE[kind]}
    wrong = [f"option {name}.{key} is not known beside {kind}" for key in sorted(map(str, step)) if key not in allowed]
    wrong += _STEPS[kind](f"{name}.{kind}", step[kind])
    if "hold" in step:
        wrong += _duration_fault(f"{name}.hold", step["hold"])
    return wrong + _analysis_faults(f"{name}.analysis", step.get("analysis", {}))


def _order_faults(found: Sequence[Stage]) -> list[str]:
    weights = [stage.weight for stage in found if stage.weight is not None]
    wrong = []
    if not weights or weights[-1] != 100 or found[-1].weight is None:
        wrong.append("option steps must end with weight 100")
    if weights != sorted(set(weights)):
        wrong.append(f"option steps: the weights must rise, they are {', '.join(map(str, weights))}")
    first = next((place for place, stage in enumerate(found) if stage.weight is not None), len(found))
    if any(stage.shadow is not None for stage in found[first:]):
        wrong.append("option steps: a shadow comes before the first weight")
    return wrong
