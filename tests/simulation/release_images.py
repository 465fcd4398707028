"""What a release reads of an image, simulated: the registry with its labels, the model registry, the golden set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.unit.actions.release_world import FakeGolden

if TYPE_CHECKING:
    from tests.simulation.release_town import ReleaseTown

GOLDEN, REQUEST = b"{}", FakeGolden.request


def digest_of(version: int) -> str:
    """The digest of the image of a model version."""
    return f"sha256:{hashlib.sha256(f'image {version}'.encode()).hexdigest()}"


class Registry:
    """Images and models."""

    def __init__(self, town: ReleaseTown) -> None:
        self._town = town

    def labels(self, repository: str, digest: str) -> Mapping[str, str] | None:  # noqa: ARG002
        """See `release_backends.Images`."""
        if digest not in self._town.versions:
            return None
        facts = {"model.name": "m", "model.version": str(self._town.versions[digest]), "azureml.job": "job",
                 "data.version": "7", "golden.uri": "abfss://golden", "correlation": "chain",
                 "golden.sha256": hashlib.sha256(GOLDEN).hexdigest()}  # fmt: skip
        return {f"sluice.{name}": value for name, value in facts.items()}

    def tagged(self, repository: str, tag: str) -> str | None:  # noqa: ARG002
        """See `release_backends.Images`."""
        return self._town.tags.get(tag)

    def newest(self, repository: str) -> str | None:  # noqa: ARG002
        """See `release_backends.Images`."""
        return list(self._town.versions)[-1]

    def reference(self, repository: str, digest: str) -> str:
        """See `release_backends.Images`."""
        return f"registry/{repository}@{digest}"

    def tags(self, name: str, version: str) -> Mapping[str, str] | None:  # noqa: ARG002
        """See `release_backends.Models`."""
        return {"azureml_job": "job", "gold_version": "7"}


class Lake:
    """Holds the golden set."""

    def read(self, uri: str) -> bytes:  # noqa: ARG002
        """See `release_backends.Lake`."""
        return GOLDEN
