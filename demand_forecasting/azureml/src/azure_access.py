"""How the steps reach Azure: blobs of the lake's account, and Azure Resource Manager without a client library.

Where Azure is comes from the environment: AZURE_RESOURCE_MANAGER, AZURITE_BLOB_STORAGE_URL and the account's key when
there is one; else the public addresses and the identity that the job runs as.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any
from urllib.parse import urlsplit

from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from step import StepFailed

CONTAINER = "azureml"
"""Of the gold table's account: the container of the workspace's datastore `workspaceblobstore`."""


@dataclasses.dataclass(frozen=True)
class Address:
    """An `abfss://` address in its parts."""

    container: str
    account: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> Address:
        """The parts of `abfss://<container>@<account>.dfs.core.windows.net/<path>`."""
        parts = urlsplit(uri)
        if parts.scheme != "abfss" or not parts.username or not parts.hostname:
            raise StepFailed(f"{uri!r} is not of the form abfss://<container>@<account>.dfs.core.windows.net/<path>")
        return cls(parts.username, parts.hostname.split(".")[0], parts.path.strip("/"))

    def __str__(self) -> str:
        return f"abfss://{self.container}@{self.account}.dfs.core.windows.net/{self.path}"


def container(account: str, name: str) -> ContainerClient:
    """The container `name` of `account`."""
    emulator = os.environ.get("AZURITE_BLOB_STORAGE_URL")
    address = f"{emulator}/{account}" if emulator else f"https://{account}.blob.core.windows.net"
    credential = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY") or DefaultAzureCredential()
    return BlobServiceClient(address, credential=credential).get_container_client(name)


def required(name: str) -> str:
    """The environment variable `name`, which Azure ML sets for every job."""
    value = os.environ.get(name)
    if not value:
        raise StepFailed(f"{name} is not set: this step runs inside an Azure ML job, which sets it")
    return value


def group() -> str:
    """The resource id of the workspace's resource group."""
    subscription, name = required("AZUREML_ARM_SUBSCRIPTION"), required("AZUREML_ARM_RESOURCEGROUP")
    return f"/subscriptions/{subscription}/resourceGroups/{name}"


def workspace() -> str:
    """The resource id of the workspace that this job runs in."""
    name = required("AZUREML_ARM_WORKSPACE_NAME")
    return f"{group()}/providers/Microsoft.MachineLearningServices/workspaces/{name}"


def arm(method: str, path: str, *, version: str, body: Any = None, **query: str) -> dict[str, Any] | None:
    """Call Azure Resource Manager at `path`, a resource id or a whole address; its answer, or None for a 404."""
    client, base = _client()
    url = path if path.startswith("https://") else f"{base}{path}"
    params = {} if "?" in url else {"api-version": version, **query}
    request = HttpRequest(method, url, params=params, json=body)
    response = client.send_request(request)
    if response.status_code == 404:
        return None
    try:
        response.raise_for_status()
    except HttpResponseError as error:
        raise StepFailed(f"{method} {path} was refused: {error.message}") from error
    return dict(response.json()) if response.content else {}


@functools.cache
def _client() -> tuple[PipelineClient[Any, Any], str]:
    base = os.environ.get("AZURE_RESOURCE_MANAGER", "https://management.azure.com/").rstrip("/")
    scope = "https://management.azure.com/.default"
    policies = [RetryPolicy(), BearerTokenCredentialPolicy(DefaultAzureCredential(), scope)]
    return PipelineClient(base, policies=policies, transport=RequestsTransport()), base
