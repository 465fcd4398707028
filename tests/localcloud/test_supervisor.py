"""A whole local cloud as processes: up, down, what dies, and what goes wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from azure.storage.blob import BlobServiceClient

from localcloud import supervisor
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, ROOT, SERVICES, Cloud


class Run:
    """One `python -m localcloud up`."""

    def __init__(self, root: Path, name: str, *more: str) -> None:
        self.root, self.name = root, name
        self.output = root / f"{name}.txt"
        argv = [sys.executable, "-m", "localcloud", "up", "--name", name, "--root", str(root), "--no-host", *more]
        with self.output.open("w") as file:
            self.process = subprocess.Popen(argv, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)

    @property
    def cloud(self) -> Cloud:
        return Cloud.load(self.name, self.root)

    def wait_for(self, text: str) -> None:
        self.wait(lambda: text in self.output.read_text())

    def wait(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.output.read_text()
            assert self.process.poll() is None or condition(), self.output.read_text()
            time.sleep(0.05)

    def pid(self, part: str) -> int:
        return next(known.pid for known in supervisor.saved_processes(self.cloud.home) if known.name == part)


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "localcloud", *arguments, "--root", str(root)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clouds")
    (root / ".envs").symlink_to(ROOT / ".envs")
    return root


@pytest.fixture(scope="module")
def one(root: Path) -> Iterator[Run]:
    run = Run(root, "one")
    run.wait_for("is up")
    yield run
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(30) == 0


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_up_says_where_everything_is(one: Run) -> None:
    said = one.output.read_text()
    for service in set(SERVICES) - {"functions"}:
        assert one.cloud.url(service) in said
    assert (one.cloud.home / "local.settings.json").exists()


def test_a_name_can_be_up_only_once(one: Run, root: Path) -> None:
    for more in ([], ["--fresh"]):
        done = command(root, "up", "--name", "one", "--no-host", *more)
        assert done.returncode == 1
        assert "is running already" in done.stderr
        assert "sluice down --name one" in done.stderr
    assert one.process.poll() is None


def test_azurite_that_was_stopped_comes_back_with_what_it_knew(one: Run, root: Path) -> None:
    client = BlobServiceClient.from_connection_string(one.cloud.connection_string(LAKE_ACCOUNT, LAKE_KEY))
    client.create_container("kept").upload_blob("a", b"1")
    assert command(root, "restart", "azurite", "--name", "one").returncode == 0
    assert "starting it again" in one.output.read_text()
    assert client.get_blob_client("kept", "a").download_blob().readall() == b"1"


def test_services_that_are_killed_come_back(one: Run) -> None:
    killed = one.pid("services")
    os.kill(killed, signal.SIGKILL)
    one.wait_for("services is back")
    assert one.pid("services") != killed
    assert "services died (signal 9); starting it again" in one.output.read_text()


def test_two_clouds_share_nothing_and_down_ends_only_its_own(one: Run, root: Path) -> None:
    two = Run(root, "two")
    two.wait_for("is up")
    assert not set(one.cloud.ports.values()) & set(two.cloud.ports.values())
    pids = [known.pid for known in supervisor.saved_processes(two.cloud.home)]
    assert len(pids) == 3
    done = command(root, "down", "--name", "two")
    assert done.returncode == 0, done.stderr
    assert two.process.wait(10) == 0
    assert gone(pids)
    assert one.process.poll() is None
    assert "was not running" in command(root, "down", "--name", "two").stdout


def test_what_a_killed_supervisor_left_is_ended_by_the_next_down(root: Path) -> None:
    run = Run(root, "orphaned")
    run.wait_for("is up")
    pids = [run.pid(part) for part in ("azurite", "services")]
    run.process.kill()
    run.process.wait()
    assert not gone(pids)
    done = command(root, "down", "--name", "orphaned")
    assert "azurite" in done.stdout
    assert gone(pids)


def test_fresh_forgets_everything(root: Path) -> None:
    home = root / ".local" / "old"
    home.mkdir(parents=True)
    (home / "something").write_text("x")
    options = supervisor.Options("old", root=root, fresh=True)
    cloud = supervisor.prepare(options)
    assert not (home / "something").exists()
    assert cloud.ca_bundle.exists()


def test_a_stranger_with_a_remembered_process_id_is_left_alone(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        home = root / ".local" / "reused"
        notes = home / "processes" / "children"
        notes.mkdir(parents=True)
        note = f'{{"name": "step", "pid": {stranger.pid}, "created": 1.0}}'
        (notes / f"{stranger.pid}.json").write_text(note)
        assert supervisor.clear_left_over(home) == []
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_an_unknown_name_is_told_with_the_known_ones(root: Path) -> None:
    done = command(root, "down", "--name", "nobody")
    assert done.returncode == 1
    assert "no local cloud is named 'nobody'" in done.stderr


def test_a_name_that_is_no_folder_name_is_refused(root: Path) -> None:
    assert command(root, "up", "--name", "../x").returncode == 2


def test_a_busy_port_is_named(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command(root, "up", "--name", "busy", "--no-host", "--port", f"functions={port}")
    assert done.returncode == 1
    assert f"port {port} of the service 'functions' is busy" in done.stderr


def test_a_missing_azurite_is_told_with_the_fix(tmp_path: Path) -> None:
    done = command(tmp_path, "up", "--name", "bare", "--no-host")
    assert done.returncode == 1
    assert "run `make setup`" in done.stderr
