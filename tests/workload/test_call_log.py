"""The scoring log on its way out: nobody waits for it, nothing is lost within bounds, and what is lost is said."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.localcloud.functions_hosts import eventually
from tests.localcloud.namespaces import Namespace
from tests.workload.conftest import WORKLOAD


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("call_log", WORKLOAD / "scoring" / "call_log.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


call_log = _module()


class Hub:
    """What calls are sent to; it can be away, or hold its callers up."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.away = False
        self.open = threading.Event()
        self.open.set()
        self.asked = 0

    def send(self, calls: list[bytes]) -> None:
        self.asked += 1
        self.open.wait(30)
        if self.away:
            raise ConnectionError("nobody there\nand more")
        self.got += [call.decode() for call in calls]


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def logs(hub: Hub, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(*, most: int = 10_000, **options: Any) -> Any:
        spool = call_log.Spool(tmp_path / "spool", most)
        made.append(call_log.CallLog(hub.send, spool, **({"pause": 0.05} | options)))
        return made[-1]

    yield make
    hub.open.set()
    for log in made:
        log.close()


def note(log: Any, *names: str) -> None:
    for name in names:
        log.note(len(name), lambda name=name: name.encode())


def spooled(folder: Path) -> list[str]:
    return [line for path in sorted((folder / "spool").glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_calls_are_sent_in_order(hub: Hub, logs: Callable[..., Any]) -> None:
    log = logs()
    note(log, *"abc")
    eventually(lambda: hub.got == ["a", "b", "c"])


def test_nobody_waits_while_the_hub_holds_its_callers_up(hub: Hub, logs: Callable[..., Any]) -> None:
    hub.open.clear()
    log = logs()
    note(log, "a")
    eventually(lambda: hub.asked == 1)
    note(log, "b", "c")  # returns though "a" hangs
    assert hub.got == []
    hub.open.set()
    eventually(lambda: hub.got == ["a", "b", "c"])


def test_the_buffer_is_bounded_and_what_does_not_fit_is_said(
    hub: Hub, logs: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub.open.clear()
    log = logs(most_waiting=3)
    note(log, "x")
    eventually(lambda: hub.asked == 1)
    note(log, *"abcde")
    assert log.dropped == 2
    assert "the buffer is full: so far 2 calls are not in the scoring log" in caplog.text
    hub.open.set()
    eventually(lambda: hub.got == ["x", "a", "b", "c"])


def test_while_the_hub_is_away_calls_wait_on_disk_and_are_sent_when_it_is_back(
    hub: Hub, logs: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hub.away = True
    log = logs()
    note(log, "a", "b")
    eventually(lambda: spooled(tmp_path) == ["a", "b"])
    assert "cannot be reached (nobody there): calls are kept in" in caplog.text
    hub.away = False
    eventually(lambda: hub.got == ["a", "b"])
    eventually(lambda: "answers again: 2 spooled calls were sent" in caplog.text)
    assert spooled(tmp_path) == []
    note(log, "c")
    eventually(lambda: hub.got == ["a", "b", "c"])


def test_the_spool_is_bounded_and_what_does_not_fit_is_said(
    hub: Hub, logs: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.away = True
    log = logs(most=6, pause=60)
    note(log, *"abcde")
    eventually(lambda: log.dropped == 2)
    assert spooled(tmp_path) == ["a", "b", "c"]
    assert f"the spool {tmp_path / 'spool'} is full: so far 1 calls" in caplog.text


def test_what_an_ended_process_left_on_disk_is_sent_by_the_next(
    hub: Hub, logs: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "999999999-1.jsonl").write_text('old\n{"torn')
    (tmp_path / "spool" / "1-1.jsonl").write_text("of a process that runs\n")
    note(logs(), "new")
    eventually(lambda: hub.got == ["old", "new"])
    assert spooled(tmp_path) == ["of a process that runs"]


def test_the_end_spools_what_could_not_be_sent(hub: Hub, logs: Callable[..., Any], tmp_path: Path) -> None:
    hub.open.clear()
    log = logs()
    note(log, "stuck")
    eventually(lambda: hub.asked == 1)
    note(log, "waiting")
    log.close(0.1)
    assert spooled(tmp_path) == ["stuck", "waiting"]


def test_a_call_that_cannot_be_written_out_does_not_stop_the_others(hub: Hub, logs: Callable[..., Any]) -> None:
    log = logs()
    log.note(1, lambda: 1 / 0)
    note(log, "after")
    eventually(lambda: hub.got == ["after"])


def test_a_record_is_one_line_of_json_whatever_the_request_looked_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_NAME", "demand")
    monkeypatch.setenv("DEPLOYMENT_NAME", "v7-abc")
    facts = {"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "latency_ms": 1.5, "levels": {"a": 2.0}, "shadow": True}
    answer = {"predictions": {"a": [1.0, float("nan")]}}
    body = b'{\r\n "origin": "x"\n}'
    line = call_log.record(request_id="r", status=200, body=body, answer=answer, **facts)
    assert b"\n" not in line
    told = json.loads(line)
    assert told["inputs"] == {"origin": "x"}
    assert told["outputs"] == {"predictions": {"a": [1.0, None]}}
    assert (told["endpoint"], told["deployment"], told["shadow"]) == ("demand", "v7-abc", True)
    refused = json.loads(call_log.record(request_id="", status=400, body=b"{", answer={"error": "no"}, **facts))
    assert refused["inputs"] is None
    assert len(refused["id"]) == 32


# -- with a real hub -----------------------------------------------------------------------------------------------


def test_through_a_real_hub_that_goes_and_comes_back(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"": "one", "_CONNECTION": namespace.text}.items():
        monkeypatch.setenv(f"SCORING_HUB{name}", value)
    monkeypatch.setenv("SCORING_SPOOL", str(tmp_path / "spool"))
    log = call_log.open_log()
    with contextlib.closing(log):
        note(log, "before")
        eventually(lambda: sum(row["count"] for row in namespace.received("one")) == 1, within=60)
        namespace.stop()
        note(log, "while it is away")
        eventually(lambda: spooled(tmp_path) == ["while it is away"], within=60)
        namespace.start()
        eventually(lambda: sum(row["count"] for row in namespace.received("one")) == 2, within=60)
    assert spooled(tmp_path) == []


def test_without_a_hub_there_is_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCORING_HUB", raising=False)
    assert call_log.open_log() is None


def test_many_calls_fill_several_batches() -> None:
    class Batch(list[str]):
        def add(self, event: str) -> None:
            if len("".join(self)) + len(event) > 4:
                raise ValueError("full")
            self.append(event)

    found = [list(batch) for batch in call_log.batches(Batch, ["aa", "bb", "cc", "too large", "d"])]
    assert found == [["aa", "bb"], ["cc"], ["d"]]
