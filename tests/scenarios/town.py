"""The whole app on a local cloud, as the outside world meets it: blobs, webhook, HTTP API, records."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from azure.ai.ml import MLClient
from azure.storage.blob import BlobServiceClient
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from demand_forecasting.publish_azureml import connect
from localcloud.cloud import (
    LAKE_ACCOUNT,
    LAKE_KEY,
    REGISTRY_ID,
    RESOURCE_GROUP,
    ROOT,
    STORAGE_ID,
    SUBSCRIPTION,
    WORKSPACE,
    WORKSPACE_ID,
    Cloud,
)
from localcloud.subscriptions import Identity, webhook

T = TypeVar("T")
Row = Mapping[str, Any]
SOURCES = {"Storage": STORAGE_ID, "ContainerRegistry": REGISTRY_ID, "MachineLearningServices": WORKSPACE_ID}
ENDED = {"succeeded", "failed", "skipped", "cancelled"}


def eventually(look: Callable[[], T | None], seconds: float = 30.0) -> T:
    """The first answer of `look` that is true; fails with the last one."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not come true within {seconds:.0f} s; last: {found!r}"
        time.sleep(0.1)
    return found


def event(type_: str, subject: str, data: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """An event as Event Grid delivers it; `type_` without `Microsoft.`."""
    return {
        "id": str(uuid.uuid4()),
        "topic": SOURCES[type_.partition(".")[0]],
        "subject": subject,
        "eventType": f"Microsoft.{type_}",
        "eventTime": "2026-01-05T06:07:08.1234567Z",
        "dataVersion": "1",
        "metadataVersion": "1",
        "data": dict(data),
    } | changes


class Town:
    """A local cloud with the app."""

    def __init__(self, name: str, routes: Path | None = None) -> None:
        self.name = name
        self._env = os.environ | ({"SLUICE_ROUTES": str(routes)} if routes else {})
        self._log = ROOT / ".local" / f"{name}.log"
        self._up: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the Event Grid subscriptions."""
        self._log.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "localcloud", "up", "--name", self.name, "--fresh", "--subscribe"]
        with self._log.open("wb") as log:
            self._up = subprocess.Popen(
                [*command, "--time-scale", "0.01"],
                cwd=ROOT, env=self._env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        eventually(self._is_up, 90)
        self.cloud = Cloud.load(self.name)
        self._webhook = webhook(self.cloud)
        keys = json.loads((self.cloud.home / "host" / "keys.json").read_text(encoding="utf-8"))
        self._key = keys["keys"]["host"]["default"]

    def _is_up(self) -> bool:
        said = self._log.read_text(encoding="utf-8")
        assert self._up is not None
        assert self._up.poll() is None, f"the local cloud did not come up:\n{said}"
        return "is up." in said

    def end(self) -> None:
        """End it and forget what it knew."""
        subprocess.run([sys.executable, "-m", "localcloud", "down", "--name", self.name], cwd=ROOT, check=False)
        if self._up is not None:
            self._up.wait(30)
        shutil.rmtree(ROOT / ".local" / self.name, ignore_errors=True)
        self._log.unlink(missing_ok=True)

    @property
    def lake(self) -> BlobServiceClient:
        """The lake, through the front that raises events."""
        return BlobServiceClient(f"{self.cloud.url('lake')}/{LAKE_ACCOUNT}", credential=LAKE_KEY)

    @property
    def databricks(self) -> WorkspaceClient:
        """The Databricks workspace."""
        return WorkspaceClient(config=Config(host=self.cloud.url("databricks"), token="local", retry_timeout_seconds=5))

    @property
    def workspace(self) -> MLClient:
        """The Azure ML workspace."""
        manager = self.cloud.url("arm")
        return connect(Identity(self.cloud), SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE, resource_manager=manager)

    def land(self, table: str, version: int, *, data_change: bool = True) -> str:
        """Write a Delta commit of bronze; the id of the event that it raised."""
        add = {"path": "part-0.parquet", "size": 1, "partitionValues": {}, "dataChange": data_change}
        actions = [{"commitInfo": {"operation": "WRITE" if data_change else "OPTIMIZE"}}, {"add": add}]
        blob = f"{table}/_delta_log/{version:020d}.json"
        self.lake.get_blob_client("bronze", blob).upload_blob("\n".join(map(json.dumps, actions)))
        published = eventually(
            lambda: [row for row in self._published() if row["subject"].endswith(f"bronze/blobs/{blob}")]
        )
        return str(published[-1]["id"])

    def _published(self) -> list[dict[str, Any]]:
        return self.cloud.records("event_grid", "published")

    def deliver(self, *events: Any, cloud_events: bool = False) -> int:
        """Deliver to the webhook as Event Grid does; the status of the answer."""
        body = json.dumps(events[0] if cloud_events else list(events)).encode()
        kind = "application/cloudevents+json" if cloud_events else "application/json"
        return self._send(self._webhook, body, {"aeg-event-type": "Notification", "Content-Type": kind})[0]

    def post_raw(self, body: bytes) -> tuple[int, bytes]:
        """Send any bytes to the webhook; status and body of the answer."""
        return self._send(self._webhook, body, {"aeg-event-type": "Notification", "Content-Type": "application/json"})

    def api(self, path: str, *, method: str = "GET", key: str | None = None) -> tuple[int, Any]:
        """Status and answer of the app's HTTP API."""
        address = f"{self.cloud.url('functions')}/api/{path}"
        status, body = self._send(address, None, {"x-functions-key": key or self._key}, method)
        # A host that is starting answers with plain text.
        return status, json.loads(body) if body[:1] in (b"{", b"[") else None

    def _send(
        self, address: str, body: bytes | None, headers: Mapping[str, str], method: str | None = None
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(address, body, dict(headers), method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return 0, json.dumps({"error": str(error)}).encode()

    def runs(self, route: str, key: str) -> list[Row]:
        """The runs of a lane, the oldest first."""
        status, rows = self.api("runs")
        found = [row for row in rows if (row["route"], row["key"]) == (route, key)] if status == 200 else []
        return found[::-1]

    def ended(self, route: str, key: str, *, count: int = 1, seconds: float = 40.0) -> list[Row]:
        """The runs of a lane, once `count` of them have ended."""

        def look() -> list[Row]:
            found = [row for row in self.runs(route, key) if row["phase"] in ENDED]
            return found if len(found) >= count else []

        return eventually(look, seconds)

    def deliveries(self, event_id: str | None = None, **filters: str) -> list[Row]:
        """What the journal says, the newest first; of one event when it is named."""
        query = "&".join(f"{name}={value}" for name, value in ({"limit": "1000"} | filters).items())
        status, rows = self.api(f"events?{query}")
        found = rows if status == 200 else []
        return [row for row in found if event_id in (None, row["id"])]

    def process(self, part: str) -> int:
        """The id of a process of the cloud, as its supervisor knows it now."""
        saved = json.loads((self.cloud.home / "cloud.json").read_text(encoding="utf-8"))["processes"]
        return int(next(row["pid"] for row in saved if row["name"] == part))

    def manage(self, *arguments: str) -> str:
        """`python -m localcloud <arguments> --name <name>`; what it said."""
        command = [sys.executable, "-m", "localcloud", *arguments, "--name", self.name]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def sluice(self, *arguments: str) -> tuple[int, Any, str]:
        """`sluice <arguments> --json`: status, answer, and what went to standard error."""
        command = [sys.executable, "-m", "console.main", *arguments, "--json", "--name", self.name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout), done.stderr


def documented(folder: Path) -> Sequence[tuple[str, dict[str, Any]]]:
    """Every documented example event with the name of its file."""
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]
