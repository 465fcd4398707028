"""One local cloud: its name, its folder, its addresses, and the record each service keeps.

Everything that a service needs to know about its neighbours is here, so that services import this module and not
each other.  The state of a cloud lives under `.local/<name>/`; two clouds share nothing but the package environments
in `.envs/`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-00000000000a"
RESOURCE_GROUP = "rg-sluice"
LOCATION = "westeurope"
WORKSPACE = "mlw-sluice"
REGISTRY = "acrsluice"
LAKE_ACCOUNT = "devstoreaccount1"
LAKE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
LAKE_CONTAINERS = ("bronze", "silver", "gold", "azureml", "scoring")
STORE_ACCOUNT = "sluicestore"
STORE_KEY = "c2x1aWNlLXN0b3JlLWtleS1vZi10aGUtbG9jYWwtY2xvdWQtb25seS0wMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OQ=="
TOPIC = "sluice"
HUB_NAMESPACE = "evhns-sluice"
HUB_KEY_NAME = "RootManageSharedAccessKey"
HUB_KEY = "ZXZlbnQtaHVicy1rZXktb2YtdGhlLWxvY2FsLWNsb3VkLW9ubHk="
EVENTS_HUB, SCORING_HUB = "sluice-events", "sluice-scoring"
HUBS = {EVENTS_HUB: 4, SCORING_HUB: 2}
"""The hubs of the namespace, and how many partitions each has."""

SERVICES = (
    "azurite_blob",
    "azurite_queue",
    "azurite_table",  # plain http, Azurite itself
    "lake",  # http: the event-raising front of azurite_blob
    "identity",  # http: managed identity endpoint
    "event_grid",  # http: custom topic publishing
    "event_hubs",  # AMQP 1.0, plain or in TLS: Event Hubs
    "databricks",  # http: Jobs API 2.2
    "arm",  # https: Azure Resource Manager (Azure ML, Container Instances, Registry tasks, Event Grid)
    "registry",  # https: OCI distribution
    "scoring",  # http: ingress of the Kubernetes online endpoints
    "app_insights",  # http: ingestion
    "functions",  # http: the Functions host
)

_PROVIDERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers"
STORAGE_ID = f"{_PROVIDERS}/Microsoft.Storage/storageAccounts/{LAKE_ACCOUNT}"
REGISTRY_ID = f"{_PROVIDERS}/Microsoft.ContainerRegistry/registries/{REGISTRY}"
WORKSPACE_ID = f"{_PROVIDERS}/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
TOPIC_ID = f"{_PROVIDERS}/Microsoft.EventGrid/topics/{TOPIC}"
NAMESPACE_ID = f"{_PROVIDERS}/Microsoft.EventHub/namespaces/{HUB_NAMESPACE}"

_SCHEMES = {"arm": "https", "registry": "https", "event_hubs": "sb"}
_record_lock = threading.Lock()


def now() -> str:
    """The current UTC time in ISO 8601 with microseconds and `Z`."""
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


class UnknownCloud(Exception):
    """No local cloud of that name was ever started here."""


@dataclasses.dataclass(frozen=True)
class Cloud:
    """The shared ground of the services of one local cloud."""

    name: str
    ports: Mapping[str, int]
    root: Path = ROOT

    @classmethod
    def load(cls, name: str, root: Path = ROOT) -> Cloud:
        """The cloud that was saved as `name`; `UnknownCloud` names those that there are."""
        path = root / ".local" / name / "cloud.json"
        if not path.exists():
            known = sorted(found.parent.name for found in root.glob(".local/*/cloud.json"))
            there = f"there are: {', '.join(known)}" if known else "there is none yet"
            raise UnknownCloud(f"no local cloud is named {name!r} ({there}); `sluice up --name {name}` makes it")
        saved = json.loads(path.read_text(encoding="utf-8"))
        return cls(name=saved["name"], ports=saved["ports"], root=root)

    def save(self, processes: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write `cloud.json`, for other processes to load, and `local.settings.json`, for the Functions host."""
        self.home.mkdir(parents=True, exist_ok=True)
        settings = {
            "IsEncrypted": False,
            "Values": self.app_settings(),
            "Host": {"LocalHttpPort": self.ports["functions"]},
        }
        saved = {"name": self.name, "ports": dict(self.ports), "processes": list(processes)}
        for file, content in (("local.settings.json", settings), ("cloud.json", saved)):
            beside = self.home / f"{file}.writing"
            beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            beside.replace(self.home / file)

    @property
    def home(self) -> Path:
        """The folder of this cloud's state: `.local/<name>/`."""
        return self.root / ".local" / self.name

    def url(self, service: str) -> str:
        """The base address of `service`, without a trailing slash."""
        return f"{_SCHEMES.get(service, 'http')}://127.0.0.1:{self.ports[service]}"

    @property
    def ca_bundle(self) -> Path:
        """PEM file: the machine's trusted certificates plus this cloud's own authority."""
        return self.home / "tls" / "ca-bundle.pem"

    def record(self, service: str, action: str, **facts: Any) -> None:
        """Append what `service` was asked or did to `.local/<name>/records/<service>.jsonl`.

        Nothing else writes there: tests and reports are checked against these files.
        """
        path = self.home / "records" / f"{service}.jsonl"
        line = json.dumps({"at": now(), "action": action, **facts}, default=str) + "\n"
        with _record_lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)

    def records(self, service: str, action: str | None = None) -> list[dict[str, Any]]:
        """What `service` has recorded so far, oldest first; only `action` when it is given."""
        path = self.home / "records" / f"{service}.jsonl"
        if not path.exists():
            return []
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if action is None or row["action"] == action]

    def connection_string(self, account: str, key: str) -> str:
        """The storage connection string of `account`; the lake's blobs go through the event-raising front."""
        blob = self.url("lake" if account == LAKE_ACCOUNT else "azurite_blob")
        return (
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};"
            f"BlobEndpoint={blob}/{account};QueueEndpoint={self.url('azurite_queue')}/{account};"
            f"TableEndpoint={self.url('azurite_table')}/{account};"
        )

    def hub_connection_string(self) -> str:
        """The namespace's connection string, as the SDKs take one for an emulator: no TLS, any port."""
        key = f"SharedAccessKeyName={HUB_KEY_NAME};SharedAccessKey={HUB_KEY}"
        return f"Endpoint={self.url('event_hubs')};{key};UseDevelopmentEmulator=true;"

    def trust(self) -> dict[str, str]:
        """Variables that make every Python client trust this cloud's certificates and reach its identity endpoint."""
        return {
            "REQUESTS_CA_BUNDLE": str(self.ca_bundle),
            "SSL_CERT_FILE": str(self.ca_bundle),
            "IDENTITY_ENDPOINT": f"{self.url('identity')}/msi/token",
            "IDENTITY_HEADER": "local",
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",  # not what a developer happens to be signed in with
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def workload_environment(self) -> dict[str, str]:
        """Variables that a Databricks task or an Azure ML step is started with, so that the same files run here."""
        return self.trust() | {
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": self.url("lake"),
            "AZURE_STORAGE_ACCOUNT_NAME": LAKE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": LAKE_KEY,
            "AZURE_RESOURCE_MANAGER": self.url("arm") + "/",
            "AZUREML_ARM_SUBSCRIPTION": SUBSCRIPTION,
            "AZUREML_ARM_RESOURCEGROUP": RESOURCE_GROUP,
            "AZUREML_ARM_WORKSPACE_NAME": WORKSPACE,
        }

    def app_settings(self) -> dict[str, str]:
        """The app's settings: what `local.settings.json` holds under `Values`."""
        return self.trust() | {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": self.connection_string(STORE_ACCOUNT, STORE_KEY),
            "SluiceStorage": self.connection_string(STORE_ACCOUNT, STORE_KEY),
            "SluiceLake": self.connection_string(LAKE_ACCOUNT, LAKE_KEY),
            "SluiceHub": self.hub_connection_string(),
            "SLUICE_HUB": EVENTS_HUB,
            "SLUICE_SCORING_HUB": SCORING_HUB,
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
            "AZURE_RESOURCE_GROUP": RESOURCE_GROUP,
            "AZURE_LOCATION": LOCATION,
            "AZURE_RESOURCE_MANAGER": self.url("arm") + "/",
            "AZUREML_WORKSPACE": WORKSPACE,
            "DATABRICKS_HOST": self.url("databricks"),
            "REGISTRY_ENDPOINT": self.url("registry"),
            "EVENTGRID_TOPIC_ENDPOINT": f"{self.url('event_grid')}/topics/{TOPIC}/api/events",
            "EVENTGRID_TOPIC_KEY": "local",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": (
                "InstrumentationKey=00000000-0000-0000-0000-00000000000b;"
                f"IngestionEndpoint={self.url('app_insights')}/;LiveEndpoint={self.url('app_insights')}/"
            ),
        }
