"""A person who cancels runs in the middle of their work, and has some tried again, with the product's own command."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.evidence import ask
from chaos.hosts import Host
from localcloud.cloud import ROOT

_ROUTE = "curate"
_WORKING = ("starting", "running")


class Operator(threading.Thread):
    """Cancels or retries a run now and then; `cancelled` are those that the command said it has cancelled."""

    def __init__(self, hosts: Sequence[Host], routes: Path, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._host, self._routes, self._dice = hosts[0], routes, dice
        self._done = threading.Event()
        self.cancelled: list[str] = []
        self.retried: list[str] = []

    def run(self) -> None:
        """Look, cancel one of those that work, or retry one that was cancelled, wait."""
        while not self._done.wait(self._dice.uniform(3.0, 12.0)):
            runs = [row for row in self._runs() if row["route"] == _ROUTE]
            working = [str(row["run"]) for row in runs if row["phase"] in _WORKING]
            stopped = [str(row["run"]) for row in runs if row["phase"] == "cancelled"]
            if stopped and self._dice.random() < 0.4:
                self._say("retry", self._dice.choice(stopped), self.retried)
            elif working:
                self._say("cancel", self._dice.choice(working), self.cancelled)

    def stop(self) -> None:
        """Cancel no more, once the command at hand has answered."""
        self._done.set()
        self.join(120)

    def _runs(self) -> Sequence[Mapping[str, object]]:
        """What the app says of its runs; nothing while the host that is asked is dead."""
        try:
            return ask(self._host.cloud, "runs")
        except (urllib.error.URLError, OSError, json.JSONDecodeError):
            return []

    def _say(self, word: str, run: str, done_to: list[str]) -> None:
        """`sluice cancel RUN` or `sluice retry RUN`; a refusal (it has ended, the store is away) is as good as none."""
        command = [sys.executable, "-m", "console.main", word, run, "--name", self._host.cloud.name]
        environment = os.environ | {"SLUICE_ROUTES": str(self._routes)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=100, check=False)
        if done.returncode == 0:
            done_to.append(run)
