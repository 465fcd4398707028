"""When a cause to train is reason enough, given what was trained before."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import governor, runs
from shared.drift import ASSESSED, Level, Signal
from shared.events import Event, parse
from shared.governor import Cause, Data, Kind, Limits, Outcome, Ruling, Training, cause, rule, trainings
from shared.observations import Failure, Observation, Remote, Status

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DATA = Cause(Kind.DATA, "new data were published", 9)
DRIFT = Cause(Kind.DRIFT, "dma_3", 9, Signal(Level.RETRAIN, "sluice", "dma_3"))
OPERATOR = Cause(Kind.OPERATOR, "a new feature", 9)
LIMITS = Limits(cooldown=DAY, min_new_rows=100, refresh_rows=400, futile=3, budget=4, within=28 * DAY)


def trained(
    version: int, outcome: Outcome = Outcome.REGISTERED, days_ago: float = 7, rows: int = 1000, rule: str = ""
) -> Training:
    started = NOON - days_ago * DAY
    ended = None if outcome is Outcome.RUNNING else started
    return Training(f"train-1-{version}", outcome, started, ended, version, rows, rule)


def ruled(why: Cause, *past: Training, rows: int | None = 1200, limits: Limits = LIMITS) -> Ruling:
    return rule(why, Data(9, rows), past, limits, NOON)


# -- which version -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", [DATA, DRIFT, OPERATOR])
def test_a_version_that_is_trained_on_is_not_trained_on_again(why: Cause) -> None:
    found = ruled(why, trained(9))
    assert (found.proceed, found.rule) == (False, "version")
    assert found.reason == "version 9 is already trained on: run train-1-9"


@pytest.mark.parametrize("why", [DATA, DRIFT, OPERATOR])
def test_a_training_under_way_on_the_same_version_is_joined(why: Cause) -> None:
    found = ruled(why, trained(9, Outcome.RUNNING))
    assert (found.proceed, found.reason) == (False, "joined: run train-1-9 is training on version 9")


def test_a_champion_that_was_retained_has_been_compared_on_that_version() -> None:
    assert not ruled(DRIFT, trained(9, Outcome.RETAINED)).proceed


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
def test_a_training_that_did_not_come_to_its_end_does_not_count_as_trained(outcome: Outcome) -> None:
    assert ruled(DRIFT, trained(9, outcome), trained(8)).proceed


def test_an_older_version_than_was_trained_on_is_passed_over() -> None:
    found = ruled(DRIFT, trained(10))
    assert (found.proceed, found.rule) == (False, "version")
    assert "older than 10" in found.reason


# -- why ---------------------------------------------------------------------------------------------------------------


def test_the_first_model_needs_no_more_than_data() -> None:
    assert ruled(DATA).reason == "the first model: new data were published"
    assert ruled(DRIFT).proceed


def test_drift_is_reason_to_retrain() -> None:
    found = ruled(DRIFT, trained(8))
    assert (found.proceed, found.rule, found.reason) == (True, "drift", "dma_3")


@pytest.mark.parametrize(("level", "said"), [(Level.INCIDENT, "an incident to look at"), (Level.NONE, "no drift")])
def test_less_than_drift_is_not_also_for_the_first_model(level: Level, said: str) -> None:
    why = dataclasses.replace(DRIFT, drift=Signal(level, "sluice", "all is well"))
    for past in ((), (trained(8),)):
        found = ruled(why, *past)
        assert (found.proceed, found.rule) == (False, "level")
        assert said in found.reason


def test_new_data_alone_are_a_refresh_only_when_there_are_enough() -> None:
    assert ruled(DATA, trained(8), rows=1399).rule == "refresh"
    assert not ruled(DATA, trained(8), rows=1399).proceed
    assert ruled(DATA, trained(8), rows=1400).proceed


def test_without_a_refresh_new_data_alone_never_retrain() -> None:
    found = ruled(DATA, trained(8), rows=9999, limits=dataclasses.replace(LIMITS, refresh_rows=None))
    assert (found.proceed, found.reason) == (False, "new data alone are no reason to retrain: drift would be")


@pytest.mark.parametrize("rule_", ["drift", "unmended"])
@pytest.mark.parametrize("outcome", [Outcome.RETAINED, Outcome.FAILED])
def test_drift_that_a_training_has_not_mended_makes_the_next_data_reason_enough(outcome: Outcome, rule_: str) -> None:
    found = ruled(DATA, trained(8, outcome, rule=rule_), trained(7))
    assert (found.proceed, found.rule) == (True, "unmended")
    assert found.reason == f"new data, and drift that is not mended: run train-1-8 {outcome}"


def test_drift_that_a_released_model_has_mended_is_over() -> None:
    assert ruled(DATA, trained(8, rule="unmended"), trained(7, Outcome.RETAINED, rule="drift")).rule == "refresh"


def test_a_refresh_that_released_nothing_leaves_nothing_to_mend() -> None:
    assert ruled(DATA, trained(8, Outcome.RETAINED, rule="refresh")).rule == "refresh"


def test_drift_that_is_not_mended_is_given_up_like_any_other() -> None:
    past = [trained(version, Outcome.RETAINED, rule="unmended") for version in (8, 7, 6)]
    found = ruled(DATA, *past)
    assert (found.rule, found.escalate) == ("futile", True)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_drift_on_hardly_any_new_data_waits() -> None:
    found = ruled(DRIFT, trained(8), rows=1099)
    assert (found.proceed, found.reason) == (False, "99 new rows since the last training, 100 are needed")


def test_rows_that_cannot_be_counted_do_not_stop_a_retrain() -> None:
    assert ruled(DRIFT, trained(8), rows=None).proceed


def test_after_a_training_there_is_a_cooldown() -> None:
    found = ruled(DRIFT, trained(8, days_ago=0.5))
    assert (found.proceed, found.rule) == (False, "cooldown")
    assert found.reason == "cooling down until 2026-03-03T00:00:00+00:00 after the last training"


def test_after_futile_trainings_in_a_row_a_person_must_look() -> None:
    past = [trained(8, Outcome.RETAINED), trained(7, Outcome.FAILED), trained(6, Outcome.RETAINED), trained(5)]
    found = ruled(DRIFT, *past, limits=dataclasses.replace(LIMITS, budget=None))
    assert (found.proceed, found.rule, found.escalate) == (False, "futile", True)
    assert "train-1-8 retained, train-1-7 failed, train-1-6 retained" in found.reason


def test_one_that_released_a_model_ends_the_row() -> None:
    past = [trained(8, Outcome.RETAINED), trained(7), trained(6, Outcome.RETAINED), trained(5, Outcome.RETAINED)]
    assert ruled(DRIFT, *past, limits=dataclasses.replace(LIMITS, budget=None)).proceed


def test_one_that_was_cancelled_is_neither_futile_nor_the_end_of_a_row() -> None:
    past = [trained(8, Outcome.CANCELLED), *(trained(version, Outcome.RETAINED) for version in (7, 6, 5))]
    assert ruled(DRIFT, *past, limits=dataclasses.replace(LIMITS, budget=None)).rule == "futile"


def test_the_first_model_too_is_given_up_after_futile_trainings() -> None:
    past = [trained(version, Outcome.FAILED) for version in (8, 7, 6)]
    assert ruled(DATA, *past).escalate


def test_a_budget_bounds_the_trainings_of_a_time_whatever_became_of_them() -> None:
    past = [trained(8, days_ago=2), trained(7, Outcome.CANCELLED, 9), trained(6, days_ago=16), trained(5, days_ago=27)]
    found = ruled(DRIFT, *past)
    assert (found.proceed, found.rule, found.escalate) == (False, "budget", True)
    assert ruled(DRIFT, *past[:-1], trained(5, days_ago=29)).proceed


def test_an_operator_passes_every_limit_but_the_version() -> None:
    past = [trained(version, Outcome.FAILED, days_ago=0.1) for version in (8, 7, 6, 5)]
    found = ruled(OPERATOR, *past, rows=1000)
    assert (found.proceed, found.rule) == (True, "operator")
    assert found.reason == "an operator asked for it: a new feature"


OUTCOMES = st.sampled_from(list(Outcome))
PAST = st.lists(st.builds(trained, st.integers(1, 12), OUTCOMES, st.floats(0, 60), st.integers(0, 2000)), max_size=8)


@given(st.sampled_from([DATA, DRIFT, OPERATOR]), PAST)
def test_every_ruling_names_its_rule_and_never_trains_twice_on_one_version(why: Cause, past: list[Training]) -> None:
    found = ruled(why, *past)
    assert found.rule
    assert found.reason
    seen = {one.version for one in past if one.outcome not in (Outcome.FAILED, Outcome.CANCELLED)}
    assert not (found.proceed and 9 in seen)
    assert not (found.proceed and found.escalate)


# -- from events and runs ----------------------------------------------------------------------------------------------


def event(type_: str, data: dict[str, Any]) -> Event:
    (read,) = parse(json.dumps({"id": "1", "topic": "t", "subject": "s", "eventType": type_, "data": data}))
    assert isinstance(read, Event)
    return read


def test_new_data_drift_and_a_request_are_causes() -> None:
    assert cause(event("Sluice.DatasetPublished", {"gold_version": 7})) == Cause(
        Kind.DATA, "new data were published", 7
    )
    found = cause(event(ASSESSED, {"level": "retrain", "gold_version": 7}))
    assert found is not None
    assert (found.kind, found.version) == (Kind.DRIFT, 7)
    assert cause(event("Sluice.TrainingRequested", {"reason": "why not"})) == Cause(Kind.OPERATOR, "why not", None)


def test_any_other_event_is_none() -> None:
    assert cause(event("Microsoft.Storage.BlobCreated", {})) is None


@pytest.mark.parametrize("version", ["newest", -1, None, True, 1.5])
def test_a_version_that_is_no_version_is_looked_up_instead(version: Any) -> None:
    found = cause(event("Sluice.DatasetPublished", {"gold_version": version}))
    assert found is not None
    assert found.version is None


def run(generation: int, *, asked: bool = True) -> runs.Run:
    opened = runs.opened("train", "demand", generation, "quiet", NOON + generation * DAY)
    request = {governor.FACTS: {"data_version": generation, "rows": 1000 + generation, "rule": "drift"}}
    return runs.prepared(opened, {"count": 1}, request, "chain", opened.created_at) if asked else opened


def ended(generation: int, status: Status, **result: str) -> runs.Run:
    working = runs.started(run(generation), Remote("job", None), NOON + generation * DAY)
    failure = Failure.PERMANENT if status is Status.FAILED else None
    seen = Observation(status, "it ended", failure, result=result)
    return runs.observed(working, seen, NOON + (generation + 1) * DAY, runs.Retry())


def test_the_runs_of_a_lane_are_its_trainings_but_for_those_that_were_skipped() -> None:
    skipped = runs.skipped(run(6, asked=False), {"count": 1}, "guard training: cooldown", NOON)
    found = trainings(
        [
            run(5),
            ended(4, Status.FAILED),
            ended(3, Status.SUCCEEDED),
            ended(1, Status.SUCCEEDED, model_version="1"),
            ended(2, Status.CANCELLED),
            skipped,
        ]
    )
    assert [(one.version, one.outcome) for one in found] == [
        (5, Outcome.RUNNING),
        (4, Outcome.FAILED),
        (3, Outcome.RETAINED),
        (2, Outcome.CANCELLED),
        (1, Outcome.REGISTERED),
    ]
    assert (found[-1].rows, found[-1].ended, found[-1].rule) == (1001, NOON + 2 * DAY, "drift")
