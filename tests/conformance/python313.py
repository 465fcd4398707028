"""A Python 3.13 with Microsoft's worker library, and running the harness in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = "azure-functions-runtime==1.3.0"
FOLDER = ROOT / ".envs" / "conformance313"
HARNESS = Path(__file__).resolve().parent / "harness.py"


def interpreter() -> Path | None:
    """A Python 3.13: the variable SLUICE_PYTHON313, this one, pyenv's, or the PATH's."""
    named = os.environ.get("SLUICE_PYTHON313")
    if named:
        return Path(named)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*sorted(pyenv.glob("3.13*/bin/python"), reverse=True), *_on_path()]
    if sys.version_info[:2] == (3, 13):
        candidates.insert(0, Path(sys.executable))
    return next((path for path in candidates if _is_313(path)), None)


def _on_path() -> list[Path]:
    found = shutil.which("python3.13")
    return [Path(found)] if found else []


def _is_313(path: Path) -> bool:
    # A version manager's shim is on the PATH also when its version is not chosen: only running it tells.
    command = [str(path), "-c", "import sys; print(sys.version_info[:2] == (3, 13))"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "True"
    except OSError:
        return False


def environment(python: Path) -> Path:
    """The interpreter of an environment with the runtime and all that deploys, built when absent or out of date."""
    requirements = ROOT / "requirements.txt"
    wanted = hashlib.sha256(f"{python}\n{RUNTIME}\n{requirements.read_text(encoding='utf-8')}".encode()).hexdigest()
    stamp = FOLDER / "stamp"
    built = FOLDER / "bin" / "python"
    if built.exists() and stamp.exists() and stamp.read_text() == wanted:
        return built
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise FileNotFoundError("uv is not installed: run `make setup`")
    shutil.rmtree(FOLDER, ignore_errors=True)
    for command in (
        [uv, "venv", "--quiet", "--python", str(python), str(FOLDER)],
        [uv, "pip", "install", "--quiet", "--python", str(built), RUNTIME, "-r", str(requirements)],
    ):
        subprocess.run(command, env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"}, check=True, cwd=ROOT)
    stamp.write_text(wanted)
    return built


def drive(
    python: Path, app: Path, calls: Sequence[Mapping[str, Any]], folder: Path, settings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Index `app` and make `calls` in a process of its own; what the harness wrote."""
    asked, answered = folder / "calls.json", folder / "result.json"
    asked.write_text(json.dumps(list(calls)), encoding="utf-8")
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(settings or {})}
    command = [str(python), "-P", str(HARNESS), str(app), str(asked), str(answered)]
    ended = subprocess.run(
        command, cwd=app, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False
    )
    assert answered.exists(), f"the harness ended with {ended.returncode}:\n{ended.stdout.decode()[-4000:]}"
    return json.loads(answered.read_text(encoding="utf-8")) | {"log": ended.stdout.decode()}
