"""Reads the subset of Dockerfiles that is built without Docker, and says clearly what lies outside it.

FROM, ARG, LABEL, ENV, COPY, CMD, and `RUN pip install -r FILE` of a file that was copied before.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")
_PIP = re.compile(r"(?:python3? -m )?pip3? install((?:\s+(?!-r)--?[\w-]+(?:=\S+)?)*)\s+(?:-r|--requirement)\s+(\S+)$")
_HARMLESS = {"--no-cache-dir", "--quiet", "-q", "--no-deps", "--require-hashes", "--disable-pip-version-check"}


class Unsupported(Exception):
    """The Dockerfile asks for something that cannot be built here; the message names the line."""


@dataclasses.dataclass
class Recipe:
    """What an image is made of."""

    base: str = ""
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, Path] = dataclasses.field(default_factory=dict)
    """Path in the image -> file of the build context."""
    lock: Path | None = None
    """The file of the build context that `RUN pip install` installs."""
    command: list[str] = dataclasses.field(default_factory=list)
    history: list[str] = dataclasses.field(default_factory=list)


def read(text: str, context: Path, arguments: Mapping[str, str]) -> Recipe:
    """The recipe that `text` describes over the files in `context`, with build `arguments` for its ARGs."""
    reader = _Reader(context, arguments)
    for number, instruction, rest in _instructions(text):
        step = reader.steps.get(instruction)
        if step is None:
            supported = ", ".join(reader.steps)
            raise Unsupported(f"line {number}: {instruction} is not supported here; use only {supported}")
        if instruction not in ("FROM", "ARG") and not reader.recipe.base:
            raise Unsupported(f"line {number}: {instruction} before FROM")
        try:
            step(rest)
        except (ValueError, OSError) as error:
            raise Unsupported(f"line {number}: {instruction} {rest}: {error}") from error
        reader.recipe.history.append(f"{instruction} {rest}")
    if not reader.recipe.base or not reader.recipe.command:
        raise Unsupported("a Dockerfile needs a FROM and a CMD")
    return reader.recipe


class _Reader:
    def __init__(self, context: Path, arguments: Mapping[str, str]) -> None:
        self._context = context
        self._given = arguments
        self._values: dict[str, str] = {}
        self.recipe = Recipe()
        self.steps: dict[str, Callable[[str], None]] = {
            "FROM": self._from,
            "ARG": self._arg,
            "LABEL": self._label,
            "ENV": self._env,
            "RUN": self._run,
            "COPY": self._copy,
            "CMD": self._cmd,
        }

    def _expand(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self._values.get(match[1] or match[2], match[3] or ""), text)

    def _from(self, rest: str) -> None:
        if self.recipe.base:
            raise ValueError("only one build stage is supported")
        self.recipe.base = self._expand(rest).split()[0]

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self._values[name] = self._given.get(name, self._expand(default.strip("\"'")))

    def _label(self, rest: str) -> None:
        self.recipe.labels |= self._pairs(rest)

    def _env(self, rest: str) -> None:
        pairs = self._pairs(rest)
        self.recipe.env |= pairs
        self._values |= pairs

    def _pairs(self, rest: str) -> dict[str, str]:
        words = shlex.split(rest)
        if len(words) == 2 and "=" not in words[0]:
            words = [f"{words[0]}={words[1]}"]
        if not all("=" in word for word in words):
            raise ValueError("expected name=value")
        return {name: self._expand(value) for name, _, value in (word.partition("=") for word in words)}

    def _run(self, rest: str) -> None:
        found = _PIP.match(" ".join(rest.split()))
        if found is None or not set(found[1].split()) <= _HARMLESS:
            raise ValueError("only `pip install -r FILE` is supported")
        if self.recipe.lock is not None:
            raise ValueError("only one requirements file can be installed")
        self.recipe.lock = self.recipe.files.get(_inside(found[2]))
        if self.recipe.lock is None:
            raise ValueError(f"{found[2]} is not in the image: COPY it before this line")

    def _copy(self, rest: str) -> None:
        words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
        words = [self._expand(word) for word in words]
        if any(word.startswith("--") for word in words) or len(words) < 2:
            raise ValueError("expected `COPY source... target` without options")
        *sources, target = words
        found = [path for source in sources for path in self._sources(source)]
        folder = target.endswith(("/", ".")) or len(found) > 1
        for path in found:
            if path.is_dir():
                self._copy_folder(path, target)
            else:
                self.recipe.files[_inside(f"{target}/{path.name}" if folder else target)] = path

    def _copy_folder(self, folder: Path, target: str) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.recipe.files[_inside(f"{target}/{path.relative_to(folder).as_posix()}")] = path

    def _sources(self, pattern: str) -> list[Path]:
        inside = _inside(pattern)
        found = [self._context] if not inside else sorted(self._context.glob(inside))
        if not found:
            raise ValueError(f"{pattern} is not in the build context")
        return found

    def _cmd(self, rest: str) -> None:
        self.recipe.command = json.loads(rest) if rest.startswith("[") else ["/bin/sh", "-c", rest]


def _inside(path: str) -> str:
    """`path` relative to the image's root."""
    parts = [part for part in PurePosixPath("/" + path).parts[1:] if part != "."]
    if ".." in parts:
        raise ValueError(f"{path} leads outside")
    return "/".join(parts)


def _instructions(text: str) -> list[tuple[int, str, str]]:
    """Line number, instruction and rest of every instruction; continued lines are joined, comments left out."""
    found, pending, began = [], "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        began = began if pending else number
        pending += stripped
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip() + " "
            continue
        instruction, _, rest = pending.partition(" ")
        found.append((began, instruction.upper(), rest.strip()))
        pending = ""
    return found
