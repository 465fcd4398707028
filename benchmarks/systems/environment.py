"""The peers' environments: each its own, made by the harness from PyPI and npm, kept from run to run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import bootstrap
from benchmarks.systems.system import NotHere
from localcloud import node
from localcloud.cloud import ROOT

PEERS = ROOT / ".local" / "benchmarks" / "peers"
_WITHIN = 300
_UV = ROOT / ".venv" / "bin" / "uv"


def python(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with exactly these packages.  Raises NotHere."""
    home = PEERS / f"{name}-python"
    wanted, installed = json.dumps(list(packages)), home / "installed.json"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        _run([_UV, "venv", "--quiet", "--clear", "--python", sys.executable, home])
        _run([_UV, "pip", "install", "--quiet", "--python", home / "bin" / "python", *packages])
        installed.write_text(wanted, encoding="utf-8")
    return home / "bin" / "python"


def npm(name: str, packages: Sequence[str]) -> Path:
    """The `node_modules` of a folder with these packages.  Raises NotHere."""
    home = PEERS / f"{name}-npm"
    wanted, installed = json.dumps(list(packages)), home / "installed.json"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        runtime = node.find(ROOT / ".envs")
        if runtime is None:
            raise NotHere("there is no Node.js for npm")
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text("{}", encoding="utf-8")
        _run([*node.npm(runtime), "install", "--no-audit", "--no-fund", "--loglevel=error", *packages], home)
        installed.write_text(wanted, encoding="utf-8")
    return home / "node_modules"


def _run(command: Sequence[object], cwd: Path = ROOT) -> None:
    argv = [str(part) for part in command]
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=bootstrap.installer_environment(), capture_output=True, text=True, check=False,
            timeout=_WITHIN,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"cannot be installed: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise NotHere(f"cannot be installed: {said[0][:200]}")
