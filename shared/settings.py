"""The app's settings: one reader, typed, every fault reported at once.

Connections follow the Functions convention: `SluiceStorage` is a connection string, or `SluiceStorage__accountName`
names the account, which is then reached with the app's identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from shared.errors import ConfigurationError

PUBLIC_MANAGER = "https://management.azure.com/"
_LEAST_DAYS = 14


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """One storage account: its name, and its connection string where keys are used instead of an identity."""

    account: str
    connection: str | None

    def url(self, service: str) -> str:
        """The public address of `blob`, `queue` or `table` of this account."""
        return f"https://{self.account}.{service}.core.windows.net"


@dataclasses.dataclass(frozen=True, slots=True)
class Hub:
    """An event hub: its name, and its namespace by connection string or by host name."""

    name: str
    connection: str | None
    namespace: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs from one deployment to another."""

    store: Storage
    lake: Storage
    subscription: str
    resource_group: str
    location: str
    workspace: str
    databricks: str
    registry: str
    manager: str
    topic: str | None
    topic_key: str | None
    outbox: str | None
    scoring_hub: Hub | None
    pull_identity: str | None
    insights: str | None
    keep_days: int
    routes: Path

    @property
    def registry_host(self) -> str:
        """The registry as image names have it: without the scheme."""
        return self.registry.removeprefix("https://").removeprefix("http://").rstrip("/")

    def for_deployments(self) -> dict[str, str]:
        """What every deployment is told: where its scoring log goes."""
        hub = self.scoring_hub
        if hub is None:
            return {}
        place = {"SCORING_HUB_CONNECTION": hub.connection, "SCORING_HUB_NAMESPACE": hub.namespace}
        return {"SCORING_HUB": hub.name} | {name: value for name, value in place.items() if value}

    def for_routes(self) -> dict[str, str]:
        """What a route may name as `{settings.<name>}`."""
        return {
            "lake_account": self.lake.account,
            "registry_host": self.registry_host,
            "workspace": self.workspace,
            "location": self.location,
        }


_REQUIRED = {
    "AZURE_SUBSCRIPTION_ID": "the subscription of the workspace and of the container groups",
    "AZURE_RESOURCE_GROUP": "their resource group",
    "AZURE_LOCATION": "the region of the container groups, such as westeurope",
    "AZUREML_WORKSPACE": "the name of the Azure ML workspace",
    "DATABRICKS_HOST": "the workspace's address, https://adb-….azuredatabricks.net",
    "REGISTRY_ENDPOINT": "the container registry's address, https://<name>.azurecr.io",
}


def read(environment: Mapping[str, str], root: Path) -> Settings:
    """The settings of an environment.  Raises ConfigurationError with every fault; `root` is the app's folder."""
    faults: list[str] = []
    found = {name: environment.get(name, "").strip() for name in _REQUIRED}
    faults += [f"setting {name} is missing: {_REQUIRED[name]}" for name, value in found.items() if not value]
    for name in ("DATABRICKS_HOST", "REGISTRY_ENDPOINT"):
        if found[name] and not found[name].startswith(("https://", "http://127.0.0.1", "http://localhost")):
            faults.append(f"setting {name} is {found[name]!r}: it must be an https:// address")
    store = _storage("SluiceStorage", "the control plane's own account", environment, faults)
    lake = _storage("SluiceLake", "the account of the data lake", environment, faults)
    routes = root / (environment.get("SLUICE_ROUTES") or "routes.yaml")
    if not routes.is_file():
        faults.append(f"setting SLUICE_ROUTES: there is no file {routes}")
    outbox, keep_days = _outbox(environment, faults), _keep_days(environment, faults)
    scoring_hub = _hub("SLUICE_SCORING_HUB", "SluiceHub", environment, faults)
    if faults:
        raise ConfigurationError(faults)
    return Settings(
        store=store,
        lake=lake,
        subscription=found["AZURE_SUBSCRIPTION_ID"],
        resource_group=found["AZURE_RESOURCE_GROUP"],
        location=found["AZURE_LOCATION"],
        workspace=found["AZUREML_WORKSPACE"],
        databricks=found["DATABRICKS_HOST"].rstrip("/"),
        registry=found["REGISTRY_ENDPOINT"].rstrip("/"),
        manager=environment.get("AZURE_RESOURCE_MANAGER") or PUBLIC_MANAGER,
        topic=environment.get("EVENTGRID_TOPIC_ENDPOINT") or None,
        topic_key=environment.get("EVENTGRID_TOPIC_KEY") or None,
        outbox=outbox,
        scoring_hub=scoring_hub,
        pull_identity=environment.get("REGISTRY_PULL_IDENTITY") or None,
        insights=environment.get("APPLICATIONINSIGHTS_CONNECTION_STRING") or None,
        keep_days=keep_days,
        routes=routes,
    )


def _storage(name: str, what: str, environment: Mapping[str, str], faults: list[str]) -> Storage:
    connection, account = environment.get(name, "").strip(), environment.get(f"{name}__accountName", "").strip()
    if connection:
        parts = dict(part.split("=", 1) for part in connection.split(";") if "=" in part)
        account = parts.get("AccountName", "")
        if not account:
            faults.append(f"setting {name} is not a storage connection string: it has no AccountName")
        return Storage(account, connection)
    if not account:
        faults.append(f"setting {name} is missing: {what}, as a connection string or as {name}__accountName")
    return Storage(account, None)


def _hub(name: str, connection: str, environment: Mapping[str, str], faults: list[str]) -> Hub | None:
    """The hub that a setting names, in the namespace of a connection; None when the setting is empty."""
    hub, text = environment.get(name, "").strip(), environment.get(connection, "").strip()
    namespace = environment.get(f"{connection}__fullyQualifiedNamespace", "").strip()
    if hub and not (text or namespace):
        place = f"{connection} (a connection string) or {connection}__fullyQualifiedNamespace"
        faults.append(f"setting {name} is {hub!r}, but its namespace is missing: set {place}")
    return Hub(hub, text or None, namespace or None) if hub else None


def _outbox(environment: Mapping[str, str], faults: list[str]) -> str | None:
    """The event hub that our own events are also sent to, as `<namespace host>/<hub>`."""
    outbox = environment.get("SLUICE_OUTBOX_HUB", "").strip()
    if outbox and outbox.count("/") != 1:
        faults.append(f"setting SLUICE_OUTBOX_HUB is {outbox!r}: it must be <namespace>.servicebus.windows.net/<hub>")
    return outbox or None


def _keep_days(environment: Mapping[str, str], faults: list[str]) -> int:
    """How many days an event stays known in its lane itself: longer than an event hub may hold it back."""
    days = environment.get("EVENT_HUB_RETENTION_DAYS", "").strip() or "1"
    if not days.isdecimal():
        faults.append(f"setting EVENT_HUB_RETENTION_DAYS is {days!r}: it must be a whole number of days")
        return _LEAST_DAYS
    return max(_LEAST_DAYS, int(days) + 2)
