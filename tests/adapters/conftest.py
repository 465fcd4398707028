"""One running local cloud for a module of adapter tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.identity import ManagedIdentityCredential

from localcloud.cloud import ROOT, Cloud
from tests.azurites import Azurite
from tests.localcloud.machine_learning import new_cloud, services


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[Cloud]:
    """A local cloud whose services all run."""
    folder = tmp_path_factory.mktemp("cloud")
    (ROOT / ".envs").mkdir(exist_ok=True)
    (folder / ".envs").symlink_to(ROOT / ".envs")
    made = new_cloud(folder, azurite)
    with services(made):
        yield made


@pytest.fixture(scope="module")
def credential(cloud: Cloud) -> ManagedIdentityCredential:
    """The identity of the local cloud."""
    return ManagedIdentityCredential()
