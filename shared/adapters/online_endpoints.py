"""Kubernetes online endpoints of Azure ML through azure-ai-ml.

The SDK's `begin_` calls send their request and poll on a daemon thread of their own: nobody waits for it here, the
provisioning state is read again instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, KubernetesOnlineDeployment, KubernetesOnlineEndpoint

from shared.adapters.azureml_client import calling_azure_ml, word
from shared.errors import NotFound, Refused, Unavailable
from shared.release_facts import DIGEST_TAG, Deployment, Endpoint

_PORT = 5001
_LOG_LINES = 40
_ROUTES = {
    "liveness_route": {"path": "/", "port": _PORT},
    "readiness_route": {"path": "/", "port": _PORT},
    "scoring_route": {"path": "/score", "port": _PORT},
}


class OnlineEndpoints:
    """The online endpoints of one workspace."""

    def __init__(self, client: MLClient, variables: Mapping[str, str]) -> None:
        self._client, self._variables = client, variables

    def endpoint(self, name: str) -> Endpoint | None:
        """An endpoint, None when there is none."""
        try:
            with calling_azure_ml(f"online endpoint {name}"):
                found: Any = self._client.online_endpoints.get(name)
        except NotFound:
            return None
        return Endpoint(
            traffic={deployment: int(share) for deployment, share in (found.traffic or {}).items()},
            state=word(found.provisioning_state),
            scoring_uri=found.scoring_uri,
            compute=str(getattr(found, "compute", "") or "").rsplit("/", 1)[-1].removeprefix("azureml:") or None,
        )

    def deployments(self, endpoint: str) -> Mapping[str, Deployment]:
        """The deployments of an endpoint by name."""
        try:
            with calling_azure_ml(f"the deployments of online endpoint {endpoint}"):
                found = list(self._client.online_deployments.list(endpoint))
        except NotFound:
            return {}
        return {one.name: Deployment(word(one.provisioning_state), one.tags or {}) for one in found if one.name}

    def deploy(self, endpoint: str, name: str, repository: str, image: str, tags: Mapping[str, str]) -> None:
        """Ask for a deployment of an image, without traffic; does not wait for it."""
        digest = tags[DIGEST_TAG].removeprefix("sha256:")
        environment = Environment(name=repository, version=digest[:32], image=image, inference_config=_ROUTES)
        deployment = KubernetesOnlineDeployment(
            name=name,
            endpoint_name=endpoint,
            environment=environment,
            environment_variables=self._told(endpoint, name),
            instance_count=1,
            tags=dict(tags),
        )
        with calling_azure_ml(f"deployment {name} of online endpoint {endpoint}"):
            self._client.online_deployments.begin_create_or_update(deployment)

    def _told(self, endpoint: str, name: str) -> dict[str, str]:
        """The container's variables: its port, who it is, and where its scoring log goes."""
        own = {"PORT": str(_PORT), "ENDPOINT_NAME": endpoint, "DEPLOYMENT_NAME": name}
        return own | dict(self._variables)

    def remove(self, endpoint: str, name: str) -> None:
        """Ask for the end of a deployment; does not wait for it."""
        try:
            with calling_azure_ml(f"deployment {name} of online endpoint {endpoint}"):
                self._client.online_deployments.begin_delete(name, endpoint)
        except NotFound:
            return

    def write_traffic(self, endpoint: str, traffic: Mapping[str, int], seen: Mapping[str, int]) -> None:
        """Ask for a traffic map in the place of the one that was `seen`; does not wait for it.

        Azure ML has no conditional write: the map is read again just before, and a changed one is not written over.
        """
        with calling_azure_ml(f"online endpoint {endpoint}"):
            found = self._client.online_endpoints.get(endpoint)
            if not isinstance(found, KubernetesOnlineEndpoint):
                raise Refused(f"online endpoint {endpoint} is not a Kubernetes one")
            now = {name: int(share) for name, share in (found.traffic or {}).items()}
            if _positive(now) != _positive(seen):
                raise Unavailable(
                    f"the traffic of online endpoint {endpoint} has changed since it was looked at: {now}"
                )
            found.traffic = now | dict(traffic)
            self._client.online_endpoints.begin_create_or_update(found)

    def logs(self, endpoint: str, name: str) -> str:
        """The end of a deployment's log, empty when there is none."""
        try:
            with calling_azure_ml(f"the log of deployment {name}"):
                return str(self._client.online_deployments.get_logs(name, endpoint, _LOG_LINES))
        except (NotFound, Refused, Unavailable):
            return ""

    def key(self, endpoint: str) -> str:
        """The key that callers of the endpoint present."""
        with calling_azure_ml(f"the keys of online endpoint {endpoint}"):
            keys: Any = self._client.online_endpoints.get_keys(endpoint)
        return str(keys.primary_key)


def _positive(shares: Mapping[str, int]) -> dict[str, int]:
    return {name: int(share) for name, share in shares.items() if share}
