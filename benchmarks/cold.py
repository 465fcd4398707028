"""Cold start: indexing `function_app.py` against an empty function app, each in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from localcloud.cloud import ROOT

_EMPTY = "import azure.functions as func\n\napp = func.FunctionApp()\n"
_PROGRAM = (
    "import json, sys, time; t = time.perf_counter(); import function_app; function_app.app.get_functions(); "
    "print(json.dumps([(time.perf_counter() - t) * 1000, len(sys.modules)]))"
)


def once(folder: Path) -> tuple[float, int]:
    """Milliseconds and modules of one index."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=folder, capture_output=True, text=True, check=True)
    taken, modules = json.loads(done.stdout)
    return taken, modules


def measure(rounds: int) -> dict[str, list[tuple[float, int]]]:
    """Both apps, turn and turn about; the first turn warms the disk's cache and does not count."""
    found: dict[str, list[tuple[float, int]]] = {"function_app.py": [], "empty app": []}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "function_app.py").write_text(_EMPTY)
        for turn in range(rounds + 1):
            for name, place in (("function_app.py", ROOT), ("empty app", Path(folder))):
                result = once(place)
                if turn:
                    found[name].append(result)
    return found
