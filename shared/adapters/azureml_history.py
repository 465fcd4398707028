"""Why an Azure ML job has failed: only the workspace's run history knows, which azure-ai-ml does not expose."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from azure.ai.ml import MLClient
from azure.core.credentials import TokenCredential

from shared import patience
from shared.adapters.azureml_client import calling_azure_ml
from shared.adapters.retry_after import retry_after
from shared.errors import Unavailable
from shared.failures import of_call
from shared.observations import Failure

_SECONDS = 10.0


class RunHistory:
    """The run history of one workspace."""

    def __init__(self, client: MLClient, credential: TokenCredential, resource_manager: str) -> None:
        self._client, self._credential = client, credential
        self._scope = f"{resource_manager.rstrip('/')}/.default"
        self._base: str | None = None

    def error(self, job: str) -> tuple[tuple[str, ...], str]:
        """Codes, the innermost first, and message of a failed job's error; none where the history has none.

        Raises Unavailable when the history does not answer: the code decides whether another attempt is worth it.
        """
        with calling_azure_ml(f"the run history of Azure ML job {job}"):
            found = self._get(f"{self._address()}/runs/{job}/details").get("error") or {}
        told = found.get("error") or {}
        return tuple(reversed(list(_codes(told)))), str(told.get("message") or "")[:1000]

    def _address(self) -> str:
        if self._base is None:
            workspace: Any = self._client.workspaces.get(self._client.workspace_name)
            services = self._get(str(workspace.discovery_url))
            if "history" not in services:
                raise Unavailable(f"{workspace.discovery_url} does not say where the run history is")
            self._base = f"{services['history'].rstrip('/')}/history/v1.0{workspace.id}"
        return self._base

    def _get(self, url: str) -> dict[str, Any]:
        """The document at an address, empty where the history has none that we may see."""
        token = self._credential.get_token(self._scope).token
        try:
            answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=patience.left(_SECONDS))
        except requests.RequestException as error:
            raise Unavailable(f"the run history does not answer: {error}") from error
        if answer.ok:
            found: dict[str, Any] = answer.json()
            return found
        if of_call(answer.status_code) is Failure.TRANSIENT:
            wish = retry_after(answer.headers, dt.datetime.now(dt.UTC))
            raise Unavailable(f"the run history answers {answer.status_code}", retry_after=wish)
        return {}


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    """The codes of an error and of those inside it."""
    inner: Any = error
    while isinstance(inner, Mapping):
        if inner.get("code"):
            yield str(inner["code"])
        inner = inner.get("innerError")
