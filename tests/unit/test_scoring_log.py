"""Calls of deployments: what a message says, what a minute adds up to, and that redelivery changes nothing."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import scoring_log
from shared.adapters.memory_scoring import MemoryScoringArchive, MemoryScoringLog
from shared.scoring_intake import ScoringIntake
from shared.scoring_log import Call, Entry, Minute, Share, folded, total

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def message(**changes: Any) -> bytes:
    facts = {
        "id": "c1",
        "at": NOON.isoformat(),
        "endpoint": "demand",
        "deployment": "v1",
        "status": 200,
        "latency_ms": 12.5,
        "levels": {"a": 2.0},
        "outputs": {"predictions": {"a": [2.0, 3.0]}},
    }
    return json.dumps(facts | changes).encode()


def call(latency: float = 10.0, status: int = 200, predictions: tuple[float, ...] = (), **changes: Any) -> Call:
    return Call(**({"endpoint": "demand", "deployment": "v1", "at": NOON} | changes), status=status,
                latency_ms=latency, predictions=predictions)  # fmt: skip


def minute(*calls: Call) -> Minute:
    made = Minute("demand", "v1", NOON)
    for one in calls:
        made = folded(made, one)
    return made


# -- reading -------------------------------------------------------------------------------------------------------


def test_predictions_are_told_relative_to_the_level_of_their_series() -> None:
    found = scoring_log.read(message())
    assert (found.predictions, found.broken, found.latency_ms) == ((1.0, 1.5), 0, 12.5)


def test_a_time_with_an_offset_is_read_as_utc() -> None:
    assert scoring_log.read(message(at="2026-03-02T14:00:30+02:00")).minute == NOON


@pytest.mark.parametrize("levels", [{}, {"a": 0}, {"a": -1}, {"a": None}, None, []])
def test_without_a_good_level_predictions_stay_as_they_are(levels: Any) -> None:
    assert scoring_log.read(message(levels=levels)).predictions == (2.0, 3.0)


def test_predictions_that_are_no_finite_numbers_are_counted_apart() -> None:
    broken = {"predictions": {"a": [2.0, None, "x", True, float("nan"), 10**400]}}
    found = scoring_log.read(message(outputs=broken))
    assert (found.predictions, found.broken) == ((1.0,), 5)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "Expecting value"),
        (b"[" * 100_000, "nested"),
        (b"\xff", "codec"),
        (b"[]", "no JSON object"),
        (b"{}", "'at'"),
        (message(at="noon"), "noon"),
        (message(at="2026-03-02T12:00:00"), "offset"),
        (message(status="good"), "good"),
        (message(latency_ms=-1), "latency_ms"),
        (message(latency_ms=float("nan")), "latency_ms"),
        (message(endpoint="a/b"), "endpoint"),
        (message(deployment=""), "deployment"),
        (message(id=None), "id"),
    ],
)
def test_what_is_no_call_is_refused_with_what_is_wrong(body: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        scoring_log.read(body)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["at", "status", "outputs", "predictions", "levels", "endpoint"]), inner), max_leaves=12))  # fmt: skip # noqa: E501
def test_any_message_is_a_call_or_refused(value: Any) -> None:
    try:
        scoring_log.read(json.dumps(value).encode())
    except ValueError:
        return


# -- minutes -------------------------------------------------------------------------------------------------------


def test_failures_and_refusals_are_told_apart_and_only_failures_count_against_a_deployment() -> None:
    found = minute(call(), call(status=500), call(status=503), call(status=400))
    assert (found.count, found.failures, found.refused) == (4, 2, 1)
    assert found.failure_rate == pytest.approx(2 / 3)
    assert minute(call(status=400)).failure_rate is None


@given(st.lists(st.floats(0.001, 60_000), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_latency_quantile_is_at_most_nine_percent_too_high_and_never_too_low(
    latencies: list[float], share: float
) -> None:
    exact = sorted(latencies)[max(0, math.ceil(share * len(latencies)) - 1)]
    found = minute(*(call(latency) for latency in latencies)).latency_quantile(share)
    assert found is not None
    assert max(exact, 2**-6) * 0.999 <= found * 1.001 or exact < 2**-6
    assert found <= max(exact * 1.0906, 2**-5)


@given(st.lists(st.floats(-3, 6), min_size=1, max_size=50))
def test_moments_and_bins_are_those_of_the_predictions(values: list[float]) -> None:
    found = minute(call(predictions=tuple(values)))
    assert found.prediction_mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert sum(found.prediction_bins.values()) == len(values)
    assert set(found.prediction_bins) <= set(range(-1, 81))
    assert found.prediction_bins.get(-1, 0) == sum(value < 0 for value in values)


CALLS = st.builds(
    call,
    latency=st.floats(0, 1000),
    status=st.sampled_from([200, 400, 500]),
    predictions=st.lists(st.floats(-1, 5), max_size=3).map(tuple),
)


@given(st.lists(CALLS, max_size=8), st.lists(CALLS, max_size=8))
def test_minutes_add_up(one: list[Call], other: list[Call]) -> None:
    both, sum_ = minute(*one, *other), minute(*one) + minute(*other)
    for field in ("count", "failures", "refused", "latency_bins", "predictions", "prediction_bins", "latency_max"):
        assert getattr(sum_, field) == getattr(both, field)
    assert sum_.latency_sum == pytest.approx(both.latency_sum)
    assert sum_.prediction_squares == pytest.approx(both.prediction_squares)


def test_of_no_minutes_there_is_no_total() -> None:
    assert total([]) is None
    assert total([minute(call()), minute(call())]) == minute(call(), call())


def test_without_calls_nothing_is_claimed() -> None:
    empty = minute()
    assert (empty.failure_rate, empty.latency_quantile(0.95), empty.prediction_mean) == (None, None, None)
    assert empty.prediction_deviation is None


# -- redelivery ----------------------------------------------------------------------------------------------------


def entries(first: int, last: int) -> list[Entry]:
    """Messages of one partition, two a minute; every seventh is no call."""
    made = []
    for number in range(first, last):
        at = NOON + dt.timedelta(seconds=30 * number)
        body = b"{" if number % 7 == 6 else message(id=f"c{number}", at=at.isoformat())
        made.append(Entry("3", number, str(number * 100), at, body))
    return made


def counted(log: MemoryScoringLog) -> dict[dt.datetime, int]:
    day = dt.timedelta(days=1)
    return {found.start: found.count for found in log.minutes("demand", "v1", NOON - day, NOON + day)}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=12))
def test_however_batches_come_again_each_call_counts_once_and_each_message_is_kept(
    steps: list[tuple[int, int]],
) -> None:
    """A step goes back some messages, as after a crash before the checkpoint, and takes some from there."""
    archive, log = MemoryScoringArchive(), MemoryScoringLog()
    intake, done = ScoringIntake("hub", archive, log), 0
    for back, length in steps:
        start = max(0, done - back)
        batch = entries(start, start + length)
        intake.take(batch)
        intake.take(batch)
        done = max(done, start + length)
    once = MemoryScoringLog()
    ScoringIntake("hub", MemoryScoringArchive(), once).take(entries(0, done))
    assert counted(log) == counted(once)
    kept = {json.loads(line)["sequence"] for _, body in archive.blobs.values() for line in body.splitlines()}
    assert kept == set(range(done))


def test_calls_of_a_shadow_are_kept_and_are_in_no_minute() -> None:
    archive, log = MemoryScoringArchive(), MemoryScoringLog()
    bodies = [message(id="c1"), message(id="c2", shadow=True), message(id="c3", shadow=False)]
    batch = [Entry("0", number, str(number), NOON, body) for number, body in enumerate(bodies)]
    taken = ScoringIntake("hub", archive, log).take(batch)
    assert counted(log) == {NOON: 2}
    assert len(archive.blobs[taken.name][1].splitlines()) == 3


def test_a_batch_is_kept_as_lines_with_their_place_and_what_is_no_call_with_the_reason() -> None:
    archive = MemoryScoringArchive()
    taken = ScoringIntake("hub", archive, MemoryScoringLog()).take(entries(5, 8))
    assert taken.name == "hub/day=2026-03-02/hour=12/3-00000000000000000500.jsonl"
    assert (taken.calls, list(taken.rejected)) == (2, [6])
    lines = [json.loads(line) for line in archive.blobs[taken.name][1].splitlines()]
    assert [line["sequence"] for line in lines] == [5, 6, 7]
    assert lines[0]["call"]["id"] == "c5"
    assert (lines[1]["body"], "Expecting" in lines[1]["rejected"]) == ("ew==", True)


def test_a_message_of_several_lines_stays_one_line() -> None:
    body = json.dumps(json.loads(message()), indent=2).encode()
    (line,) = scoring_log.blob([Entry("0", 1, "1", NOON, body)], {}).splitlines()
    assert json.loads(line)["call"] == json.loads(message())


def test_a_share_takes_only_what_is_new_to_it() -> None:
    share = Share(minute()).taking([(1, call()), (2, call())])
    assert share.taking([(1, call()), (2, call())]) == share
    assert share.taking([(2, call()), (3, call())]).minute.count == 3
