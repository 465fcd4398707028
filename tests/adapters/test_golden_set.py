"""The comparison of an answer with a golden set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.adapters.golden_set import GoldenSet

GOLDEN: dict[str, Any] = {
    "request": {"series": {"A": [1]}},
    "predictions": {"A": [1.0, 2.0], "B": [3.0, 4.0]},
    "actual": {"A": [1.0, None], "B": [4.0, 4.0]},
    "seasonal_naive": {"A": [0.0, 9.0], "B": [7.0, 7.0]},
    "mae": 0.5,
}


def golden(**changes: Any) -> GoldenSet:
    return GoldenSet(json.dumps({**GOLDEN, **changes}).encode())


def answer(predictions: Any) -> bytes:
    return json.dumps({"predictions": predictions}).encode()


def test_errors_count_only_the_measured_hours() -> None:
    seen = golden().compare(answer({"B": [3.0, 4.5], "A": [1.0, 2.0]}))
    assert seen["mae"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert seen["naive_mae"] == pytest.approx((1 + 3 + 3) / 3)
    assert seen["reproduced_max_diff"] == pytest.approx(0.5)


def test_the_request_is_sent_as_it_was_made() -> None:
    assert json.loads(golden().request) == GOLDEN["request"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "is not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"error": "x"}', "has no predictions, it has error"),
        (answer([1, 2]), "must be an object of series"),
        (answer({"A": [1.0, 2.0]}), "predicts 2 hours of A, not 2 hours of A, B"),
        (answer({"A": [1.0], "B": [3.0]}), "predicts 1 hours"),
        (answer({"A": [1.0, 2.0], "B": [3.0]}), "not equally long"),
        (answer({"A": [1.0, None], "B": [3.0, 4.0]}), "a prediction is not a number"),
        (answer({"A": ["x", 2.0], "B": [3.0, 4.0]}), "something else than numbers"),
    ],
)
def test_an_answer_of_another_shape_is_told_apart(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        golden().compare(body)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", json.dumps({**GOLDEN, "actual": 3}).encode()])
def test_a_file_that_is_no_golden_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"lacks|JSON|object"):
        GoldenSet(content)
