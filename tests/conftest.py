"""What all tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azurites import Azurite, azurite_program


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One Azurite for the whole session; tests choose names of their own for what they keep in it."""
    program = azurite_program()
    if program is None:
        pytest.fail("Azurite is not installed: run `make setup`, or set AZURITE to its program")
    folder = tmp_path_factory.mktemp("azurite")
    running = Azurite(program, folder)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


_ORDER = ("unit", "contract", "simulation", "workload", "adapters", "localcloud", "conformance", "scenarios")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fast tests first; within a folder the order stays."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return _ORDER.index(folder) if folder in _ORDER else 0

    items.sort(key=place)
