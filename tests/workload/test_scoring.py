"""The scoring service: it answers what can be understood, and names the field of what cannot."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.localcloud.namespaces import Namespace
from tests.workload.conftest import WORKLOAD, drive, interpreter


def changed(request: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps(request | fields).encode()


def bad_requests(good: dict[str, Any]) -> list[tuple[bytes, str]]:
    """Bodies that must be refused, each with a word that its message must hold."""
    hours = good["series"]["dma_1"]
    return [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'{"origin": "2022-10-31"}', "series"),
        (changed(good, origin="yesterday"), "origin"),
        (changed(good, origin=5), "origin"),
        (changed(good, origin="2022-10-31T00:00:00Z"), "origin"),
        (changed(good, origin="2022-10-31T07:00:00"), "origin"),
        (changed(good, origin="0001-01-01"), "origin"),
        (changed(good, series={}), "series"),
        (changed(good, series=[1]), "series"),
        (changed(good, series={"dma_99": hours}), "dma_99"),
        (changed(good, series={"dma_1": hours[1:]}), "series.dma_1"),
        (changed(good, series={"dma_1": [*hours[1:], None]}), "series.dma_1[839]"),
        (changed(good, series={"dma_1": [*hours[1:], "1"]}), "series.dma_1[839]"),
        (changed(good, series={"dma_1": [True, *hours[1:]]}), "series.dma_1[0]"),
        (changed(good, series={"dma_1": [*hours[1:], float("nan")]}), "series.dma_1[839]"),
        (changed(good, series={"dma_1": [*hours[1:], 10**400]}), "series.dma_1[839]"),
        (changed(good, weather=3), "weather"),
        (changed(good, weather={}), "temperature"),
        (changed(good, weather=good["weather"] | {"rain": [0.0]}), "weather.rain"),
        (b" " * (5 * 1024 * 1024), "bytes"),
    ]


@pytest.fixture(scope="module")
def answers(trained: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Sequence[Any]:
    """The answers to a good request, to one for a single idle series, and to all bad ones."""
    good = trained["request"]
    idle = changed(good, series={"dma_2": [0] * 840})
    bodies = [json.dumps(good).encode(), idle, *(body for body, _ in bad_requests(good))]
    folder = tmp_path_factory.mktemp("scoring")
    (folder / "bodies.json").write_text(json.dumps([base64.b64encode(body).decode() for body in bodies]))
    python = interpreter(WORKLOAD / "scoring" / "requirements.lock")
    log = folder / "model_data.jsonl"
    found = drive(
        python,
        "scoring_driver.py",
        str(WORKLOAD / "scoring" / "score.py"),
        str(folder / "bodies.json"),
        AZUREML_MODEL_DIR=trained["folder"],
        MODEL_DATA_LOG=str(log),
        MODEL_VERSION="3",
        PYTHONPATH="",
    )
    return [*found, log]


def test_a_good_request_is_answered_for_every_series_and_hour(answers: Sequence[Any], trained: dict[str, Any]) -> None:
    status, answer = answers[0]
    assert status == 200
    assert answer["model_version"] == "3"
    assert answer["origin"] == trained["request"]["origin"]
    assert {name: len(hours) for name, hours in answer["predictions"].items()} == {f"dma_{n}": 168 for n in (1, 2, 3)}


def test_the_forecast_is_close_to_a_pattern_that_repeats(answers: Sequence[Any], trained: dict[str, Any]) -> None:
    errors = [
        abs(forecast - actual)
        for name, hours in answers[0][1]["predictions"].items()
        for forecast, actual in zip(hours, trained["actual"][name], strict=True)
    ]
    assert sum(errors) / len(errors) < 1.0


def test_a_single_series_without_any_demand_is_answered(answers: Sequence[Any]) -> None:
    status, answer = answers[1]
    assert status == 200
    assert list(answer["predictions"]) == ["dma_2"]
    assert min(answer["predictions"]["dma_2"]) >= 0


def test_every_malformed_request_is_a_400_that_names_the_field(answers: Sequence[Any], trained: dict[str, Any]) -> None:
    for (status, answer), (body, word) in zip(answers[2:-1], bad_requests(trained["request"]), strict=True):
        assert status == 400, body[:80]
        assert word in answer["error"], body[:80]


def test_inputs_and_predictions_are_logged_as_one_line_each(answers: Sequence[Any], trained: dict[str, Any]) -> None:
    log: Path = answers[-1]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["inputs"] == trained["request"]
    assert lines[0]["outputs"] == answers[0][1]
    assert (lines[0]["id"], lines[0]["status"], lines[0]["deployment"]) == ("test", 200, "v3")
    assert lines[0]["latency_ms"] > 0
    assert lines[1]["levels"] == {"dma_2": 0.0}


def test_with_a_hub_every_call_goes_there_or_waits_on_disk(
    trained: dict[str, Any], tmp_path: Path, namespace: Namespace
) -> None:
    bodies = [json.dumps(trained["request"]).encode()] * 3 + [b"{"]
    (tmp_path / "bodies.json").write_text(json.dumps([base64.b64encode(body).decode() for body in bodies]))
    found = drive(
        interpreter(WORKLOAD / "scoring" / "requirements.lock"),
        "scoring_driver.py",
        str(WORKLOAD / "scoring" / "score.py"),
        str(tmp_path / "bodies.json"),
        AZUREML_MODEL_DIR=trained["folder"],
        SCORING_HUB="one",
        SCORING_HUB_CONNECTION=namespace.text,
        SCORING_SPOOL=str(tmp_path / "spool"),
        PYTHONPATH="",
    )
    assert [status for status, _ in found] == [200, 200, 200, 400]
    waiting = [line for path in tmp_path.glob("spool/*.jsonl") for line in path.read_text().splitlines()]
    sent = sum(row["count"] for row in namespace.received("one"))
    assert sent + len(waiting) >= 4  # a process that ends in the middle of a send keeps what it may have sent
    assert {json.loads(line)["status"] for line in waiting} <= {200, 400}
