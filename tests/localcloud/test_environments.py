"""Package environments: named by their pins, built once, in one step."""

from __future__ import annotations

import asyncio
import subprocess
import zipfile
from pathlib import Path

import pytest

from localcloud import environments
from localcloud.environments import EnvironmentFailed, Environments


@pytest.fixture
def package(tmp_path: Path) -> str:
    """A package that needs no index."""
    source = tmp_path / "tiny"
    source.mkdir()
    wheel = source / "tiny_pin-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny_pin.py", "ANSWER = 42\n")
        file.writestr("tiny_pin-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-pin\nVersion: 1.0\n")
        file.writestr("tiny_pin-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr("tiny_pin-1.0.dist-info/RECORD", "")
    return f"tiny-pin @ {wheel.as_uri()}"


async def test_whoever_asks_at_the_same_time_gets_the_same_finished_environment(tmp_path: Path, package: str) -> None:
    root = tmp_path / "envs"
    found = await asyncio.gather(*(Environments(root).python([package], label="step") for _ in range(3)))
    assert len(set(found)) == 1
    said = subprocess.run([found[0], "-c", "import tiny_pin; print(tiny_pin.ANSWER)"], capture_output=True, check=True)
    assert said.stdout == b"42\n"
    assert [path.name for path in root.iterdir() if path.is_dir()] == [found[0].parent.parent.name]


async def test_an_environment_that_cannot_be_built_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="Distribution not found"):
        await Environments(tmp_path).python([f"no-such-package @ file://{tmp_path}/none.whl"], label="step")
    assert not list(tmp_path.glob("step-*/bin/python"))


def test_the_name_depends_on_the_pins_and_not_on_their_order() -> None:
    assert environments.key(["a==1", "b==2"]) == environments.key(["b==2", "a==1"])
    assert environments.key(["a==1"]) != environments.key(["a==2"])


def test_pins_are_read_from_requirements_and_conda_files(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# made by uv\na==1 \\\n    --hash=sha256:00\n\nb==2  # via a\n")
    assert environments.pins(lock) == ["a==1 --hash=sha256:00", "b==2"]
    conda = tmp_path / "conda.yml"
    conda.write_text("dependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - a==1\n      - b==2\n")
    assert environments.pins(conda) == ["a==1", "b==2"]
