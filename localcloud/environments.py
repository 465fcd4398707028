"""Package environments apart from the app's own: one per set of pins, shared by all local clouds of a checkout.

`python -m localcloud.environments prepare` builds ahead the environments of the workload's own files.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from localcloud.cloud import ROOT

WORKLOAD_PINS = (
    "localcloud/databricks_runtime.txt",
    "demand_forecasting/azureml/**/conda.yml",
    "demand_forecasting/azureml/**/conda.yaml",
    "demand_forecasting/scoring/requirements.lock",
)
"""Files, as patterns under the checkout, whose environments are built ahead."""


class EnvironmentFailed(Exception):
    """An environment could not be built; the message holds the installer's own words."""


class Environments:
    """The environments under `root`, each in a folder named by label and hash of its pins."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def python(self, requirements: Sequence[str], *, label: str) -> Path:
        """The interpreter of the environment that holds exactly `requirements`, built on first use.

        Other processes that ask for the same environment meanwhile wait for it.
        """
        return await asyncio.to_thread(self.build, requirements, label=label)

    def build(self, requirements: Sequence[str], *, label: str) -> Path:
        """The same, for callers without an event loop."""
        folder = self._root / f"{label}-{key(requirements)[:16]}"
        interpreter = folder / "bin" / "python"
        if interpreter.exists():
            return interpreter
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not interpreter.exists():
                self._install(sorted(set(requirements)), folder)
        return interpreter

    def _install(self, requirements: Sequence[str], folder: Path) -> None:
        building = folder.with_name(f"{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        pins = folder.with_suffix(".txt")
        pins.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        uv = _uv()
        try:
            # Relocatable, so that the finished folder can be renamed into place in one step.
            _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(building)])
            interpreter = str(building / "bin" / "python")
            _run([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", interpreter, "-r", str(pins)])
        except EnvironmentFailed:
            shutil.rmtree(building, ignore_errors=True)
            raise
        building.rename(folder)


def key(requirements: Sequence[str]) -> str:
    """The hash that names an environment: of the sorted pins and the Python version."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256("\n".join([version, *sorted(set(requirements))]).encode()).hexdigest()


def pins(path: Path) -> list[str]:
    """The pip requirements that a requirements file or the pip section of a conda file names."""
    text = path.read_text(encoding="utf-8")
    if path.suffix not in {".yml", ".yaml"}:
        return _lines(text)
    entries = yaml.safe_load(text)["dependencies"]
    return [pin for entry in entries if isinstance(entry, dict) for pin in entry.get("pip", [])]


def _lines(text: str) -> list[str]:
    joined = text.replace("\\\n", " ").splitlines()
    bare = (line.split(" #")[0].strip() for line in joined if not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in bare if line]


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EnvironmentFailed("uv is not installed beside this Python; run `make setup`")
    return found


def _run(argv: Sequence[str]) -> None:
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise EnvironmentFailed(f"`{' '.join(argv[:3])}` failed with status {done.returncode}:\n{said}")


def prepare(root: Path = ROOT) -> list[tuple[str, Path, float]]:
    """Build the environments of the workload's pins: (file, interpreter, seconds) for each file that is there."""
    environments = Environments(root / ".envs")
    done = []
    for path in sorted({path for pattern in WORKLOAD_PINS for path in root.glob(pattern)}):
        began = time.monotonic()
        interpreter = environments.build(pins(path), label=label_of(path))
        done.append((str(path.relative_to(root)), interpreter, time.monotonic() - began))
    return done


def label_of(path: Path) -> str:
    """The readable part of the name of the environment of a file of pins."""
    if path.name == "databricks_runtime.txt":
        return "databricks"
    return "scoring" if path.suffix == ".lock" else "azureml"


def main() -> int:
    """The command line: `python -m localcloud.environments prepare`."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.environments")
    parser.add_argument("command", choices=["prepare"], help="build the workload's environments ahead")
    parser.parse_args()
    try:
        for name, interpreter, seconds in prepare():
            sys.stdout.write(f"environment of {name}: {interpreter.parent.parent.name} ({seconds:.1f} s)\n")
    except EnvironmentFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
