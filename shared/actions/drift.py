"""Assesses the newest week of a demand: is it unlike the weeks before it, and were the served forecasts worse?

Options: `weeks`, the abfss address of a folder of JSON lines `{"series", "week", "values"}` (168 hours, null where
nothing was measured); optionally `errors`, a folder of JSON lines `{"week", "model_version", "error"}` with or without
`series` (mean absolute error over mean demand of what was served), `table` and `version`, what the weeks are of
(handed on), and `policy`, the detector's.  A week is the date of its first day.  The assessment is the result: `level`,
`finding`, `week`, `coefficient` and `series`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.backends import Files
from shared.drift_detector import HOURS, Assessment, Hours, Policy, ScoredWeek, assess
from shared.errors import NotFound
from shared.observations import Failure, Observation, Remote, Status

JSON = Mapping[str, Any]

_HANDED_ON = ("table", "version")


class Drift:
    """The action `drift`: nothing is started anywhere, so an attempt is its own assessment."""

    exclusive = False

    def __init__(self, files: Files) -> None:
        self._files = files

    def faults(self, options: JSON) -> list[str]:
        """What is wrong with a route's options."""
        known = {"weeks", "errors", *_HANDED_ON, "policy"}
        wrong = [f"option {name} is not known" for name in sorted(set(options) - known)]
        if not isinstance(options.get("weeks"), str):
            wrong.append("option weeks is missing: it is the abfss address of a folder")
        if not isinstance(options.get("errors", ""), str):
            wrong.append("option errors must be the abfss address of a folder")
        return wrong + _policy_faults(options.get("policy", {}))

    def start(self, request: JSON) -> Remote:
        """Nothing to start: the assessment is named by the run."""
        return Remote(str(request["run"]))

    def observe(self, request: JSON, remote: Remote, progress: JSON) -> Observation:  # noqa: ARG002
        """The assessment.  Weeks that cannot be read are the work's own fault; a missing scoring log is none."""
        options = request["options"]
        try:
            weeks = _weeks(self._lines(options["weeks"]))
            errors = list(_errors(self._lines(options["errors"]))) if options.get("errors") else []
        except (ValueError, KeyError, TypeError) as error:
            return _failed(f"the weeks or errors cannot be read: {type(error).__name__}: {error}")
        if not weeks:
            return _failed(f"there are no weeks below {options['weeks']}: has the curation written them?")
        found = assess(weeks, errors, Policy(**options.get("policy", {})))
        result = _result(found) | {name: options.get(name, "") for name in _HANDED_ON}
        return Observation(Status.SUCCEEDED, f"{found.level}: {found.reason}", result=result)

    def cancel(self, request: JSON, remote: Remote) -> None:
        """There is nothing to stop."""

    def _lines(self, uri: str) -> Iterator[dict[str, Any]]:
        try:
            files = self._files.below(uri)
        except NotFound:
            return
        for content in files:
            yield from (json.loads(line) for line in content.splitlines() if line.strip())


def _failed(reason: str) -> Observation:
    return Observation(Status.FAILED, reason, Failure.PERMANENT)


def _policy_faults(given: Any) -> list[str]:
    if not isinstance(given, Mapping):
        return ["option policy must be a mapping"]
    known = {field.name for field in dataclasses.fields(Policy)}
    wrong = [
        f"policy has no {name}: it has {', '.join(sorted(known))}" for name in sorted(set(map(str, given)) - known)
    ]
    wrong += [
        f"policy {name} must be a number, not {value!r}"
        for name, value in given.items()
        if not isinstance(value, int | float) or isinstance(value, bool)
    ]
    return wrong or [f"policy {fault}" for fault in Policy(**given).faults()]


def _weeks(lines: Iterator[dict[str, Any]]) -> dict[str, dict[dt.date, Hours]]:
    weeks: dict[str, dict[dt.date, Hours]] = {}
    for line in lines:
        values: Sequence[float | None] = line["values"]
        if len(values) != HOURS:
            raise ValueError(f"week {line['week']} of {line['series']} has {len(values)} hours, not {HOURS}")
        weeks.setdefault(line["series"], {})[_day(line["week"])] = values
    return weeks


def _errors(lines: Iterator[dict[str, Any]]) -> Iterator[ScoredWeek]:
    for line in lines:
        yield ScoredWeek(
            _day(line["week"]), str(line["model_version"]), float(line["error"]), str(line.get("series") or "")
        )


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text[:10])


def _result(found: Assessment) -> dict[str, Any]:
    """The assessment as plain data; `coefficient` is the largest distance in units of its own threshold."""
    over = [seen.distance / seen.threshold for seen in found.series if seen.threshold]
    told: dict[str, Any] = {
        "level": str(found.level),
        "finding": found.reason,
        "week": found.week.isoformat() if found.week else "",
        "coefficient": round(max(over, default=0.0), 4),
        "flagged": list(found.flagged),
        "series": {seen.series: _numbers({**seen.metrics, "threshold": seen.threshold}) for seen in found.series},
    }
    if found.confirmation and found.confirmation.error is not None:
        told["served"] = _numbers({"error": found.confirmation.error, "usual": found.confirmation.usual or 0.0})
    return told


def _numbers(given: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in given.items()}
