"""The command line without a control plane: statuses, messages, JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from console import local, main, questions
from console.local import Problem


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local clouds live in a folder of the test's own, and the environment names no store."""
    monkeypatch.setattr(local, "ROOT", tmp_path)
    for setting in local.STORE_SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    return tmp_path


def save(root: Path, name: str, pid: int, created: float) -> None:
    home = root / ".local" / name
    home.mkdir(parents=True)
    saved = {
        "name": name,
        "ports": {"functions": 1, "arm": 2},
        "processes": [{"name": "supervisor", "pid": pid, "created": created}],
    }
    (home / "cloud.json").write_text(json.dumps(saved))
    (home / "local.settings.json").write_text(json.dumps({"Values": {"SLUICE_OF_THE_TEST": name}}))


def test_a_wrong_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["sing"], ["events", "--outcome", "lost"], ["events", "--limit", "0"], ["explain"]):
        with pytest.raises(SystemExit) as ended:
            main.main(arguments)
        assert ended.value.code == 2
    assert "is not a whole number above 0" in capsys.readouterr().err


def test_without_a_cloud_it_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["runs", "--name", "mine"]) == 1
    assert "there is no local cloud 'mine' (there is none yet); `sluice up --name mine`" in capsys.readouterr().err


def test_an_error_is_json_when_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["runs", "--json"]) == 1
    assert "no local cloud 'default'" in json.loads(capsys.readouterr().out)["error"]


def test_another_cloud_is_named_when_there_is_one(elsewhere: Path) -> None:
    save(elsewhere, "yours", os.getpid(), 0.0)
    with pytest.raises(Problem, match="there are yours"):
        local.enter("mine")


def test_a_process_of_the_same_number_that_began_at_another_time_is_another_process(elsewhere: Path) -> None:
    save(elsewhere, "gone", os.getpid(), psutil.Process().create_time() - 60)
    with pytest.raises(Problem, match="'gone' is not running"):
        local.enter("gone")


def test_a_running_cloud_lends_its_settings(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    save(elsewhere, "mine", os.getpid(), psutil.Process().create_time())
    assert local.enter("mine") == "mine"
    assert os.environ["SLUICE_OF_THE_TEST"] == "mine"
    assert local.addresses("mine")["urls"] == {"functions": "http://127.0.0.1:1", "arm": "https://127.0.0.1:2"}


def test_an_environment_that_names_a_store_is_used_unless_a_cloud_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SluiceStorage__accountName", "theirs")
    assert local.enter(None) is None
    with pytest.raises(Problem, match="no local cloud 'mine'"):
        local.enter("mine")


def test_faults_of_the_configuration_are_all_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SluiceStorage", "AccountName=x")
    for name in ("AZURE_LOCATION", "AZUREML_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    assert main.main(["lanes"]) == 1
    said = capsys.readouterr().err
    assert "setting AZURE_LOCATION is missing" in said
    assert "setting AZUREML_WORKSPACE is missing" in said


def test_status_is_1_when_something_is_not_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer: dict[str, Any] = {"ok": False, "cloud": None}
    monkeypatch.setattr(questions, "status", lambda _: answer)
    assert main.main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == answer
