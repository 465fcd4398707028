"""A container registry through azure-containerregistry: what an image says of itself, read by its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from azure.containerregistry import ArtifactManifestOrder, ContainerRegistryClient, DigestValidationError
from azure.core.credentials import TokenCredential

from shared.adapters.azure_calls import PATIENCE, calling
from shared.errors import NotFound, Refused


class Registry:
    """One registry; `endpoint` is its address with https://.

    `audience` is what its tokens are asked for; `https://management.azure.com` in the public cloud.
    """

    def __init__(self, endpoint: str, credential: TokenCredential, *, audience: str) -> None:
        self._host = endpoint.removeprefix("https://").rstrip("/")
        self._client = ContainerRegistryClient(endpoint, credential, audience=audience.rstrip("/"), **PATIENCE)

    def reference(self, repository: str, digest: str) -> str:
        """How an image is pulled by its digest."""
        return f"{self._host}/{repository}@{digest}"

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest that a tag names now, None when there is no such tag."""
        try:
            with calling(f"tag {repository}:{tag}"):
                return str(self._client.get_tag_properties(repository, tag).digest)
        except NotFound:
            return None

    def newest(self, repository: str) -> str | None:
        """The digest that was pushed or tagged last, None in an empty repository."""
        try:
            with calling(f"the images of {repository}"):
                newest = self._client.list_manifest_properties(
                    repository, order_by=ArtifactManifestOrder.LAST_UPDATED_ON_DESCENDING, results_per_page=1
                )
                found = next(iter(newest), None)
        except NotFound:
            return None
        return str(found.digest) if found else None

    def labels(self, repository: str, digest: str) -> Mapping[str, str] | None:
        """The labels of an image, None when there is no such image.

        The SDK checks manifest and config against their digests.
        """
        image = f"image {repository}@{digest}"
        try:
            with calling(image):
                manifest: Any = self._client.get_manifest(repository, digest).manifest
                config = b"".join(self._client.download_blob(repository, manifest["config"]["digest"]))
        except NotFound:
            return None
        except DigestValidationError as error:
            raise Refused(f"{image}: the registry has answered with other bytes than the digest's: {error}") from error
        except KeyError as error:
            raise Refused(f"{image} has no config: it is an index of images, or no image at all") from error
        labels: Any = (json.loads(config).get("config") or {}).get("Labels") or {}
        return {str(name): str(value) for name, value in labels.items()}
