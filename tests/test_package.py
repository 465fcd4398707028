"""The deployable package: what `.funcignore` leaves is what the app needs, and nothing else."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pathspec
import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = {"function_app.py", "functions", "host.json", "requirements.txt", "routes.yaml", "shared"}
NEVER = (".envs", ".local", ".git", ".venv", "node_modules")
PROBES = (
    ".env", ".venv/lib/x.py", ".local/demo/x.json", ".envs/azurite/x", ".git/config", ".github/workflows/x.yml",
    "local.settings.json", "local.settings.sample.json", "tests/conftest.py", "docs/routes.md", "demo/main.py",
    "shared/__pycache__/lanes.pyc", "sluice.egg-info/PKG-INFO", "infra/main.bicep", "README.md",
)  # fmt: skip


def rules() -> pathspec.GitIgnoreSpec:
    """`.funcignore`, read as git reads its own."""
    return pathspec.GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text(encoding="utf-8").splitlines())


def packaged() -> list[Path]:
    """The files that deploy, relative to the checkout."""
    ignored = rules()
    tops = [entry for entry in ROOT.iterdir() if entry.name not in NEVER]
    files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file()]
    relative = sorted(file.relative_to(ROOT) for file in files)
    return [file for file in relative if not ignored.match_file(file.as_posix())]


def test_the_package_holds_the_apps_parts_and_nothing_else() -> None:
    assert {file.parts[0] for file in packaged()} == TOP


def test_the_package_holds_code_and_data_only() -> None:
    assert {file.suffix for file in packaged()} <= {".py", ".json", ".txt", ".yaml", ".html", ".css", ".js"}


@pytest.mark.parametrize("path", PROBES)
def test_what_must_never_deploy_does_not(path: str) -> None:
    assert rules().match_file(path)


def test_the_package_imports_nothing_of_ours_that_it_does_not_hold() -> None:
    held = {Path(file.parts[0]).stem for file in packaged()}
    ours = {entry.stem for entry in ROOT.iterdir() if (entry / "__init__.py").exists() or entry.suffix == ".py"}

    missing = {
        f"{file} imports {name}"
        for file in packaged()
        if file.suffix == ".py"
        for name in _imports((ROOT / file).read_text(encoding="utf-8"))
        if name in ours - held
    }

    assert missing == set()


def test_the_package_alone_can_be_indexed(tmp_path: Path) -> None:
    for file in packaged():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    program = "import function_app; print(len(function_app.app.get_functions()), function_app.__file__)"

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    count, place = ended.stdout.split()
    assert int(count) > 0
    assert Path(place).parent == tmp_path


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
