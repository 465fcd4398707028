"""Azurite, Microsoft's storage emulator, with the accounts of one local cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path

from localcloud import node
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, STORE_ACCOUNT, STORE_KEY, Cloud
from localcloud.processes import Processes

STOP_WITHIN = 10.0
"""Azurite writes its tables when it is asked to end; killed earlier, it loses the last seconds."""


class AzuriteMissing(Exception):
    """Azurite or Node.js is not installed in this checkout."""


def command(cloud: Cloud) -> list[str]:
    """The command line that serves the blobs, queues and tables of `cloud`."""
    envs = cloud.root / ".envs"
    program = envs / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    runtime = node.find(envs)
    if runtime is None or not program.exists():
        raise AzuriteMissing(f"Azurite is not installed under {program.parent.parent}; run `make setup`")
    addresses = [
        part
        for kind in ("blob", "queue", "table")
        for part in (f"--{kind}Host", "127.0.0.1", f"--{kind}Port", str(cloud.ports[f"azurite_{kind}"]))
    ]
    # The SDKs speak newer API versions than Azurite knows, and refusing them is its default.
    return [
        str(runtime), str(program), "--skipApiVersionCheck", "--disableTelemetry", "--silent",
        "--location", str(cloud.home / "azurite"), *addresses,
    ]  # fmt: skip


async def start(cloud: Cloud, processes: Processes) -> asyncio.subprocess.Process:
    """Start Azurite for `cloud`; it keeps its state in `.local/<name>/azurite/`."""
    (cloud.home / "azurite").mkdir(parents=True, exist_ok=True)
    accounts = f"{LAKE_ACCOUNT}:{LAKE_KEY};{STORE_ACCOUNT}:{STORE_KEY}"
    log: Path = cloud.home / "logs" / "azurite.log"
    environment = {"AZURITE_ACCOUNTS": accounts}
    return await processes.start("azurite", command(cloud), env=environment, cwd=cloud.home, log=log)
