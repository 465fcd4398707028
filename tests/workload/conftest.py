"""The workload's own environments, and gold in small."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcloud.cloud import ROOT
from localcloud.environments import Environments, label_of, pins
from tests.localcloud.conftest import cloud, namespace  # noqa: F401 - fixtures

WORKLOAD = ROOT / "demand_forecasting"
SRC = WORKLOAD / "azureml" / "src"
HERE = Path(__file__).parent

Run = Callable[..., Any]


def interpreter(file: Path) -> Path:
    """The Python of the environment that `file` pins."""
    return Environments(ROOT / ".envs").build(pins(file), label=label_of(file))


def drive(python: Path, driver: str, *args: str, **environment: str) -> Any:
    """Run a driver of this folder under `python`; what it wrote last, as JSON."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AZURE")}
    done = subprocess.run(
        [python, HERE / driver, *args],
        env=inherited | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps' modules importable by their names, as they are inside a component's code folder."""
    monkeypatch.syspath_prepend(str(SRC))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the training environment says of a small model that it has written to `folder`, with its request."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    python = interpreter(WORKLOAD / "azureml" / "environment" / "conda.yml")
    return drive(python, "training_driver.py", str(folder)) | {"folder": str(folder)}
