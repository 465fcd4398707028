"""How every Azure ML adapter reaches its workspace, and what a failed call means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.ai.ml import MLClient
from azure.ai.ml.exceptions import MlException
from azure.core.credentials import TokenCredential

from shared.adapters.azure_calls import PATIENCE, calling
from shared.errors import Refused

PUBLIC = "https://management.azure.com"


def connect(
    credential: TokenCredential, subscription: str, resource_group: str, workspace: str, *, resource_manager: str
) -> MLClient:
    """A client of one workspace; another resource manager than the public one is a cloud of its own."""
    cloud: dict[str, Any] = {}
    manager = resource_manager.rstrip("/")
    if manager != PUBLIC:
        cloud = {
            "cloud": manager,  # the SDK keeps the first metadata of a name for the whole process
            "cloud_metadata": {
                "azure_portal": manager,
                "resource_manager": f"{manager}/",
                "active_directory": manager,
                "aml_resource_id": "https://ml.azure.com",
                "storage_endpoint": "core.local",
                "registry_discovery_endpoint": manager,
            },
        }
    return MLClient(credential, subscription, resource_group, workspace, enable_telemetry=False, **PATIENCE, **cloud)


@contextmanager
def calling_azure_ml(what: str) -> Iterator[None]:
    """As `calling`, and the SDK's own validation counts as a refusal."""
    with calling(what):
        try:
            yield
        except MlException as error:
            raise Refused(f"{what}: {' '.join(str(error).split())[:500]}") from error


def word(state: Any) -> str:
    """A state as Azure writes it; the SDK gives some as enums, some as text."""
    return str(getattr(state, "value", state))
