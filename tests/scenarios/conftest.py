"""One cloud for all scenarios; each uses tables and names of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.scenarios.town import Town


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    """The app on a local cloud of its own."""
    town = Town(f"scenarios-{os.getpid()}")
    try:
        town.start()
        yield town
    finally:
        town.end()
