"""Fixture apps in Microsoft's own worker runtime: the harness notices what is wrong, and our host says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import python313, shapes
from tests.function_apps import ACCEPTED, REFUSED, write
from tests.localcloud.functions_hosts import APPS, index


@pytest.mark.parametrize(("source", "said"), REFUSED)
def test_what_the_worker_refuses_our_host_refuses_with_the_same_words(
    worker: Path, tmp_path: Path, source: str, said: str
) -> None:
    write(tmp_path, source)

    found = python313.drive(worker, tmp_path, [], tmp_path)["index"]

    assert not found["ok"]
    assert said in found["error"]
    # The worker adds its search path to the message of a failed import.
    assert found["error"].partition(". Cannot find module.")[0] == index(tmp_path)


@pytest.mark.parametrize("source", ACCEPTED)
def test_what_the_worker_accepts_our_host_accepts(worker: Path, tmp_path: Path, source: str) -> None:
    write(tmp_path, source, before="from __future__ import annotations\n")

    assert python313.drive(worker, tmp_path, [], tmp_path)["index"]["ok"]
    assert index(tmp_path) == "indexed f"


def test_every_trigger_is_invoked_and_what_fails_is_seen_to_fail(worker: Path, tmp_path: Path) -> None:
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "data": {"a": 1}}
    calls = [
        shapes.event_grid("raw", event),
        shapes.event_grid("raw", event | {"subject": "fail"}),
        shapes.event_grid("typed", event | {"eventTime": "2026-01-01T00:00:00+02:00"}),
        shapes.queue("work", "one"),
        shapes.queue("work", "fail"),
        shapes.timer("tick", past_due=True),
        shapes.hub("hub", [b"a", b"\xff"]),
        shapes.http("thing", "req", "POST", "things/7/x", {"id": "7", "tail": "x"}, {"q": "1"}, b"hello"),
        shapes.http("nothing", "req"),
    ]
    seen = tmp_path / "seen.jsonl"

    answer = python313.drive(worker, APPS / "everything", calls, tmp_path, {"SEEN": str(seen)})

    assert answer["index"]["ok"], answer["index"]["error"]
    errors = [result["error"] or "" for result in answer["results"]]
    assert [not error for error in errors] == [True, False, False, True, False, True, False, True, False]
    assert "this event is bad" in errors[1]
    assert "2026-01-01T00:00:00+02:00" in errors[2]
    assert "UnicodeDecodeError" in errors[6]
    assert "unable to encode outgoing TypedData" in errors[8]
    assert answer["results"][3]["outputs"] == {"done": {"json": '["one first", "one second"]'}}
    assert answer["results"][7]["returned"]["http"]["status"] == "201"
    rows = [json.loads(line) for line in seen.read_text().splitlines()]
    assert [row["saw"] for row in rows if row["function"] == "raw"] == [event]
