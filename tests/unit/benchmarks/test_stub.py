"""The backend that every system calls: it remembers effects, and has one for one token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.stub import Stub


@pytest.fixture(scope="module")
def stub() -> Stub:
    return Stub()


def run_now(stub: Stub, token: str, **parameters: str) -> Any:
    asked = {"job_id": 1, "idempotency_token": token, "job_parameters": parameters}
    return stub.answer("/api/2.2/jobs/run-now", "", json.dumps(asked).encode())["run_id"]


def test_a_token_has_one_run_and_one_effect(stub: Stub) -> None:
    before = len(stub.calls)
    assert run_now(stub, "a", event="1") == run_now(stub, "a", event="1") != run_now(stub, "b", event="2")
    assert [dict(call.told) for call in stub.calls[before:]] == [{"event": "1"}, {"event": "2"}]


def test_it_knows_every_job_and_each_run_has_finished(stub: Stub) -> None:
    [job] = stub.answer("/api/2.2/jobs/list", "name=bench-single", b"")["jobs"]
    assert job["settings"]["name"] == "bench-single"
    assert stub.answer("/api/2.2/jobs/runs/get", "run_id=7", b"")["state"]["result_state"] == "SUCCESS"


def test_a_call_is_remembered_with_its_ids(stub: Stub) -> None:
    stub.answer("/call", "", b'{"ids": ["x", "y"]}')
    assert stub.calls[-1].told == {"ids": ["x", "y"]}
