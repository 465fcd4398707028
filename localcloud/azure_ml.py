"""Azure Machine Learning: one workspace with its computes, datastore, assets, jobs and online endpoints."""

from __future__ import annotations

from aiohttp import web

from localcloud import arm
from localcloud.azure_ml_assets import Assets
from localcloud.azure_ml_job_store import JobStore
from localcloud.azure_ml_jobs import Jobs
from localcloud.azure_ml_steps import CONTAINER, Steps
from localcloud.blob_files import BlobFiles
from localcloud.cloud import LAKE_ACCOUNT, LOCATION, REGISTRY_ID, STORAGE_ID, TENANT, WORKSPACE, WORKSPACE_ID, Cloud
from localcloud.documents import Document
from localcloud.environments import Environments
from localcloud.event_grid import EventGrid
from localcloud.online_endpoints import OnlineEndpoints
from localcloud.processes import Processes

_COMPUTES: dict[str, Document] = {
    "cpu-cluster": {
        "computeType": "AmlCompute",
        "properties": {
            "vmSize": "STANDARD_DS3_V2",
            "vmPriority": "Dedicated",
            "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT120S"},
            "allocationState": "Steady",
            "currentNodeCount": 1,
            "targetNodeCount": 1,
        },
    },
    "aks-prod": {
        "computeType": "Kubernetes",
        "properties": {"namespace": "default", "defaultInstanceType": "defaultinstancetype", "instanceTypes": {}},
    },
}


class AzureML:
    """The workspace."""

    def __init__(
        self,
        cloud: Cloud,
        environments: Environments,
        processes: Processes,
        grid: EventGrid,
        online_endpoints: OnlineEndpoints,
    ) -> None:
        self._cloud = cloud
        self._files = BlobFiles(cloud)
        self._assets = Assets(cloud, grid, self._files)
        steps = Steps(cloud, environments, processes, self._assets, self._files)
        self._jobs = Jobs(cloud, JobStore(cloud, grid), self._assets, steps)
        self._endpoints = online_endpoints
        online_endpoints.attach(self._assets)

    def routes(self) -> list[web.RouteDef]:
        """Everything below the workspace, and the document that tells where the run history is."""
        return [
            web.get(WORKSPACE_ID, self._get),
            web.get("/discovery", self._discovery),
            web.get(f"{WORKSPACE_ID}/computes", self._list_computes),
            web.get(f"{WORKSPACE_ID}/computes/{{compute}}", self._get_compute),
            web.get(f"{WORKSPACE_ID}/datastores", self._list_datastores),
            web.get(f"{WORKSPACE_ID}/datastores/{{datastore}}", self._get_datastore),
            web.post(f"{WORKSPACE_ID}/datastores/{{datastore}}/listSecrets", self._list_secrets),
            *self._assets.routes(),
            *self._jobs.routes(),
            *self._endpoints.routes(),
        ]

    async def start(self) -> None:
        """Settle the jobs that a previous process left."""
        await self._jobs.start()

    async def close(self) -> None:
        """Stop the jobs and close the connections."""
        await self._jobs.close()
        await self._files.close()

    async def _get(self, _: web.Request) -> web.Response:
        properties = {
            "workspaceId": "00000000-0000-0000-0000-0000000000ff",
            "friendlyName": WORKSPACE,
            "discoveryUrl": f"{self._cloud.url('arm')}/discovery",
            "mlFlowTrackingUri": f"{self._cloud.url('arm')}/mlflow/v1.0{WORKSPACE_ID}",
            "storageAccount": STORAGE_ID,
            "containerRegistry": REGISTRY_ID,
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Enabled",
            "tenantId": TENANT,
        }
        return web.json_response(
            {
                "id": WORKSPACE_ID,
                "name": WORKSPACE,
                "type": "Microsoft.MachineLearningServices/workspaces",
                "location": LOCATION,
                "kind": "Default",
                "identity": {"type": "SystemAssigned", "principalId": TENANT, "tenantId": TENANT},
                "tags": {},
                "properties": properties,
                "systemData": arm.system_data("2026-01-01T00:00:00Z"),
            }
        )

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response(dict.fromkeys(("api", "history", "experimentation"), self._cloud.url("arm")))

    async def _list_computes(self, _: web.Request) -> web.Response:
        return web.json_response({"value": [_compute(name) for name in _COMPUTES]})

    async def _get_compute(self, request: web.Request) -> web.Response:
        name = request.match_info["compute"]
        if name not in _COMPUTES:
            raise arm.missing("compute", name)
        return web.json_response(_compute(name))

    async def _list_datastores(self, _: web.Request) -> web.Response:
        return web.json_response({"value": [_datastore()]})

    async def _get_datastore(self, request: web.Request) -> web.Response:
        self._known_datastore(request)
        return web.json_response(_datastore())

    async def _list_secrets(self, request: web.Request) -> web.Response:
        self._known_datastore(request)
        await self._files.ensure(CONTAINER)
        return web.json_response({"secretsType": "Sas", "sasToken": self._files.container_sas(CONTAINER)})

    def _known_datastore(self, request: web.Request) -> None:
        if request.match_info["datastore"] != "workspaceblobstore":
            raise arm.missing("datastore", request.match_info["datastore"])


def _compute(name: str) -> Document:
    return {
        "id": f"{WORKSPACE_ID}/computes/{name}",
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/computes",
        "location": LOCATION,
        "tags": {},
        "properties": _COMPUTES[name] | {"provisioningState": "Succeeded", "computeLocation": LOCATION},
    }


def _datastore() -> Document:
    properties = {
        "datastoreType": "AzureBlob",
        "accountName": LAKE_ACCOUNT,
        "containerName": CONTAINER,
        "endpoint": "core.local",
        "protocol": "https",
        "credentials": {"credentialsType": "Sas"},
        "isDefault": True,
        "serviceDataAccessAuthIdentity": "None",
        "tags": {},
        "properties": {},
    }
    return {
        "id": f"{WORKSPACE_ID}/datastores/workspaceblobstore",
        "name": "workspaceblobstore",
        "type": "Microsoft.MachineLearningServices/workspaces/datastores",
        "properties": properties,
        "systemData": arm.system_data("2026-01-01T00:00:00Z"),
    }
