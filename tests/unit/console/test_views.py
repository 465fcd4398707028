"""What a person sees: everything that one would copy is there whole."""

from __future__ import annotations

from typing import Any

import pytest

from console import views

ID = "7628f515-b0a1-41ee-9458-880f66b72ead"
RUN: dict[str, Any] = {
    "run": "curate-bfe51a6f-1", "route": "curate", "key": "demand", "generation": 1, "attempt": 2, "phase": "succeeded",
    "reason": "Databricks run 10100 succeeded",
    "created": "2026-01-05T06:07:08+00:00", "ended": "2026-01-05T06:07:20.5+00:00",
    "remote": {"id": "10100", "url": "https://adb/run/10100"}, "correlation": "c", "result": {"gold_version": 4},
}  # fmt: skip
DELIVERY = {
    "received": "2026-01-05T06:07:06+00:00", "id": ID,
    "type": "Microsoft.Storage.BlobCreated", "subject": "/bronze/[1]",
    "outcome": "routed", "reason": "curate: lane demand, generation 1", "origin": "event_grid", "reference": "a@1+2",
}  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_runs_show_name_phase_duration_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    views.runs([RUN])
    text = shown(capsys)
    for part in ("curate-bfe51a6f-1 (attempt 2)", "succeeded", "12.5 s", "10100", "Databricks run 10100 succeeded"):
        assert part in text


def test_events_show_ids_and_subjects_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    views.events([DELIVERY, DELIVERY | {"id": None, "type": None, "subject": None, "outcome": "rejected"}])
    text = shown(capsys)
    assert ID in text
    assert "/bronze/[1]" in text


def test_lanes_show_what_is_collected(capsys: pytest.CaptureFixture[str]) -> None:
    views.lanes(
        [
            {
                "route": "curate",
                "key": "demand",
                "generation": 3,
                "collecting": 2,
                "running": [2],
                "queued": [],
                "approval": [1],
                "waits_until": None,
            }
        ]
    )
    text = shown(capsys)
    assert "2 event(s)" in text
    assert "running 2; approval 1" in text


def test_explain_shows_the_way_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    later = RUN | {"run": "train-1", "route": "train", "told": None, "led_to": []}
    effect = RUN | {"history": [], "told": "curate-bfe51a6f-1-42d98d3b", "led_to": [later]}
    cause = RUN | {"events": [{"id": "first", "type": "Microsoft.Storage.BlobCreated", "because": []}]}
    waiting = {"route": "other", "key": "k", "generation": 1, "phase": "collecting"}
    views.explain({"event": ID, "deliveries": [DELIVERY], "because": [cause], "led_to": [effect, waiting]})
    lines = shown(capsys).splitlines()
    text = "\n".join(lines)
    for part in (
        ID,
        "delivered",
        "because",
        "first",
        "led to",
        "gold_version 4",
        "curate-bfe51a6f-1-42d98d3b",
        "collecting",
    ):
        assert part in text
    depth = {
        name: next(line.index(name) for line in lines if f"{name} demand" in line and "led" not in line)
        for name in ("train",)
    }
    assert depth["train"] > text.splitlines()[0].index("Microsoft")


def test_replay_shows_the_outcome_and_the_run_that_was_joined(capsys: pytest.CaptureFixture[str]) -> None:
    receipt = {"outcome": "duplicate", "reason": "curate: duplicate of a@1+2", "reference": "b@1+2"}
    views.replay({"event": ID, "receipts": [receipt], "led_to": [RUN | {"history": [], "told": None, "led_to": []}]})
    text = shown(capsys)
    for part in (ID, "duplicate of a@1+2", "curate demand, generation 1: succeeded"):
        assert part in text


def test_status_shows_each_process_and_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    health = {"store": "s", "rules": "r", "routes": ["curate"]}
    host = {"state": "Running", "healthy": False, "health": {"faults": ["setting X is missing"]}}
    processes = [{"name": "azurite", "pid": 7, "created": 1.0, "alive": False}]
    counts = {"deliveries": 3, "routed": 1}
    views.status(
        {
            "ok": False,
            "cloud": "mine",
            "processes": processes,
            "host": host,
            "health": health,
            "deliveries": counts,
            "runs": {},
        }
    )
    text = shown(capsys)
    for part in ("not in order", "azurite", "gone", "setting X is missing", "3 deliveries", "none yet"):
        assert part in text


@pytest.mark.parametrize("view", [views.events, views.runs, views.lanes])
def test_nothing_is_said_to_be_nothing(view: Any, capsys: pytest.CaptureFixture[str]) -> None:
    view([])
    assert "no " in shown(capsys)
