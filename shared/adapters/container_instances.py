"""Container Instances through azure-mgmt-containerinstance: one container group for the QA of each release attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.core.credentials import TokenCredential
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.containerinstance.models import (
    Container,
    ContainerGroup,
    ContainerGroupIdentity,
    ContainerPort,
    EnvironmentVariable,
    ImageRegistryCredential,
    IpAddress,
    Port,
    ResourceRequests,
    ResourceRequirements,
    UserAssignedIdentities,
)

from shared.adapters.azure_calls import PATIENCE, calling
from shared.errors import NotFound, Unavailable
from shared.release_facts import Group, Limits

_CONTAINER = "score"
_PORT = 5001
_LOG_LINES = 40


class ContainerInstances:
    """The container groups of one resource group.

    `pull_identity` is the resource id of a user-assigned identity that may pull from the registry.
    """

    def __init__(
        self,
        credential: TokenCredential,
        subscription: str,
        resource_group: str,
        location: str,
        *,
        resource_manager: str,
        pull_identity: str | None = None,
    ) -> None:
        self._resource_group, self._location, self._pull_identity = resource_group, location, pull_identity
        self._client = ContainerInstanceManagementClient(
            credential,
            subscription,
            base_url=resource_manager.rstrip("/"),
            credential_scopes=[f"{resource_manager.rstrip('/')}/.default"],
            **PATIENCE,
        )

    def group(self, name: str) -> Group | None:
        """A container group, None when there is none."""
        try:
            with calling(f"container group {name}"):
                return _group(self._client.container_groups.get(self._resource_group, name))
        except NotFound:
            return None

    def create(self, name: str, image: str, tags: Mapping[str, str], limits: Limits) -> None:
        """Ask for a container group with one container; does not wait for it."""
        needs = ResourceRequests(cpu=limits.cpu, memory_in_gb=limits.memory_gb)
        container = Container(
            name=_CONTAINER,
            image=image,
            ports=[ContainerPort(port=_PORT, protocol="TCP")],
            environment_variables=[EnvironmentVariable(name="PORT", value=str(_PORT))],
            resources=ResourceRequirements(requests=needs),
        )
        group = ContainerGroup(
            location=self._location,
            containers=[container],
            os_type="Linux",
            restart_policy="Never",
            ip_address=IpAddress(type="Public", ports=[Port(port=_PORT, protocol="TCP")]),
            tags=dict(tags),
        )
        if self._pull_identity:
            group.identity = ContainerGroupIdentity(
                type="UserAssigned", user_assigned_identities={self._pull_identity: UserAssignedIdentities()}
            )
            server = image.partition("/")[0]
            group.image_registry_credentials = [ImageRegistryCredential(server=server, identity=self._pull_identity)]
        with calling(f"container group {name}"):
            self._client.container_groups.begin_create_or_update(self._resource_group, name, group, polling=False)

    def delete(self, name: str) -> None:
        """Ask for the end of a container group; does not wait for it."""
        try:
            with calling(f"container group {name}"):
                self._client.container_groups.begin_delete(self._resource_group, name, polling=False)
        except NotFound:
            return

    def logs(self, name: str) -> str:
        """The end of the container's log, empty when there is none."""
        try:
            with calling(f"the log of container group {name}"):
                logs = self._client.containers.list_logs(self._resource_group, name, _CONTAINER, tail=_LOG_LINES)
        except (NotFound, Unavailable):
            return ""
        return logs.content or ""


def _group(found: ContainerGroup) -> Group:
    container = found.containers[0] if found.containers else None
    view = container.instance_view if container else None
    current = view.current_state if view else None
    events: list[Any] = [*((found.instance_view.events or []) if found.instance_view else []), *(_events(view))]
    provisioning = found.provisioning_state or "Unknown"
    state = "Failed" if provisioning == "Failed" else (current.state if current and current.state else provisioning)
    parts = [f"with exit code {current.exit_code}"] if current and current.exit_code is not None else []
    parts += [event.message for event in events if event.type == "Warning" and event.message]
    return Group(state=state, tags=found.tags or {}, address=_address(found), detail="; ".join(parts))


def _events(view: Any) -> list[Any]:
    return list(view.events or []) if view else []


def _address(found: ContainerGroup) -> str | None:
    address = found.ip_address
    if address is None or not address.ip or not address.ports:
        return None
    return f"http://{address.ip}:{address.ports[0].port}"
