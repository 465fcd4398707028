"""Running the Functions host as its own process, as the supervisor does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"
T = TypeVar("T")
_INDEX = """
import sys
from pathlib import Path
from localcloud.functions_host import app_index
try:
    print("indexed", *(function.name for function in app_index.load(Path(sys.argv[1]))))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def index(app: Path) -> str:
    """What this host says of the app in a folder, in a process of its own."""
    command = [sys.executable, "-c", _INDEX, str(app)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


class Answer(NamedTuple):
    """What an HTTP request got."""

    status: int
    body: str
    headers: Mapping[str, str]


def eventually(probe: Callable[[], T], *, within: float = 15.0) -> T:
    """The first truthy answer of `probe`; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen within {within} s; last: {found!r}"
        time.sleep(0.05)


class RunningHost:
    """One host process of one of the fixture apps."""

    def __init__(self, folder: Path, app: Path, values: Mapping[str, str], port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.app = app
        self.port = port or _free_port()
        self.seen_path = Path(values.get("SEEN") or folder / "seen.jsonl")
        self.log_path = folder / "host.log"
        self.settings = folder / "local.settings.json"
        self.settings.write_text(json.dumps({"IsEncrypted": False, "Values": {"SEEN": str(self.seen_path), **values}}))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environ: Mapping[str, str] | None = None) -> RunningHost:
        """Start the process without waiting for it."""
        command = [sys.executable, "-m", "localcloud.functions_host", "--app", str(self.app)]
        command += ["--settings", str(self.settings), "--port", str(self.port), "--state", str(self.folder / "state")]
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environ or {})}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        return self

    def up(self, state: str = "Running") -> RunningHost:
        """Start it, and return when it says that it is in `state`."""
        self.start()
        eventually(lambda: self._state() == state, within=60)
        return self

    def _state(self) -> str:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return str(self.admin("/admin/host/status")["state"])
        except (OSError, ValueError):
            return "not yet"

    @property
    def log(self) -> str:
        """What the host wrote so far."""
        return self.log_path.read_text()

    def seen(self, function: str) -> list[Any]:
        """What the app's function saw, oldest first."""
        if not self.seen_path.exists():
            return []
        rows = [json.loads(line) for line in self.seen_path.read_text().splitlines()]
        return [row["saw"] for row in rows if row["function"] == function]

    @property
    def master(self) -> str:
        """The master key."""
        return str(json.loads((self.folder / "state" / "keys.json").read_text())["master"])

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One HTTP request; `body` is sent as JSON unless it is text or bytes."""
        data = (
            body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        )
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data if body is not None else None, dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.read().decode(), dict(response.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), dict(error.headers))

    def admin(self, path: str) -> Any:
        """The JSON of an operators' endpoint."""
        answer = self.call("GET", path, headers={"x-functions-key": self.master})
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def invoke(self, function: str, text: str) -> int:
        """Invoke a function by hand; the status."""
        headers = {"x-functions-key": self.master, "content-type": "application/json"}
        return self.call("POST", f"/admin/functions/{function}", {"input": text}, headers).status

    def terminate(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
