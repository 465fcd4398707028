"""The stage: a fresh local cloud with the app on it, and how programs reach both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo import rules
from demo.report import StepFailed
from localcloud.cloud import ROOT, Cloud

UP_WITHIN = 120.0
DOWN_WITHIN = 30.0


class Stage:
    """One local cloud, from its start to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.home = ROOT / ".local" / name
        self._log = ROOT / ".local" / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ours = False

    @property
    def cloud(self) -> Cloud:
        """The running cloud."""
        return Cloud.load(self.name)

    def start(self) -> None:
        """Start a cloud that knows nothing.  Raises StepFailed with what it said."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "localcloud", "up", "--name", self.name, "--fresh"]
        routes = rules.write(ROOT / ".local" / f"{self.name}-routes.yaml")
        env = os.environ | {"SLUICE_ROUTES": str(routes)}
        with self._log.open("wb") as log:
            # A session of its own, so that Ctrl-C reaches us alone and we end it in order.
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + UP_WITHIN
        while b"is up." not in self._log.read_bytes():
            self.check()
            if time.monotonic() > deadline:
                raise StepFailed(f"the local cloud did not come up within {UP_WITHIN:.0f} s:\n{tail(self._log)}")
            time.sleep(0.1)
        self._is_ours = True
        # Every client of this process, the Delta library included, reads these.
        os.environ.update(self.cloud.app_settings() | self.cloud.workload_environment())

    def check(self) -> None:
        """Raise StepFailed when the cloud has ended."""
        if self._process is not None and self._process.poll() is not None:
            status = self._process.returncode
            raise StepFailed(f"the local cloud ended with status {status}:\n{tail(self._log)}")

    def end(self) -> None:
        """End the cloud and everything that it started; its state stays.  A cloud of somebody else is left alone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(DOWN_WITHIN)
        if self._is_ours:
            down = [sys.executable, "-m", "localcloud", "down", "--name", self.name]
            subprocess.run(down, cwd=ROOT, capture_output=True, check=False)

    def run(self, *module: str) -> str:
        """Run a Python module as a program of this cloud; what it said.  Raises StepFailed."""
        return _said([sys.executable, "-m", *module])

    def script(self, *words: object) -> str:
        """Run a Python file as a program of this cloud; what it said.  Raises StepFailed."""
        return _said([sys.executable, *map(str, words)])

    def ask(self, path: str) -> Any:
        """What the app answers at `/api/<path>`; None while it does not answer."""
        request = urllib.request.Request(f"{self.cloud.url('functions')}/api/{path}", headers=self._key())
        try:
            with _opener().open(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code in {502, 503}:
                return None
            raise StepFailed(f"/api/{path} answered {error.code}: {error.read()[:500].decode()}") from None
        except (OSError, ValueError):
            # The host may be starting again; the caller asks until its own time is up.
            return None

    def post(self, url: str, body: Any, headers: dict[str, str]) -> int:
        """Post JSON until somebody answers, for 30 s at most; the status of the answer.  Raises StepFailed."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
        deadline = time.monotonic() + 30
        while True:
            try:
                with _opener().open(request, timeout=20) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StepFailed(f"{url.partition('?')[0]} does not answer: {error}") from None
            self.check()
            time.sleep(0.3)

    def _key(self) -> dict[str, str]:
        keys = json.loads((self.home / "host" / "keys.json").read_text(encoding="utf-8"))
        return {"x-functions-key": keys["keys"]["host"]["default"]}

    def newest_logs(self, count: int = 3) -> Iterator[Path]:
        """The logs that were written to last."""
        logs = [*self.home.glob("logs/*.log"), *self.home.glob("**/log.txt"), *self.home.glob("databricks/**/*.log")]
        yield from sorted(set(logs), key=lambda log: log.stat().st_mtime, reverse=True)[:count]


def _said(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise StepFailed(f"`python {' '.join(command[1:])}` ended with status {done.returncode}:\n{said}")
    return done.stdout.strip()


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, with its name."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError as error:
        return f"({log}: {error})"
    return "\n".join([f"the end of {log.relative_to(ROOT)}:", *(f"  {line[:300]}" for line in text)])


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
