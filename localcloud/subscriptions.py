"""The Event Grid subscriptions that feed the app: lake, registry and workspace to the Functions host's webhook.

The lake's can go into the event hub instead, from which the app takes batches: the road for storms.  Made with the
management SDK, as a deployment would make them; doing it again changes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid.models import (
    EventHubEventSubscriptionDestination,
    EventSubscription,
    EventSubscriptionDestination,
    EventSubscriptionFilter,
    WebHookEventSubscriptionDestination,
)

from localcloud.cloud import (
    EVENTS_HUB,
    NAMESPACE_ID,
    REGISTRY_ID,
    ROOT,
    STORAGE_ID,
    SUBSCRIPTION,
    WORKSPACE_ID,
    Cloud,
    UnknownCloud,
)

FUNCTION = "event_grid"
SOURCES = (
    ("lake", STORAGE_ID, "EventGridSchema"),
    ("registry", REGISTRY_ID, "EventGridSchema"),
    ("workspace", WORKSPACE_ID, "CloudEventSchemaV1_0"),
)
"""Name of the subscription, its source, and the schema it delivers in: both schemas are in use."""


APP_READY_WITHIN = 30.0


class SubscriptionsFailed(Exception):
    """The subscriptions could not be made; the message says which and why."""


class Identity:
    """The cloud's managed identity, asked directly because this process's environment need not name it."""

    def __init__(self, cloud: Cloud) -> None:
        self._trust = cloud.trust()

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the resource of the first scope."""
        resource = urllib.parse.quote(scopes[0].removesuffix("/.default"), safe="")
        address = f"{self._trust['IDENTITY_ENDPOINT']}?api-version=2019-08-01&resource={resource}"
        answer = _get(address, {"X-IDENTITY-HEADER": self._trust["IDENTITY_HEADER"]})
        return AccessToken(answer["access_token"], int(answer["expires_on"]))


def create(cloud: Cloud, *, storms: bool = False) -> list[str]:
    """Create or update every subscription; the names, after Event Grid validated the endpoint.

    With `storms` the lake's events go into the event hub of the app.
    """
    endpoint: EventSubscriptionDestination = WebHookEventSubscriptionDestination(endpoint_url=webhook(cloud))
    destinations = {name: endpoint for name, _, _ in SOURCES}
    if storms:
        destinations["lake"] = hub()
    with client(cloud) as management:
        for name, source, schema in SOURCES:
            wanted = EventSubscription(
                destination=destinations[name],
                filter=EventSubscriptionFilter(subject_begins_with="", is_subject_case_sensitive=False),
                event_delivery_schema=schema,
            )
            try:
                management.event_subscriptions.begin_create_or_update(source, name, wanted).result()
            except AzureError as error:
                raise SubscriptionsFailed(f"the Event Grid subscription {name!r} was not made: {error}") from error
    return [name for name, _, _ in SOURCES]


def hub() -> EventSubscriptionDestination:
    """The event hub that the app receives from."""
    return EventHubEventSubscriptionDestination(resource_id=f"{NAMESPACE_ID}/eventhubs/{EVENTS_HUB}")


def webhook(cloud: Cloud) -> str:
    """The address of the app's Event Grid function, with the key that the Functions host keeps for Event Grid."""
    host = cloud.url("functions")
    wait_for_app(cloud)
    key = _get(f"{host}/admin/host/systemkeys/eventgrid_extension?code={master_key(cloud)}", {})["value"]
    return f"{host}/runtime/webhooks/EventGrid?functionName={FUNCTION}&code={urllib.parse.quote(key, safe='')}"


def wait_for_app(cloud: Cloud) -> None:
    """Wait until the Functions host runs the app; when it cannot load it, its reasons are raised."""
    address = f"{cloud.url('functions')}/admin/host/status?code={master_key(cloud)}"
    deadline = time.monotonic() + APP_READY_WITHIN
    while (status := _get(address, {}))["state"] != "Running":
        if status.get("errors") or time.monotonic() > deadline:
            reasons = "; ".join(map(str, status.get("errors") or [f"its state is {status['state']}"]))
            log = cloud.home / "logs" / "functions.log"
            raise SubscriptionsFailed(f"the Functions host does not run the app: {reasons} (log: {log})")
        time.sleep(0.1)


def master_key(cloud: Cloud) -> str:
    """The master key of the Functions host of `cloud`."""
    path = cloud.home / "host" / "keys.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["master"])
    except (OSError, KeyError, ValueError) as error:
        raise SubscriptionsFailed(f"the Functions host's keys are not in {path}: is the host running?") from error


def client(cloud: Cloud) -> EventGridManagementClient:
    """The management client, pointed at `cloud`."""
    arm = cloud.url("arm")
    return EventGridManagementClient(
        Identity(cloud),
        SUBSCRIPTION,
        base_url=arm,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(cloud.ca_bundle),
    )


def _get(address: str, headers: dict[str, str], *, tries: int = 20) -> Any:
    """The JSON at `address`; a server that is just starting is given a few seconds."""
    request = urllib.request.Request(address, headers=headers)
    plain = address.split("?")[0]
    for attempt in range(tries):
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SubscriptionsFailed(f"{plain} answered {error.code}: {error.read()[:200].decode()}") from error
        except OSError as error:
            if attempt == tries - 1:
                raise SubscriptionsFailed(f"{plain} does not answer: {error}; is the local cloud up?") from error
            time.sleep(0.25)
    raise AssertionError("unreachable")


def main() -> int:
    """The command line: `python -m localcloud.subscriptions --name NAME`."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.subscriptions")
    parser.add_argument("--name", default="default")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--storms", action="store_true", help="the lake's events go through the event hub")
    given = parser.parse_args()
    try:
        made = create(Cloud.load(given.name, given.root), storms=given.storms)
    except (SubscriptionsFailed, UnknownCloud) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(f"event subscriptions: {', '.join(made)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
