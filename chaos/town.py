"""The cloud under violence: what starts it, what it works on, and every trouble that is not the killing of a host."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from azure.core.exceptions import AzureError
from azure.mgmt.eventgrid.models import EventSubscription, EventSubscriptionFilter, WebHookEventSubscriptionDestination
from azure.storage.blob import BlobServiceClient
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.service import jobs
from databricks.sdk.service.workspace import ImportFormat

from chaos.hosts import Host
from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, ROOT, STORAGE_ID, Cloud
from localcloud.subscriptions import client, webhook

_UP_WITHIN = 120.0
_TIME_SCALE = "0.01"
_AT_ONCE = 4
"""Databricks runs of the job at once; one more is SKIPPED, which our runs answer with another attempt."""

TASK = "import random, sys, time\nprint('curated', sys.argv[1:])\ntime.sleep(random.uniform(0.2, 2.0))\n"


class Town:
    """A local cloud without a Functions host, under the real supervisor."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._log = ROOT / ".local" / f"{name}.log"
        self._up: subprocess.Popen[bytes] | None = None

    def start(self) -> Cloud:
        """Start it from nothing."""
        self._log.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "localcloud", "up", "--name", self.name, "--fresh", "--no-host"]
        with self._log.open("wb") as log:
            self._up = subprocess.Popen(
                [*command, "--time-scale", _TIME_SCALE],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _UP_WITHIN
        while "is up." not in self.said():
            if self._up.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the local cloud did not come up:\n{self.said()}")
            time.sleep(0.1)
        self.cloud = Cloud.load(self.name)
        self._make_job()
        return self.cloud

    def said(self) -> str:
        """What the supervisor has said: how processes died, and that they are back."""
        return self._log.read_text(encoding="utf-8")

    def end(self, *, keep: bool) -> None:
        """End it; what it recorded stays when `keep` says so."""
        subprocess.run([sys.executable, "-m", "localcloud", "down", "--name", self.name], cwd=ROOT, check=False)
        if self._up is not None:
            self._up.wait(60)
        if not keep:
            shutil.rmtree(ROOT / ".local" / self.name, ignore_errors=True)
            self._log.unlink(missing_ok=True)

    def subscribe(self, hosts: Sequence[Host]) -> None:
        """One subscription a host: each event is delivered to every one of them, in both schemas."""
        for number, host in enumerate(hosts, start=1):
            keyed = Cloud(self._named(host), host.cloud.ports, self.cloud.root)
            endpoint = webhook(keyed)
            wanted = EventSubscription(
                destination=WebHookEventSubscriptionDestination(endpoint_url=endpoint),
                filter=EventSubscriptionFilter(subject_begins_with="", is_subject_case_sensitive=False),
                event_delivery_schema="CloudEventSchemaV1_0" if number % 2 == 0 else "EventGridSchema",
            )
            with client(self.cloud) as management:
                management.event_subscriptions.begin_create_or_update(STORAGE_ID, f"lake-{number}", wanted).result()

    def _named(self, host: Host) -> str:
        """`localcloud.subscriptions` finds a host's key in `<cloud>/host/`: a name under which this host's is there."""
        if host.state == self.cloud.home / "host":
            return self.name
        beside = self.cloud.home / f"{host.state.name}-keys"
        beside.mkdir(exist_ok=True)
        shutil.copytree(host.state, beside / "host", dirs_exist_ok=True)
        return f"{self.name}/{beside.name}"

    def restart_storage(self) -> None:
        """Azurite ends properly (SIGTERM) and is started again."""
        command = [sys.executable, "-m", "localcloud", "restart", "azurite", "--name", self.name]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    def _make_job(self) -> None:
        config = Config(host=self.cloud.url("databricks"), token="local", retry_timeout_seconds=30)
        workspace = WorkspaceClient(config=config)
        workspace.workspace.mkdirs("/Shared/chaos")
        workspace.workspace.upload("/Shared/chaos/task.py", TASK.encode(), format=ImportFormat.RAW)
        names = ("run_id", "manifest")
        task = jobs.SparkPythonTask("/Workspace/Shared/chaos/task.py", parameters=["{{job.parameters.run_id}}"])
        workspace.jobs.create(
            name="chaos",
            parameters=[jobs.JobParameterDefinition(name=name, default="") for name in names],
            tasks=[jobs.Task(task_key="task", spark_python_task=task, environment_key="default")],
            environments=[jobs.JobEnvironment(environment_key="default")],
            max_concurrent_runs=_AT_ONCE,
        )


class Lander(threading.Thread):
    """Lands Delta commits of many tables until it is told to stop; each is repeated until the lake has taken it."""

    def __init__(self, cloud: Cloud, tables: int, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._names = [f"table-{number:02d}" for number in range(tables)]
        self._versions = dict.fromkeys(self._names, 0)
        self._dice, self._done = dice, threading.Event()
        self._lake = BlobServiceClient(
            f"{cloud.url('lake')}/{LAKE_ACCOUNT}", credential=LAKE_KEY, retry_total=0, read_timeout=10
        )
        self.landed = self.repeated = 0

    def run(self) -> None:
        """Land one commit, wait a moment, and so on."""
        while not self._done.wait(self._dice.expovariate(6.0)):
            table = self._dice.choice(self._names)
            self._versions[table] += 1
            self._land(table, self._versions[table], data_change=self._dice.random() < 0.85)

    def stop(self) -> None:
        """Land no more, once the commit at hand is in the lake."""
        self._done.set()
        self.join(120)

    def _land(self, table: str, version: int, *, data_change: bool) -> None:
        add = {"path": "part-0.parquet", "size": 1, "partitionValues": {}, "dataChange": data_change}
        actions = [{"commitInfo": {"operation": "WRITE" if data_change else "OPTIMIZE"}}, {"add": add}]
        body = "\n".join(map(json.dumps, actions))
        blob = self._lake.get_blob_client("bronze", f"{table}/_delta_log/{version:020d}.json")
        while True:
            try:
                blob.upload_blob(body, overwrite=True)
            except AzureError:
                self.repeated += 1
                time.sleep(0.3)
            else:
                self.landed += 1
                return


class Weather(threading.Thread):
    """Keeps the services' faults coming: late, repeated and lost deliveries; 429 and lost answers of Databricks."""

    def __init__(self, cloud: Cloud, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._cloud, self._dice, self._done = cloud, dice, threading.Event()

    def run(self) -> None:
        """Look after the rules until told to stop."""
        while not self._done.wait(1.0):
            if sum(rule["count"] for rule in self._faults("event_grid")) < 150:
                self._faults("event_grid", [self._delivery() for _ in range(300)])
            if not self._faults("databricks") and self._dice.random() < 0.4:
                self._faults("databricks", self._backend())

    def clear(self) -> None:
        """Stop, and take back every fault."""
        self._done.set()
        self.join(30)
        for service in ("event_grid", "databricks"):
            self._faults(service, method="DELETE")

    def _delivery(self) -> dict[str, Any]:
        delay = round(self._dice.uniform(0.0, 5.0), 2)
        kind = self._dice.choices(("late", "reorder", "duplicate", "lose_response"), (80, 10, 5, 5))[0]
        return {"delivery": kind, "delay": delay}

    def _backend(self) -> list[dict[str, Any]]:
        start = {"method": "POST", "path": "run-now$"}
        return self._dice.sample(
            [
                start | {"lose_response": True, "count": 2},
                start | {"status": 429, "retry_after": 1},
                start | {"status": 503},
                {"path": "runs/get", "status": 429, "retry_after": 1, "count": 3},
                {"path": "runs/get", "lose_response": True},
            ],
            k=5,
        )

    def _faults(self, service: str, rules: Any = None, method: str | None = None) -> Any:
        body = None if rules is None else json.dumps(rules).encode()
        address, headers = f"{self._cloud.url(service)}/_faults", {"Content-Type": "application/json"}
        request = urllib.request.Request(address, body, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")
