"""The `sluice` command on a running cloud: every answer as JSON, every failure with its status and what to do."""

from __future__ import annotations

import pytest

from tests.scenarios.town import Row, Town, event, eventually


@pytest.fixture(scope="module")
def known(town: Town) -> str:
    """The id of an event with a finished run."""
    model = event("MachineLearningServices.ModelRegistered", "m", {"modelName": "asked", "modelVersion": 1})
    assert town.deliver(model) == 202
    town.ended("registered", "asked:1")
    return str(model["id"])


def test_status_says_what_runs(town: Town, known: str) -> None:
    status, answer, _ = town.sluice("status")
    assert status == 0
    assert answer["ok"]
    assert {part["name"] for part in answer["processes"]} == {"supervisor", "azurite", "services", "functions"}
    assert answer["host"]["state"] == "Running"
    assert answer["deliveries"]["deliveries"] >= answer["deliveries"]["routed"] >= 1
    assert answer["runs"]["succeeded"] >= 1


def test_events_runs_and_lanes_list_what_there_is(town: Town, known: str) -> None:
    _, events, _ = town.sluice("events", "--outcome", "routed", "--limit", "1000")
    assert known in [row["id"] for row in events]
    assert {row["outcome"] for row in events} == {"routed"}
    assert "asked:1" in [row["key"] for row in town.sluice("runs")[1]]
    assert "asked:1" in [row["key"] for row in town.sluice("lanes")[1]]


def test_explain_and_replay_tell_of_one_event(town: Town, known: str) -> None:
    status, told, _ = town.sluice("explain", known)
    assert (status, told["led_to"][0]["key"]) == (0, "asked:1")
    status, again, _ = town.sluice("replay", known)
    assert (status, again["receipts"][0]["outcome"]) == (0, "duplicate")


def test_an_event_that_the_journal_lacks_is_said_to_be_missing(town: Town) -> None:
    status, answer, _ = town.sluice("explain", "never-seen")
    assert status == 1
    assert "no event with id 'never-seen'" in answer["error"]


def test_a_failed_run_is_worked_on_again_and_a_run_that_succeeded_is_not(town: Town) -> None:
    digest = f"sha256:{'0' * 64}"
    image = {"target": {"repository": "demand-forecast", "digest": digest, "tag": "9"}}
    pushed = {"id": "retry-me", "topic": "/r", "subject": "demand-forecast:9", "data": image, "dataVersion": "1"}
    town.deliver(pushed | {"eventType": "Microsoft.ContainerRegistry.ImagePushed", "eventTime": "2026-01-01T00:00:00Z"})

    def before() -> list[Row]:
        rows = town.runs("release", "demand-forecast")
        return rows if rows and rows[-1]["result"].get("digest") == digest and rows[-1]["phase"] == "failed" else []

    count = len(eventually(before))
    name = before()[-1]["run"]
    status, answer, _ = town.sluice("retry", name)
    assert status == 0
    assert "is queued" in answer["said"]

    def again() -> list[Row]:
        rows = town.runs("release", "demand-forecast")
        return [row for row in rows if (row["run"], row["attempt"], row["phase"]) == (name, 2, "failed")]

    eventually(again)
    status, answer, _ = town.sluice("retry", name, "--force-new")
    assert "joins generation" in answer["said"]
    eventually(lambda: [row for row in town.runs("release", "demand-forecast")[count:] if row["ended"]])
    status, answer, _ = town.sluice("cancel", "no-such-run")
    assert status == 1
    assert "`sluice runs` lists" in answer["error"]
