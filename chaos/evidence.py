"""What is read afterwards: the backends' own records on one side, the journal and the store on the other."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from azure.data.tables import TableServiceClient
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueServiceClient

from localcloud.cloud import STORAGE_ID, STORE_ACCOUNT, STORE_KEY, Cloud

Row = Mapping[str, Any]

# Names of the store as docs/architecture.md has them; the product's code is not asked what it wrote.
CONTAINER, DUE = "sluice", "sluicedue"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One reading of everything.

    `cancelled` are the runs whose cancelling an operator was told has worked, `asked_to_cancel` all that were asked
    for; `concurrency` is how many runs a lane of a route may have at work, 1 where it says nothing, `limits` how many
    all lanes of a route may have together.
    """

    published: Sequence[Row]
    delivered: Sequence[Row]
    given_up: Sequence[Row]
    databricks: Sequence[Row]
    journal: Sequence[Row]
    manifests: Sequence[Row]
    runs: Sequence[Row]
    lanes: Sequence[Row]
    due: int
    poison: int
    poisoned: int
    cancelled: Sequence[str] = ()
    asked_to_cancel: Sequence[str] = ()
    concurrency: Mapping[str, int] = dataclasses.field(default_factory=dict)
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Reader:
    """Reads the evidence of one cloud under these routes."""

    def __init__(self, cloud: Cloud, routes: Path) -> None:
        self._cloud = cloud
        self._routes = yaml.safe_load(routes.read_text(encoding="utf-8"))["routes"]
        connection = cloud.connection_string(STORE_ACCOUNT, STORE_KEY)
        self._container = ContainerClient.from_connection_string(connection, CONTAINER)
        self._due = TableServiceClient.from_connection_string(connection).get_table_client(DUE)
        self._queues = QueueServiceClient.from_connection_string(connection)

    def pending(self) -> int:
        """Deliveries that Event Grid still owes."""
        return len(list((self._cloud.home / "event_grid" / "pending").glob("*.json")))

    def due(self) -> int:
        """Rows of the sweep's index."""
        return sum(1 for _ in self._due.list_entities(select=["RowKey"]))

    def busy(self) -> int:
        """Lanes that collect or run."""
        return sum(1 for lane in ask(self._cloud, "lanes") if lane["collecting"] or lane["running"])

    def read(self, cancelled: Sequence[str] = ()) -> Evidence:
        """Everything, as it is now; `cancelled` is what operators were told has worked."""
        records = self._cloud.records
        journal = list(self._lines("journal/"))
        return Evidence(
            published=[row for row in records("event_grid", "published") if row["topic"] == STORAGE_ID],
            delivered=records("event_grid", "delivered"),
            given_up=records("event_grid", "given_up"),
            databricks=records("databricks"),
            journal=[row for row in journal if row["kind"] == "delivery"],
            manifests=[json.loads(self._body(name)) for name in self._names("sets/")],
            runs=ask(self._cloud, "runs"),
            lanes=ask(self._cloud, "lanes"),
            due=self.due(),
            poison=sum(self._length(queue.name) for queue in self._queues.list_queues() if "poison" in queue.name),
            poisoned=sum(1 for row in journal if row["kind"] == "poison"),
            cancelled=cancelled,
            asked_to_cancel=[row["run"] for row in journal if row["kind"] == "cancel"],
            concurrency={name: int(route.get("concurrency", 1)) for name, route in self._routes.items()},
            limits={name: int(route["limit"]) for name, route in self._routes.items() if "limit" in route},
        )

    def _length(self, queue: str) -> int:
        return int(self._queues.get_queue_client(queue).get_queue_properties().approximate_message_count or 0)

    def _names(self, prefix: str) -> list[str]:
        return [blob.name for blob in self._container.list_blobs(name_starts_with=prefix)]

    def _body(self, name: str) -> bytes:
        body: bytes = self._container.download_blob(name).readall()
        return body

    def _lines(self, prefix: str) -> list[Row]:
        return [json.loads(line) for name in self._names(prefix) for line in self._body(name).splitlines()]


def ask(cloud: Cloud, what: str) -> list[Row]:
    """The answer of the app of one cloud to `GET /api/<what>`."""
    keys = json.loads((cloud.home / "host" / "keys.json").read_text(encoding="utf-8"))
    address = f"{cloud.url('functions')}/api/{what}"
    request = urllib.request.Request(address, headers={"x-functions-key": keys["keys"]["host"]["default"]})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        found: list[Row] = json.load(answer)
        return found
