"""The action that assesses a week: what it reads, what it answers, what it refuses."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from typing import Any

import pytest

from shared.actions.drift import Drift
from shared.errors import NotFound
from shared.observations import Failure, Observation, Remote, Status

WEEKS, ERRORS = "abfss://gold@lake/demand_weeks/run", "abfss://gold@lake/demand_errors"
MONDAY, LENGTH = dt.date(2022, 1, 3), 20
POLICY = {"baseline": 4, "calibration": 8, "windows": 3, "violations": 2}


def line(series: str, week: int, times: float = 1.0) -> dict[str, Any]:
    source = random.Random(f"{series}{week}")
    hours = (10 + 3 * math.sin(hour / 24 * 2 * math.pi) + source.gauss(0, 0.3) for hour in range(168))
    day = MONDAY + dt.timedelta(weeks=week)
    return {"series": series, "week": day.isoformat(), "values": [None, *[value * times for value in hours][1:]]}


class Files:
    """Folders of the lake; what is not there is not found, as in a container that was never made."""

    def __init__(self, **folders: list[dict[str, Any]]) -> None:
        self.folders = folders

    def read(self, uri: str) -> bytes:
        raise AssertionError(uri)

    def below(self, uri: str) -> list[bytes]:
        lines = self.folders.get({WEEKS: "weeks", ERRORS: "errors"}[uri])
        if lines is None:
            raise NotFound(uri)
        half = len(lines) // 2
        return ["".join(f"{json.dumps(one)}\n" for one in part).encode() for part in (lines[:half], lines[half:])]


def weeks(times: float = 1.0) -> list[dict[str, Any]]:
    drifting = {("dma_1", LENGTH - 1), ("dma_2", LENGTH - 1)}
    names = [(name, week) for name in ("dma_1", "dma_2", "dma_3") for week in range(LENGTH)]
    return [line(name, week, times if (name, week) in drifting else 1.0) for name, week in names]


def scored(last: float) -> list[dict[str, Any]]:
    days = [(MONDAY + dt.timedelta(weeks=week)).isoformat() for week in range(LENGTH - 5, LENGTH)]
    return [{"week": day, "model_version": 3, "error": last if day == days[-1] else 0.05} for day in days]


def assessed(**folders: list[dict[str, Any]]) -> Observation:
    options = {"weeks": WEEKS, "errors": ERRORS, "table": "demand", "version": 7, "policy": POLICY}
    request = {"run": "drift-1-1", "options": options}
    action = Drift(Files(**folders))
    remote = action.start(request)
    action.cancel(request, remote)
    assert remote == Remote("drift-1-1")
    return action.observe(request, remote, {})


def test_a_week_like_any_other_is_no_drift_and_hands_its_version_on() -> None:
    seen = assessed(weeks=weeks())
    assert seen.status is Status.SUCCEEDED
    assert (seen.result["level"], seen.result["flagged"]) == ("none", [])
    assert (seen.result["table"], seen.result["version"]) == ("demand", 7)
    assert seen.result["week"] == (MONDAY + dt.timedelta(weeks=LENGTH - 1)).isoformat()
    assert seen.result["coefficient"] < 1


def test_a_shift_of_two_series_is_drift_with_its_numbers() -> None:
    seen = assessed(weeks=weeks(1.5))
    assert (seen.result["level"], seen.result["flagged"]) == ("retrain", ["dma_1", "dma_2"])
    assert seen.result["coefficient"] > 1
    assert seen.reason == f"retrain: {seen.result['finding']}"
    numbers = seen.result["series"]["dma_1"]
    assert numbers["normalized_wasserstein_distance"] > numbers["threshold"]


def test_the_scoring_log_confirms_or_denies_it() -> None:
    assert assessed(weeks=weeks(1.5), errors=scored(0.10)).result["served"] == {"error": 0.10, "usual": 0.05}
    assert assessed(weeks=weeks(1.5), errors=scored(0.05)).result["level"] == "incident"


def test_weeks_that_are_not_there_fail_the_run_and_say_where_they_were_looked_for() -> None:
    for seen in (assessed(), assessed(weeks=[])):
        assert (seen.status, seen.failure) == (Status.FAILED, Failure.PERMANENT)
        assert seen.reason.startswith(f"there are no weeks below {WEEKS}")


@pytest.mark.parametrize(
    "bad", [{"series": "dma_1", "week": "2022-01-03", "values": [1.0]}, {"week": "2022-01-03"}, {}]
)
def test_a_line_that_is_no_week_fails_the_run(bad: dict[str, Any]) -> None:
    seen = assessed(weeks=[bad])
    assert (seen.status, seen.failure) == (Status.FAILED, Failure.PERMANENT)
    assert "cannot be read" in seen.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "option weeks is missing"),
        ({"weeks": WEEKS, "colour": 1}, "option colour is not known"),
        ({"weeks": WEEKS, "errors": 3}, "option errors must be the abfss address"),
        ({"weeks": WEEKS, "policy": 3}, "option policy must be a mapping"),
        ({"weeks": WEEKS, "policy": {"speed": 1}}, "policy has no speed"),
        ({"weeks": WEEKS, "policy": {"wide": "2"}}, "policy wide must be a number, not '2'"),
        ({"weeks": WEEKS, "policy": {"wide": 0}}, "policy wide must be at least 1"),
    ],
)
def test_what_is_wrong_with_its_options_is_told(options: dict[str, Any], said: str) -> None:
    assert any(fault.startswith(said) for fault in Drift(Files()).faults(options))


def test_options_that_are_right_have_no_fault() -> None:
    assert Drift(Files()).faults({"weeks": WEEKS, "errors": ERRORS, "version": 7, "policy": POLICY}) == []
