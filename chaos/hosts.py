"""Several Functions hosts on one store, killed with SIGKILL and started again."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from localcloud import ports
from localcloud.cloud import ROOT, Cloud

VISIBILITY = 5
"""Seconds until a killed host's queue messages come back here; the real host's lease is ten minutes."""

_READY_WITHIN = 90.0
_WORKS_FOR = 3.0
"""A host is killed within so many seconds after it was seen to work, or it would die before it has begun to."""
_LAST_ONE = 0.1


@dataclasses.dataclass
class Host:
    """One Functions host: the same settings as its neighbours, a port and a state folder of its own."""

    cloud: Cloud
    state: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        """Start it; it has not come up when this returns."""
        command = [
            sys.executable, "-m", "localcloud.functions_host", "--app", str(ROOT), "--state", str(self.state),
            "--settings", str(self.cloud.home / "local.settings.json"), "--port", str(self.cloud.ports["functions"]),
        ]  # fmt: skip
        log = self.cloud.home / "logs" / f"{self.state.name}.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=dict(self.environment), stdout=output, stderr=subprocess.STDOUT
            )

    def serves(self) -> bool:
        """Whether it runs the app."""
        return self._answers("/", {})

    def works(self) -> bool:
        """Whether the app in it is put together and has reached its store: from then on it takes part in the work."""
        try:
            keys = json.loads((self.state / "keys.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return self._answers("/api/health", {"x-functions-key": keys["keys"]["host"]["default"]})

    def _answers(self, path: str, headers: Mapping[str, str]) -> bool:
        request = urllib.request.Request(self.cloud.url("functions") + path, headers=dict(headers))
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.kills += 1


class Hosts:
    """All hosts of the cloud."""

    def __init__(self, cloud: Cloud, routes: Path, count: int) -> None:
        settings = cloud.app_settings() | {
            "SLUICE_ROUTES": str(routes), "SLUICE_HOST_QUEUE_VISIBILITY": str(VISIBILITY), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        environment = os.environ | settings
        self.all = [Host(cloud, cloud.home / "host", environment)]
        taken = dict(cloud.ports)
        for number in range(2, count + 1):
            wanted = {name: port for name, port in taken.items() if name != "functions"}
            taken[f"host-{number}"] = port = ports.choose(wanted)["functions"]
            other = dataclasses.replace(cloud, ports={**cloud.ports, "functions": port})
            self.all.append(Host(other, cloud.home / f"host-{number}", environment))

    @property
    def kills(self) -> int:
        """How many were killed so far."""
        return sum(host.kills for host in self.all)

    def start(self) -> None:
        """Start all and wait until they serve."""
        for host in self.all:
            host.start()
        self.wait()

    def wait(self) -> None:
        """Wait until all serve."""
        deadline = time.monotonic() + _READY_WITHIN
        while not all(host.serves() for host in self.all):
            if time.monotonic() > deadline:
                logs = self.all[0].cloud.home / "logs"
                raise TimeoutError(f"not every Functions host came up within {_READY_WITHIN:.0f} s; see {logs}")
            time.sleep(0.2)

    def kill_one(self, dice: random.Random) -> bool:
        """Kill one of those that work, a moment later, and start it again; False when it is not the time to.

        The last one that works is killed one time in ten: were nobody ever up, this would measure how fast hosts start.
        """
        working = [host for host in self.all if host.works()]
        if not working or (len(working) == 1 < len(self.all) and dice.random() > _LAST_ONE):
            return False
        host = dice.choice(working)
        time.sleep(dice.uniform(0.0, _WORKS_FOR))
        host.kill()
        host.start()
        return True

    def end(self) -> None:
        """End them properly."""
        running = [host.process for host in self.all if host.process and host.process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
