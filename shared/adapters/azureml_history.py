"""Why an Azure ML job has failed: only the workspace's run history knows, which azure-ai-ml does not expose."""

from __future__ import annotations

from typing import Any

import requests
from azure.ai.ml import MLClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

_PATIENCE = 10.0


class RunHistory:
    """The run history of one workspace."""

    def __init__(self, client: MLClient, credential: TokenCredential, resource_manager: str) -> None:
        self._client, self._credential = client, credential
        self._scope = f"{resource_manager.rstrip('/')}/.default"
        self._base: str | None = None

    def error(self, job: str) -> tuple[str | None, str]:
        """Code and message of a failed job's error; nothing when they cannot be read, the failure is known anyway."""
        try:
            found = self._get(f"{self._address()}/runs/{job}/details").get("error") or {}
        except (AzureError, requests.RequestException, ValueError, KeyError):
            return None, ""
        told = found.get("error") or {}
        inner = told.get("innerError") or {}
        return inner.get("code") or told.get("code"), str(told.get("message") or "")[:1000]

    def _address(self) -> str:
        if self._base is None:
            workspace: Any = self._client.workspaces.get(self._client.workspace_name)
            services = self._get(str(workspace.discovery_url))
            self._base = f"{services['history'].rstrip('/')}/history/v1.0{workspace.id}"
        return self._base

    def _get(self, url: str) -> dict[str, Any]:
        token = self._credential.get_token(self._scope).token
        answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=_PATIENCE)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
