"""The verdict of `make chaos` can fail: each loss and each double that is planted into good evidence is found."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from chaos.evidence import Evidence
from chaos.verdict import judge

LAST = ("lake-2", "e3")


def identity(event: str) -> str:
    return f"identity-of-{event}"


def good() -> Evidence:
    """Two subscriptions; two sets of one lane, the first with two attempts; a cancelled run; a guarded one."""
    events = ["e1", "e2", "e3", "e4", "e5"]
    lanes = {"e1": "a", "e2": "a", "e3": "a", "e4": "b", "e5": "c"}
    journal = [
        {
            "kind": "delivery", "origin": "event_grid", "id": event, "identity": identity(event),
            "matches": [{"route": "curate", "key": lanes[event]}],
        }
        for event in events
    ]  # fmt: skip
    runs = [
        run("curate-a-1", "a", "succeeded", 2, "11"),
        run("curate-a-2", "a", "succeeded", 1, "12"),
        run("curate-b-1", "b", "cancelled", 1, "13"),
        run("curate-c-1", "c", "skipped", 1, None),
    ]
    sets = {"curate-a-1": ["e1", "e2"], "curate-a-2": ["e3"], "curate-b-1": ["e4"], "curate-c-1": ["e5"]}
    journal += [
        {"kind": "delivery", "origin": "sluice", "id": f"{one['run']}-00c0ffee", "identity": one["run"], "matches": []}
        for one in runs
    ]
    return Evidence(
        published=[{"id": event, "topic": "t"} for event in events],
        delivered=[
            {"subscription": name, "id": event, "status": status}
            for name in ("lake-1", "lake-2")
            for event in events
            for status in ((500, 200) if event == "e2" else (200,))
        ],
        given_up=[],
        databricks=[
            *databricks("10", "t1", "curate-a-1", "FAILED"),
            *databricks("11", "t2", "curate-a-1", "SUCCESS"),
            *databricks("12", "t3", "curate-a-2", "SUCCESS"),
            *databricks("13", "t4", "curate-b-1", "CANCELED"),
            {"action": "run_joined", "run_id": 12, "token": "t3"},
        ],
        journal=journal,
        manifests=[
            {"route": "curate", "key": name.split("-")[1], "run": name, "events": entries(ids)}
            for name, ids in sets.items()
        ],
        runs=runs,
        lanes=[
            {"route": "curate", "key": key, "running": running, "collecting": 0}
            for key, running in (("a", None), ("b", None), ("c", None))
        ],
        due=0,
        poison=0,
        poisoned=0,
        cancelled=["curate-b-1"],
    )


def run(name: str, key: str, phase: str, attempt: int, remote: str | None) -> dict[str, Any]:
    return {
        "run": name, "route": "curate", "key": key, "phase": phase, "attempt": attempt, "reason": "because",
        "remote": {"id": remote} if remote else None, "history": [],
    }  # fmt: skip


def databricks(run_id: str, token: str, name: str, result: str) -> list[dict[str, Any]]:
    started = {"action": "run_started", "run_id": int(run_id), "token": token, "parameters": {"run_id": name}}
    return [started, {"action": "run_ended", "run_id": int(run_id), "result_state": result}]


def entries(ids: list[str]) -> list[dict[str, Any]]:
    return [{"identity": identity(event)} for event in ids]


def planted(change: Callable[[dict[str, Any]], object]) -> Evidence:
    """Good evidence with one thing changed."""
    fields = {field.name: copy.deepcopy(getattr(good(), field.name)) for field in dataclasses.fields(Evidence)}
    change(fields)
    return Evidence(**fields)


def test_a_lane_may_have_as_many_runs_at_work_as_its_route_allows() -> None:
    change, _ = DOUBLED["more runs of a lane at work than it may have"]
    assert judge(dataclasses.replace(planted(change), concurrency={"curate": 2})).good


def test_a_route_has_no_more_runs_at_work_than_its_limit() -> None:
    change, _ = DOUBLED["more runs of a lane at work than it may have"]
    evidence = dataclasses.replace(planted(change), concurrency={"curate": 2}, limits={"curate": 1})
    assert judge(evidence).doubled == ["route curate had 2 runs at work at once"]


def test_good_evidence_is_good() -> None:
    verdict = judge(good())
    assert (verdict.lost, verdict.doubled, verdict.left) == ([], [], [])
    assert verdict.good


def started(name: str, token: str, run_id: int = 99) -> dict[str, Any]:
    return databricks(str(run_id), token, name, "SUCCESS")[0]


LOST: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an event that the journal has not": (lambda e: e["journal"].pop(0), "event e1 is not in the journal"),
    "an event never acknowledged to one subscription": (
        lambda e: [row.update(status=503) for row in e["delivered"] if (row["subscription"], row["id"]) == LAST],
        "event e3 was never acknowledged to lake-2",
    ),
    "an event only ever refused": (
        lambda e: [row.update(status=503) for row in e["delivered"] if row["id"] == "e1"],
        "event e1 was never acknowledged to lake-1",
    ),
    "an event that Event Grid gave up": (
        lambda e: e["given_up"].append({"id": "e1", "reason": "too old"}),
        "Event Grid gave up event e1: too old",
    ),
    "an event in no manifest": (
        lambda e: e["manifests"][0]["events"].pop(),
        "event identity-of-e2 is in no manifest of curate/a",
    ),
    "a manifest that is gone": (lambda e: e["manifests"].pop(1), "run curate-a-2 has no manifest"),
    "an attempt that Databricks does not know": (
        lambda e: e["databricks"].pop(0),
        "run curate-a-1 made 2 attempts, Databricks knows 1",
    ),
    "a success that Databricks does not know of": (
        lambda e: e["databricks"][5].update(result_state="FAILED"),
        "run curate-a-2 says succeeded, Databricks run 12 does not",
    ),
    "an end that was not told": (lambda e: e["journal"].pop(), "run curate-c-1 has not raised its event"),
    "no deliveries at all": (lambda e: e.update(delivered=[]), "nothing was delivered"),
    "a cancellation that nobody asked for": (
        lambda e: e.update(cancelled=[]),
        "run curate-b-1 is cancelled and nobody asked for it",
    ),
    "a cancel that was not carried out": (
        lambda e: e["runs"][2].update(phase="failed"),
        "run curate-b-1 was cancelled by an operator and is failed",
    ),
}  # fmt: skip
DOUBLED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a token with two runs": (lambda e: e["databricks"].append(started("curate-a-2", "t3")), "token t3 has 2"),
    "an attempt that was started twice": (
        lambda e: e["databricks"].append(started("curate-a-2", "t9")),
        "run curate-a-2 made 1 attempts, Databricks ran 2",
    ),
    "work for a run that there is not": (
        lambda e: e["databricks"].append(started("curate-z-1", "t9")),
        "Databricks ran for curate-z-1, which is no run",
    ),
    "work for a set that needed none": (
        lambda e: e["databricks"].append(started("curate-c-1", "t9")),
        "run curate-c-1 made 0 attempts, Databricks ran 1",
    ),
    "an event in two manifests": (
        lambda e: e["manifests"][1]["events"].append({"identity": identity("e1")}),
        "event identity-of-e1 is 2 times in manifests of curate/a",
    ),
    "an event twice in one manifest": (
        lambda e: e["manifests"][0]["events"].append({"identity": identity("e1")}),
        "event identity-of-e1 is 2 times",
    ),
    "an event in a manifest that never arrived": (
        lambda e: e["manifests"][0]["events"].append({"identity": "forged"}),
        "event forged in a manifest of curate/a is not in the journal",
    ),
    "two ends told": (
        lambda e: e["journal"].append({**e["journal"][-1], "id": "curate-c-1-0badcafe"}),
        "run curate-c-1 raised 2 events",
    ),
    "two attempts at work at once": (
        lambda e: e["databricks"].insert(3, e["databricks"].pop(1)),
        "run curate-a-1 began its next attempt while Databricks run 10 still worked",
    ),
    "more runs of a lane at work than it may have": (
        lambda e: e["databricks"].insert(5, e["databricks"].pop(3)),
        "lane curate/a had 2 runs at work at once",
    ),
}
LEFT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a run that is not final": (lambda e: e["runs"][0].update(phase="running"), "run curate-a-1 is running: because"),
    "a slot that is held": (lambda e: e["lanes"][0].update(running="curate-a-2"), "lane curate/a holds curate-a-2"),
    "a lane that collects": (lambda e: e["lanes"][1].update(collecting=3), "lane curate/b holds None, collects 3"),
    "rows that are due": (lambda e: e.update(due=2), "2 rows are due"),
    "Databricks work that nobody ended": (
        lambda e: e["databricks"].pop(7),
        "Databricks run 13 of curate-b-1 still lives",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_a_loss_is_found(name: str) -> None:
    change, told = LOST[name]
    verdict = judge(planted(change))
    assert not verdict.good
    assert any(told in line for line in verdict.lost), verdict.lost


@pytest.mark.parametrize("name", DOUBLED)
def test_a_double_is_found(name: str) -> None:
    change, told = DOUBLED[name]
    verdict = judge(planted(change))
    assert not verdict.good
    assert any(told in line for line in verdict.doubled), verdict.doubled


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_behind_is_found(name: str) -> None:
    change, told = LEFT[name]
    verdict = judge(planted(change))
    assert not verdict.good
    assert any(told in line for line in verdict.left), verdict.left
