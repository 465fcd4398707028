"""What QA measures on a running scoring service, and every reason that it finds against it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.release_backends import Answer, Golden, Scoring
from shared.release_facts import Checks, Limits

_MALFORMED = b'{"this is": "not a scoring request"}'


BUDGET = 20.0
"""After so many seconds of golden requests no more are begun: the run's lease is longer."""


def examine(scoring: Scoring, url: str, golden: Golden, limits: Limits, champion: Answer | None = None) -> Checks:
    """All checks of QA: schema, the golden week reproduced, better than seasonal naive and not worse than the champion.

    Raises Unavailable when the service stops answering.
    """
    faults = _schema_faults(scoring.post(url, _MALFORMED))
    answers = list(_answers(scoring, url, golden, max(1, int(limits.requests))))
    measured, found = _compared(golden, answers[0], limits)
    faults += found
    beside, found = _beside(golden, measured, champion, limits)
    measured, faults = {**measured, **beside}, [*faults, *found]
    errors = sum(answer.status != 200 for answer in answers)
    if errors:
        faults.append(f"{errors} of {len(answers)} golden requests were not answered with 200")
    latency = _p95([answer.seconds * 1000 for answer in answers])
    if latency > limits.latency_p95_ms:
        faults.append(f"95 % of the answers came within {latency:.0f} ms, the limit is {limits.latency_p95_ms:g} ms")
    if measured and not measured["mae"] < measured["naive_mae"]:
        faults.append(
            f"its error on the golden week is {measured['mae']:.4g}, seasonal naive's is {measured['naive_mae']:.4g}"
        )
    return Checks({**measured, "latency_p95_ms": round(latency, 1), "requests": len(answers)}, tuple(faults))


def _answers(scoring: Scoring, url: str, golden: Golden, most: int) -> Iterator[Answer]:
    until = time.monotonic() + BUDGET
    for number in range(most):
        if number and time.monotonic() > until:
            return
        yield scoring.post(url, golden.request)


def _beside(
    golden: Golden, measured: Mapping[str, Any], champion: Answer | None, limits: Limits
) -> tuple[dict[str, Any], list[str]]:
    """The champion's error on the same golden week; one that cannot answer it is told, and not held against anybody."""
    if champion is None or not measured:
        return {}, []
    if champion.status != 200:
        return {"champion": f"answered {champion.status}"}, []
    try:
        error = golden.compare(champion.body)["mae"]
    except ValueError as wrong:
        return {"champion": f"answered in the wrong shape: {wrong}"}, []
    if measured["mae"] <= error * limits.champion_ratio:
        return {"champion_mae": error}, []
    said = f"its error on the golden week is {measured['mae']:.4g}, the champion's is {error:.4g}"
    return {"champion_mae": error}, [f"{said}: more than {limits.champion_ratio:g} times as much"]


def same(golden: Golden, answer: Answer, limits: Limits, model_version: str | None = None) -> Checks:
    """Whether an answer to the golden request is the one that QA saw, of the right model version when it tells."""
    measured, faults = _compared(golden, answer, limits)
    told = _model_version(answer) if model_version else None
    if told is not None and told != model_version:
        faults.append(f"model version {told} answered, not {model_version}")
    return Checks(measured, tuple(faults))


def _schema_faults(answer: Answer) -> list[str]:
    if 400 <= answer.status < 500:
        return []
    return [f"a malformed request was answered with {answer.status}, it should be refused with 4xx"]


def _compared(golden: Golden, answer: Answer, limits: Limits) -> tuple[dict[str, float], list[str]]:
    if answer.status != 200:
        return {}, [
            f"the golden request was answered with {answer.status}: {answer.body[:300].decode(errors='replace')}"
        ]
    try:
        measured = dict(golden.compare(answer.body))
    except ValueError as error:
        return {}, [f"the answer to the golden request has the wrong shape: {error}"]
    difference = measured["reproduced_max_diff"]
    if difference <= limits.tolerance:
        return measured, []
    return measured, [
        f"its predictions differ from evaluate's by up to {difference:.3g}, the tolerance is {limits.tolerance:g}"
    ]


def _model_version(answer: Answer) -> str | None:
    try:
        told = json.loads(answer.body).get("model_version")
    except (ValueError, AttributeError):
        return None
    return None if told is None else str(told)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
