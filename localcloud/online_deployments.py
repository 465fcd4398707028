"""The deployments of online endpoints: each a container of its environment's image, live once it answers."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Protocol

from localcloud import arm
from localcloud.cloud import LOCATION, WORKSPACE_ID, Cloud, now
from localcloud.containers import Container, ContainerFailed, Containers
from localcloud.documents import Document, Documents
from localcloud.environments import EnvironmentFailed
from localcloud.event_grid import EventGrid
from localcloud.faults import Faults

READY_WITHIN = 90.0
"""Seconds that a container has until its readiness route must have answered."""

# What Azure ML fills in from the cluster's default instance type.
_DEFAULTS: Document = {
    "endpointComputeType": "Kubernetes",
    "instanceType": "defaultinstancetype",
    "scaleSettings": {"scaleType": "Default"},
    "containerResourceRequirements": {
        "containerResourceRequests": {"cpu": "100m", "memory": "2Gi"},
        "containerResourceLimits": {"cpu": "2", "memory": "2Gi"},
    },
}


class Assets(Protocol):
    """Where a deployment's environment and model are looked up."""

    def asset(self, identity: str) -> Document | None:
        """The properties of the asset version with this resource id."""


class OnlineDeployments:
    """All deployments of all endpoints, keyed `endpoint/deployment`."""

    assets: Assets

    def __init__(
        self, cloud: Cloud, containers: Containers, grid: EventGrid, operations: arm.Operations, faults: Faults
    ) -> None:
        self._cloud = cloud
        self._faults = faults
        self._containers = containers
        self._grid = grid
        self._operations = operations
        self._documents = Documents(cloud.home / "online_endpoints" / "deployments")
        self._running: dict[str, Container] = {}

    async def start(self) -> None:
        """Start again what ran, or was about to, when the services ended."""
        for key, known in self._documents.items():
            if known["state"] in ("Creating", "Updating", "Succeeded"):
                self._documents.put(key, known | {"state": "Updating"})
                self._operations.resume(known["operation"], self._deploy(key, known["generation"], announce=False))

    def get(self, endpoint: str, deployment: str) -> Document | None:
        """The deployment, when there is one."""
        return self._documents.get(f"{endpoint}/{deployment}")

    def scoring_url(self, endpoint: str, deployment: str) -> str | None:
        """Where the deployment's container scores; None while it has none."""
        key = f"{endpoint}/{deployment}"
        container, known = self._running.get(key), self._documents.get(key)
        if container is None or known is None:
            return None
        return f"http://127.0.0.1:{container.port}{known['routes']['scoring']}"

    async def put(self, endpoint: str, deployment: str, body: Document) -> tuple[int, dict[str, str]]:
        """Create or update a deployment; status and headers of the answer.

        The same request again joins the operation of the first, unless that has failed.
        """
        key = f"{endpoint}/{deployment}"
        known = self._documents.get(key)
        if known is not None and known["body"] == body and known["state"] != "Failed":
            return 200, self._operations.headers(known["operation"])
        if known is not None and known["state"] in ("Creating", "Updating"):
            raise arm.fault(409, "Conflict", f"The deployment {key} is in the state {known['state']}: try again later.")
        image, routes = self._environment(body["properties"])
        document = {
            "body": body,
            "state": "Updating" if known else "Creating",
            "generation": known["generation"] + 1 if known else 1,
            "image": image,
            "routes": routes,
            "created": known["created"] if known else now(),
            "error": None,
        }
        self._documents.put(key, document)
        self._cloud.record("azure_ml", "deployment", endpoint=endpoint, deployment=deployment, image=image)
        operation, headers = self._operations.begin(self._deploy(key, document["generation"], announce=True))
        self._documents.put(key, document | {"operation": operation})
        return (200 if known else 201), headers

    def _environment(self, properties: Document) -> tuple[str, dict[str, str]]:
        """Image and routes of the deployment's environment."""
        identity = properties.get("environmentId") or ""
        environment = self.assets.asset(identity)
        if environment is None:
            raise arm.fault(400, "UserError", f"The environment '{identity}' of the deployment does not exist.")
        model = properties.get("model")
        if model and self.assets.asset(model) is None:
            raise arm.fault(400, "UserError", f"The model '{model}' of the deployment does not exist.")
        image = environment.get("image")
        if not image:
            raise arm.fault(400, "UserError", f"The environment '{identity}' names no image.")
        config = environment.get("inferenceConfig") or {}
        scoring = config.get("scoringRoute") or {"path": "/score"}
        readiness = config.get("readinessRoute") or config.get("livenessRoute") or {"path": "/"}
        return image, {"scoring": scoring["path"], "readiness": readiness["path"]}

    async def _deploy(self, key: str, generation: int, *, announce: bool) -> None:
        fault = await self._faults.work("deployment", key)
        known = self._documents.get(key)
        if known is None or known["generation"] != generation:
            return
        container: Container | None = None
        try:
            if fault is not None:
                raise ContainerFailed(f"fault rule: status {fault.status}")
            image = await self._containers.image(known["image"])
            environment = known["body"]["properties"].get("environmentVariables") or {}
            container = await self._containers.run(key.replace("/", "-"), image, environment)
            await container.ready(known["routes"]["readiness"], READY_WITHIN)
        except (ContainerFailed, EnvironmentFailed) as error:
            self._documents.put(key, known | {"state": "Failed", "error": str(error)})
            self._cloud.record("azure_ml", "deployment_ended", deployment=key, state="Failed", error=str(error))
            if container is not None:
                await self._containers.stop(container)
            raise arm.Failed("DeploymentFailed", f"The deployment {key} failed: {error}") from error
        known = self._documents.get(key)
        if known is None or known["generation"] != generation:  # deleted while it started
            await self._containers.stop(container)
            return
        before = self._running.get(key)
        self._running[key] = container
        known = self._documents.put(key, known | {"state": "Succeeded", "digest": image.digest})
        self._cloud.record("azure_ml", "deployment_ended", deployment=key, state="Succeeded", digest=image.digest)
        if before is not None:
            await self._containers.stop(before)
        if announce:
            await self._announce(key.partition("/")[0], known)

    async def _announce(self, endpoint: str, known: Document) -> None:
        model = known["body"]["properties"].get("model") or ""
        parts = model.split("/")
        models = f"{parts[-3]}:{parts[-1]}" if len(parts) > 3 else ""
        event = {
            "id": str(uuid.uuid4()),
            "subject": f"endpoints/{endpoint}",
            "eventType": "Microsoft.MachineLearningServices.ModelDeployed",
            "eventTime": now(),
            "dataVersion": "2",
            "data": {
                "ServiceName": endpoint,
                "ServiceComputeType": "AKS",
                "ModelIds": models,
                "ServiceTags": known["body"].get("tags") or {},
                "ServiceProperties": known["body"]["properties"].get("properties") or {},
            },
        }
        await self._grid.publish(WORKSPACE_ID, [event])

    async def delete(self, endpoint: str, deployment: str) -> None:
        """Stop and forget a deployment."""
        key = f"{endpoint}/{deployment}"
        self._documents.delete(key)
        container = self._running.pop(key, None)
        if container is not None:
            await self._containers.stop(container)
        self._cloud.record("azure_ml", "deployment_deleted", endpoint=endpoint, deployment=deployment)

    async def delete_all(self, endpoint: str) -> None:
        """Stop and forget all deployments of an endpoint."""
        await asyncio.gather(*(self.delete(endpoint, name) for name in self._names(endpoint)))

    def logs(self, endpoint: str, deployment: str, tail: int | None) -> str:
        """What the deployment's container wrote, or why there is none."""
        key = f"{endpoint}/{deployment}"
        container, known = self._running.get(key), self._documents.get(key)
        if container is not None and (known is None or known["state"] != "Failed"):
            return container.logs(tail)
        return (known or {}).get("error") or ""

    def views(self, endpoint: str) -> list[Document]:
        """All deployments of an endpoint as the resource provider answers them."""
        return [self.view(endpoint, name) for name in self._names(endpoint)]

    def view(self, endpoint: str, deployment: str) -> Document:
        """One deployment as the resource provider answers it."""
        known = self._documents.get(f"{endpoint}/{deployment}")
        assert known is not None
        extra: dict[str, Any] = {"image": known["image"], "digest": known.get("digest") or ""}
        if known["error"]:
            extra["error"] = known["error"]
        own = known["body"]["properties"].get("properties") or {}
        properties = _DEFAULTS | {
            name: value for name, value in known["body"]["properties"].items() if value is not None
        }
        properties |= {"provisioningState": known["state"], "properties": own | extra}
        path = f"{WORKSPACE_ID}/onlineEndpoints/{endpoint}/deployments/{deployment}"
        return {
            "id": path,
            "name": deployment,
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
            "location": known["body"].get("location", LOCATION),
            "kind": "K8S",
            "tags": known["body"].get("tags") or {},
            "sku": known["body"].get("sku") or {"name": "Default", "capacity": 1},
            "properties": properties,
            "systemData": arm.system_data(known["created"]),
        }

    def _names(self, endpoint: str) -> list[str]:
        return [key.partition("/")[2] for key, _ in self._documents.items() if key.partition("/")[0] == endpoint]
