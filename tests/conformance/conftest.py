"""The interpreter with Microsoft's worker library."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import python313


@pytest.fixture(scope="session")
def worker() -> Path:
    """The Python 3.13 environment that holds azure-functions-runtime; skips where there is no Python 3.13."""
    found = python313.interpreter()
    if found is None:
        pytest.skip(
            "no Python 3.13 found, so Microsoft's worker runtime was NOT tried: install one with pyenv, put "
            "python3.13 on the PATH, or set SLUICE_PYTHON313 to its path"
        )
    return python313.environment(found)
