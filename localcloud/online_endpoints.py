"""Kubernetes online endpoints: traffic over deployments that really serve their image."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from localcloud import arm
from localcloud.cloud import LOCATION, WORKSPACE_ID, Cloud, now
from localcloud.containers import Containers
from localcloud.documents import Document, Documents
from localcloud.event_grid import EventGrid
from localcloud.faults import Faults
from localcloud.online_deployments import Assets, OnlineDeployments
from localcloud.online_ingress import Ingress

_ENDPOINTS = f"{WORKSPACE_ID}/onlineEndpoints"


class OnlineEndpoints:
    """The online endpoints of the workspace; their deployments are started again when the local cloud is."""

    def __init__(
        self, cloud: Cloud, containers: Containers, grid: EventGrid, faults: Faults, scoring_faults: Faults
    ) -> None:
        self._cloud = cloud
        self._faults = faults
        self._endpoints = Documents(cloud.home / "online_endpoints" / "endpoints")
        self._operations = arm.Operations(cloud, "Microsoft.MachineLearningServices.Endpoints")
        self._deployments = OnlineDeployments(cloud, containers, grid, self._operations, faults)
        self._ingress = Ingress(cloud, self, scoring_faults)

    def attach(self, assets: Assets) -> None:
        """Use the workspace's `assets` to find what a deployment refers to."""
        self._deployments.assets = assets

    def routes(self) -> list[web.RouteDef]:
        """The resource provider's routes; the ingress has its own."""
        endpoint, deployment = f"{_ENDPOINTS}/{{endpoint}}", f"{_ENDPOINTS}/{{endpoint}}/deployments/{{deployment}}"
        return [
            web.get(_ENDPOINTS, self._list),
            web.put(endpoint, self._put),
            web.get(endpoint, self._get),
            web.delete(endpoint, self._delete),
            web.post(f"{endpoint}/listKeys", self._list_keys),
            web.get(f"{endpoint}/deployments", self._list_deployments),
            web.put(deployment, self._put_deployment),
            web.get(deployment, self._get_deployment),
            web.delete(deployment, self._delete_deployment),
            web.post(f"{deployment}/getLogs", self._get_logs),
            *self._operations.routes(),
        ]

    def ingress_routes(self) -> list[web.RouteDef]:
        """The routes of the scoring port."""
        return self._ingress.routes()

    async def start(self) -> None:
        """Start the deployments that were there, and end the updates that were under way, when the services ended."""
        for name, known in self._endpoints.items():
            if _changing(known):
                self._operations.resume(known["operation"], self._settle(name))
        await self._deployments.start()

    async def close(self) -> None:
        """Stop the work under way; the containers end with the process."""
        await self._operations.close()
        await self._ingress.close()

    # ---- what the ingress asks

    def keys(self, endpoint: str) -> Sequence[str] | None:
        """Primary and secondary key."""
        known = self._endpoints.get(endpoint)
        return None if known is None else [known["keys"]["primaryKey"], known["keys"]["secondaryKey"]]

    def traffic(self, endpoint: str) -> Mapping[str, int]:
        """The traffic map."""
        known = self._endpoints.get(endpoint)
        return {} if known is None else known["body"]["properties"].get("traffic") or {}

    def target(self, endpoint: str, deployment: str) -> str | None:
        """Where the deployment's container scores."""
        return self._deployments.scoring_url(endpoint, deployment)

    # ---- endpoints

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"value": [self._view(name) for name, _ in self._endpoints.items()]})

    async def _put(self, request: web.Request) -> web.Response:
        name, body = request.match_info["endpoint"], await request.json()
        properties = body["properties"]
        if "/computes/" not in (properties.get("compute") or ""):
            raise arm.fault(400, "UserError", "Only Kubernetes online endpoints exist here: name a compute.")
        traffic = properties.get("traffic") or {}
        self._check_traffic(name, traffic)
        known = self._endpoints.get(name)
        if known is not None and _changing(known):
            raise arm.fault(409, "Conflict", f"The endpoint {name} is in the state {known['state']}: try again later.")
        keys = known["keys"] if known else {role: secrets.token_urlsafe(24) for role in ("primaryKey", "secondaryKey")}
        identity = known["principal"] if known else str(uuid.uuid4())
        document = {
            "body": body | {"properties": properties | {"traffic": self.traffic(name)}},
            "keys": keys,
            "principal": identity,
            "created": known["created"] if known else now(),
            "state": "Updating" if known else "Creating",
            "wanted": traffic,
        }
        self._endpoints.put(name, document)
        if known is None:
            self._cloud.record("azure_ml", "endpoint", endpoint=name)
        operation, headers = self._operations.begin(self._settle(name))
        self._endpoints.put(name, document | {"operation": operation})
        return web.json_response(self._view(name), status=200 if known else 201, headers=headers)

    async def _settle(self, name: str) -> None:
        """Give the endpoint the traffic map that it was asked to have, or fail and leave it as it is."""
        fault = await self._faults.work("traffic", name)
        known = self._endpoints.get(name)
        if known is None:
            return
        if fault is not None:
            self._endpoints.put(name, known | {"state": "Failed"})
            raise arm.Failed("InternalServerError", f"fault rule: status {fault.status}")
        before, traffic = self.traffic(name), known["wanted"]
        properties = known["body"]["properties"] | {"traffic": traffic}
        self._endpoints.put(name, known | {"state": "Succeeded", "body": known["body"] | {"properties": properties}})
        if traffic != before:
            self._cloud.record("azure_ml", "traffic", endpoint=name, traffic=traffic)

    def _check_traffic(self, endpoint: str, traffic: Mapping[str, int]) -> None:
        for deployment in traffic:
            if self._deployments.get(endpoint, deployment) is None:
                message = f"Deployment {deployment} of the traffic map does not exist in endpoint {endpoint}."
                raise arm.fault(400, "UserError", message)
        if sum(traffic.values()) not in (0, 100) or any(not 0 <= share <= 100 for share in traffic.values()):
            message = f"Traffic must sum up to 0 or 100, not {sum(traffic.values())}."
            raise arm.fault(400, "UserError", message)

    async def _get(self, request: web.Request) -> web.Response:
        self._known(request)
        return web.json_response(self._view(request.match_info["endpoint"]))

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["endpoint"]
        if name not in self._endpoints:
            return web.Response(status=204)
        await self._deployments.delete_all(name)
        self._endpoints.delete(name)
        _, headers = self._operations.begin(_nothing())
        return web.Response(status=202, headers=headers)

    async def _list_keys(self, request: web.Request) -> web.Response:
        return web.json_response(self._known(request)["keys"])

    def _known(self, request: web.Request) -> Document:
        name = request.match_info["endpoint"]
        known = self._endpoints.get(name)
        if known is None:
            raise arm.missing("online endpoint", name)
        return known

    def _view(self, name: str) -> Document:
        known = self._endpoints.get(name)
        assert known is not None
        body, url = known["body"], f"{self._cloud.url('scoring')}/api/v1/endpoint/{name}"
        properties: dict[str, Any] = body["properties"] | {
            "provisioningState": known.get("state", "Succeeded"),
            "scoringUri": f"{url}/score",
            "swaggerUri": f"{url}/swagger.json",
            "traffic": self.traffic(name),
            "properties": (body["properties"].get("properties") or {})
            | {"azureml.onlineendpointid": known["principal"]},
        }
        properties.pop("keys", None)
        return {
            "id": f"{_ENDPOINTS}/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
            "location": body.get("location", LOCATION),
            "kind": "K8S",
            "tags": body.get("tags") or {},
            "identity": {"type": "SystemAssigned", "principalId": known["principal"], "tenantId": known["principal"]},
            "properties": properties,
            "systemData": arm.system_data(known["created"]),
        }

    # ---- deployments

    async def _list_deployments(self, request: web.Request) -> web.Response:
        self._known(request)
        return web.json_response({"value": self._deployments.views(request.match_info["endpoint"])})

    async def _put_deployment(self, request: web.Request) -> web.Response:
        self._known(request)
        endpoint, deployment = request.match_info["endpoint"], request.match_info["deployment"]
        status, headers = await self._deployments.put(endpoint, deployment, await request.json())
        return web.json_response(self._deployments.view(endpoint, deployment), status=status, headers=headers)

    async def _get_deployment(self, request: web.Request) -> web.Response:
        endpoint, deployment = self._known_deployment(request)
        return web.json_response(self._deployments.view(endpoint, deployment))

    async def _delete_deployment(self, request: web.Request) -> web.Response:
        endpoint, deployment = request.match_info["endpoint"], request.match_info["deployment"]
        if self._deployments.get(endpoint, deployment) is None:
            return web.Response(status=204)
        share = self.traffic(endpoint).get(deployment, 0)
        if share:
            message = (
                f"Deployment {deployment} takes {share}% of the traffic of {endpoint}: set it to 0 before deleting."
            )
            raise arm.fault(400, "UserError", message)
        self._forget_traffic(endpoint, deployment)
        _, headers = self._operations.begin(self._deployments.delete(endpoint, deployment))
        return web.Response(status=202, headers=headers)

    def _forget_traffic(self, endpoint: str, deployment: str) -> None:
        known = self._endpoints.get(endpoint)
        if known is not None:
            (known["body"]["properties"].get("traffic") or {}).pop(deployment, None)
            self._endpoints.put(endpoint, known)

    async def _get_logs(self, request: web.Request) -> web.Response:
        endpoint, deployment = self._known_deployment(request)
        tail = (await request.json()).get("tail")
        return web.json_response({"content": self._deployments.logs(endpoint, deployment, tail)})

    def _known_deployment(self, request: web.Request) -> tuple[str, str]:
        endpoint, deployment = request.match_info["endpoint"], request.match_info["deployment"]
        if self._deployments.get(endpoint, deployment) is None:
            raise arm.missing("online deployment", f"{endpoint}/{deployment}")
        return endpoint, deployment


def _changing(known: Document) -> bool:
    return known.get("state") in ("Creating", "Updating")


async def _nothing() -> None:
    """The work of an operation that has nothing left to do."""
