"""A real Azurite for tests, with the accounts of a local cloud."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from localcloud import node
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, STORE_ACCOUNT, STORE_KEY

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("blob", "queue", "table")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclasses.dataclass
class Azurite:
    """A running Azurite. `stop` and `start` keep its data and its ports."""

    program: list[str]
    folder: Path
    ports: dict[str, int] = dataclasses.field(default_factory=lambda: {kind: free_port() for kind in KINDS})
    process: subprocess.Popen[bytes] | None = None

    def connection_string(self, account: str = STORE_ACCOUNT) -> str:
        """The connection string of one of the two accounts."""
        key = {STORE_ACCOUNT: STORE_KEY, LAKE_ACCOUNT: LAKE_KEY}[account]
        endpoints = ";".join(f"{kind.title()}Endpoint=http://127.0.0.1:{self.ports[kind]}/{account}" for kind in KINDS)
        return f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};{endpoints};"

    def start(self) -> None:
        """Start it, and return when it answers."""
        addresses = [part for kind in KINDS for part in (f"--{kind}Port", str(self.ports[kind]))]
        with (self.folder / "azurite.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "--skipApiVersionCheck", "--disableTelemetry", "--silent",
                 "--location", str(self.folder), *addresses],
                env=os.environ | {"AZURITE_ACCOUNTS": f"{LAKE_ACCOUNT}:{LAKE_KEY};{STORE_ACCOUNT}:{STORE_KEY}"},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while not all(self._answers(port) for port in self.ports.values()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Azurite did not start:\n{(self.folder / 'azurite.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order, so that it saves what it was told."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None

    @staticmethod
    def _answers(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0


def azurite_program() -> list[str] | None:
    """The command that runs Azurite: the checkout's own, or the one that the variable AZURITE names."""
    envs = ROOT / ".envs"
    named = os.environ.get("AZURITE")
    scripts = [envs / "azurite" / "node_modules" / ".bin" / "azurite", *([Path(named)] if named else [])]
    script = next((path.resolve() for path in scripts if path.exists()), None)
    runtime = node.find(envs)
    return [str(runtime), str(script)] if runtime and script else None
