"""The docs tell the truth: what they name exists."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from console.main import _parser
from shared import settings
from shared.filters import OPERATORS
from shared.intake import Outcome
from shared.observations import Failure
from shared.phases import Phase
from shared.route_file import _KEYS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "benchmarks" / "README.md", *ROOT.glob("docs/**/*.md")])
TOP = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
MADE_HERE = ("local.settings.json", ".local/", ".venv", ".envs")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def code(text: str) -> Iterator[str]:
    """What a page shows as code: spans, and the lines of blocks."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def test_no_page_is_empty_and_each_begins_with_its_title(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(text.split()) > 40


def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith(("https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


def test_files_that_are_named_exist(page: Path) -> None:
    for shown in code(page.read_text(encoding="utf-8")):
        for path in re.findall(
            r"(?<![\w./-])(?:[\w-]+/)+[\w.*-]*|(?<![\w./-])[\w-]+\.(?:py|yaml|yml|toml|txt|json|md)\b", shown
        ):
            if path.startswith(MADE_HERE) or path.split("/")[0] not in TOP:
                continue
            assert list(ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"


def test_commands_that_are_shown_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    subparsers = next(one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    for shown in code(text):
        for target in re.findall(r"\bmake ([a-z]+)", shown):
            assert target in targets, f"{page.name} says make {target}"
        for command, rest in re.findall(r"\bsluice ([a-z]+)([^`#]*)", shown):
            assert command in subparsers.choices, f"{page.name} says sluice {command}"
            for option in re.findall(r"--[a-z-]+", rest):
                known = subparsers.choices[command]._option_string_actions
                assert option in known, f"{page.name} says sluice {command} {option}"
        for module in re.findall(r"python -m ([a-z_.]+)", shown):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page.name} says {module}"


def test_no_page_knows_the_machine_it_was_written_on(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:home|root|Users|tmp|work)/", text)


def test_every_command_of_sluice_is_in_the_readme() -> None:
    subparsers = next(one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    for command in subparsers.choices:
        assert f"`sluice {command}" in read("README.md")


def test_the_page_of_routes_has_every_key_operator_action_and_setting() -> None:
    text = read("docs/routes.md")
    used = {route["action"] for route in yaml.safe_load(read("routes.yaml"))["routes"].values()}
    for word in {*_KEYS, *OPERATORS, *used, *map(str, Failure)}:
        assert f"`{word}" in text, f"docs/routes.md does not say what {word} is"
    known = re.findall(r'"(\w+)": self', inspect.getsource(settings.Settings.for_routes))
    assert known
    for name in known:
        assert f"{{settings.{name}}}" in text


def test_the_page_of_operations_has_every_outcome_and_phase() -> None:
    text = read("docs/operations.md")
    for word in (*Outcome, *Phase):
        assert f"| `{word}` |" in text


def test_the_changelog_has_the_version_of_the_package() -> None:
    version = re.search(r'^version = "([^"]+)"', read("pyproject.toml"), re.MULTILINE)
    assert version is not None
    assert f"## {version[1]}" in read("docs/changelog.md")
