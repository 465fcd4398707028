"""How measurements add up to the end of a stage."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared import release_analysis
from shared.release_analysis import End
from shared.release_checks import Check, Outcome, Reading
from shared.release_stages import Analysis

NOW = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
HOLD, PATIENCE, WAIT = dt.timedelta(minutes=5), dt.timedelta(minutes=10), dt.timedelta(hours=1)
CHECK = Check("failure_rate", 0.01)
LETTERS = {"s": Outcome.SUCCESS, "f": Outcome.FAILURE, "i": Outcome.INCONCLUSIVE}


def after(measured: str, minutes: float, *, check: Check = CHECK, **more: Any) -> End:
    """What a minute-by-minute series of outcomes says after so many minutes."""
    analysis = Analysis((check,), patience=PATIENCE, wait=WAIT, **more)
    state = release_analysis.begun(analysis, NOW)
    for letter in measured:
        state = release_analysis.measured(analysis, state, [Reading(check, LETTERS[letter], 0.5, 30)], NOW)
    return release_analysis.judge(analysis, state, NOW + dt.timedelta(minutes=minutes), HOLD).end


def test_a_stage_succeeds_when_its_hold_is_over_and_its_checks_have_succeeded() -> None:
    assert after("s", 4) is End.UNFINISHED
    assert after("s", 5) is End.SUCCESS


def test_a_stage_fails_at_once_when_a_check_fails_more_often_than_its_limit() -> None:
    assert after("f", 0) is End.FAILURE
    assert after("fs", 5, failure_limit=1) is End.SUCCESS
    assert after("fsf", 0, failure_limit=1) is End.FAILURE


def test_successes_count_in_a_row() -> None:
    assert after("ssfss", 5, count=3, failure_limit=1) is End.UNFINISHED
    assert after("ssfsss", 5, count=3, failure_limit=1) is End.SUCCESS
    assert after("ssis", 5, count=2) is End.UNFINISHED


def test_what_stays_inconclusive_asks_a_person_and_ends_without_one() -> None:
    assert after("iii", 14.9) is End.UNFINISHED
    assert after("iii", 15) is End.INCONCLUSIVE
    assert after("", 15) is End.INCONCLUSIVE
    assert after("iii", 75) is End.FAILURE


def test_a_late_success_or_failure_still_counts() -> None:
    assert after("iiis", 60) is End.SUCCESS
    assert after("iiif", 60) is End.FAILURE


def test_a_dry_run_decides_nothing() -> None:
    assert after("f", 5, check=Check("failure_rate", 0.01, dry_run=True)) is End.SUCCESS


def test_without_checks_a_stage_is_a_pause() -> None:
    state = release_analysis.begun(Analysis(), NOW)
    assert release_analysis.judge(Analysis(), state, NOW, HOLD).end is End.UNFINISHED
    assert release_analysis.judge(Analysis(), state, NOW + HOLD, HOLD).end is End.SUCCESS
    assert not release_analysis.due(state, NOW + HOLD)


def test_measurements_wait_for_the_delay_and_for_the_interval() -> None:
    analysis = Analysis((CHECK,), interval=dt.timedelta(seconds=30), delay=dt.timedelta(seconds=10))
    state = release_analysis.begun(analysis, NOW)
    assert not release_analysis.due(state, NOW + dt.timedelta(seconds=9))
    assert release_analysis.due(state, NOW + dt.timedelta(seconds=10))
    later = NOW + dt.timedelta(seconds=12)
    state = release_analysis.measured(analysis, state, [Reading(CHECK, Outcome.SUCCESS, 0.0, 30)], later)
    assert not release_analysis.due(state, later + dt.timedelta(seconds=29))
    assert release_analysis.due(state, later + dt.timedelta(seconds=30))


def test_a_window_leaves_out_what_is_older() -> None:
    late = NOW + dt.timedelta(hours=1)
    whole, window = Analysis((CHECK,)), Analysis((CHECK,), window=dt.timedelta(minutes=5))
    state = release_analysis.begun(whole, NOW)
    assert release_analysis.since(whole, state, late) == NOW
    assert release_analysis.since(window, state, late) == late - dt.timedelta(minutes=5)
    assert release_analysis.since(window, state, NOW) == NOW


@given(st.text("sfi", max_size=12), st.floats(0, 200), st.integers(1, 4), st.integers(0, 3))
def test_no_stage_succeeds_on_too_little(measured: str, minutes: float, count: int, limit: int) -> None:
    end = after(measured, minutes, count=count, failure_limit=limit)
    if end is End.SUCCESS:
        assert minutes >= 5
        assert measured.endswith("s" * count)
        assert measured.count("f") <= limit
    if measured.count("f") > limit or (minutes >= 75 and not measured.endswith("s" * count)):
        assert end is End.FAILURE
