"""Where Sluice is measured: an Azurite, and Functions hosts on it; the stub stands for all other services."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil

from benchmarks.counting import Relay
from benchmarks.stub import Stub
from chaos.hosts import Host, Hosts
from localcloud import azurite, certificates, ports
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, STORE_ACCOUNT, STORE_KEY, Cloud
from localcloud.subscriptions import master_key, webhook

ROUTES = Path(__file__).with_name("routes.yaml")
_SETTINGS = {
    # Optional in the app's settings, and absent here: nobody outside listens.
    "EVENTGRID_TOPIC_ENDPOINT": "", "APPLICATIONINSIGHTS_CONNECTION_STRING": "",
    # No hub is served here: its function is invoked by hand, with the batches that a hub would deliver.
    "AzureWebJobs.event_hub.Disabled": "true", "AzureWebJobs.scoring_log.Disabled": "true",
    # Built from all that was journalled, every five minutes: it would be in some rounds and not in others.
    "AzureWebJobs.upkeep.Disabled": "true",
    # As in Azure; no host is killed here.
    "SLUICE_HOST_QUEUE_VISIBILITY": "600",
}  # fmt: skip
_LOUD = re.compile(r" (?:ERROR|WARNING|CRITICAL) ")


class Ground:
    """One store.  `in_memory` keeps Azurite from saving it every five seconds, which takes long when it is large."""

    def __init__(self, name: str, stub: Stub, *, in_memory: bool = False) -> None:
        chosen = ports.choose({"identity": stub.port, "databricks": stub.port})
        self.cloud, self._in_memory = Cloud(name, chosen), in_memory
        self._azurite: subprocess.Popen[bytes] | None = None
        self._hosts: list[Hosts] = []

    @property
    def connection(self) -> str:
        """The store's connection string."""
        return self.cloud.connection_string(STORE_ACCOUNT, STORE_KEY)

    def start(self) -> None:
        """Start Azurite with nothing in it."""
        home = self.cloud.home
        shutil.rmtree(home, ignore_errors=True)
        for folder in (home / "azurite", home / "logs"):
            folder.mkdir(parents=True)
        self.cloud.save()
        certificates.prepare(self.cloud)
        command = azurite.command(self.cloud)
        if self._in_memory:
            at = command.index("--location")
            command = [*command[:at], *command[at + 2 :], "--inMemoryPersistence"]
        environment = os.environ | {"AZURITE_ACCOUNTS": f"{LAKE_ACCOUNT}:{LAKE_KEY};{STORE_ACCOUNT}:{STORE_KEY}"}
        with (home / "logs" / "azurite.log").open("ab") as log:
            self._azurite = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not all(ports.answers(self.cloud.ports[f"azurite_{kind}"]) for kind in ("blob", "queue", "table")):
            if self._azurite.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Azurite did not come up; see {home / 'logs' / 'azurite.log'}")
            time.sleep(0.1)

    def hosts(self, count: int = 1, relay: Relay | None = None) -> Hosts:
        """Start Functions hosts on the store, past a relay that counts where there is one."""
        past = relay.ports if relay else {}
        where = dataclasses.replace(self.cloud, ports={**self.cloud.ports, **past})
        hosts = Hosts(where, ROUTES, count)
        for host in hosts.all:
            host.environment = {**host.environment, **_SETTINGS}
        self._hosts.append(hosts)
        hosts.start()
        return hosts

    def end(self) -> None:
        """End what runs here, and forget the store; the hosts' logs stay until the next run."""
        while self._hosts:
            self._hosts.pop().end()
        if self._azurite is not None:
            self._azurite.terminate()
            try:
                self._azurite.wait(20)
            except subprocess.TimeoutExpired:
                self._azurite.kill()
                self._azurite.wait()
        shutil.rmtree(self.cloud.home / "azurite", ignore_errors=True)

    def azurite(self) -> psutil.Process:
        """Azurite's process."""
        assert self._azurite is not None
        return psutil.Process(self._azurite.pid)


def address(host: Host) -> str:
    """The webhook of a host's Event Grid function, with its key."""
    return webhook(_keyed(host))


def keys(host: Host) -> tuple[str, str]:
    """A host's function key and its master key."""
    known = json.loads((host.state / "keys.json").read_text(encoding="utf-8"))
    return str(known["keys"]["host"]["default"]), master_key(_keyed(host))


def loud_lines(host: Host, most: int = 200) -> list[str]:
    """The newest warnings and errors of a host's log, with what belongs to them."""
    log = host.cloud.home / "logs" / f"{host.state.name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted, keep = [], False
    for line in lines:
        keep = bool(_LOUD.search(line)) or (keep and not re.match(r"\d{4}-\d\d-\d\dT", line))
        if keep:
            wanted.append(line)
    return wanted[-most:]


def _keyed(host: Host) -> Cloud:
    """`localcloud.subscriptions` finds a host's key in `<cloud>/host/`: a name under which this host's is there."""
    if host.state.name == "host":
        return host.cloud
    beside = host.cloud.home / f"{host.state.name}-keys"
    beside.mkdir(exist_ok=True)
    shutil.copytree(host.state, beside / "host", dirs_exist_ok=True)
    return Cloud(f"{host.cloud.name}/{beside.name}", host.cloud.ports, host.cloud.root)
