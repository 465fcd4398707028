"""What the parts have found, as tables; and the numbers of them that the goals are judged by."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from localcloud.cloud import ROOT

FOLDER = ROOT / ".local" / "benchmarks"
README = Path(__file__).with_name("README.md")
_OURS = ("azure-functions", "azure-data-tables", "aiohttp", "databricks-sdk")


@dataclasses.dataclass
class Part:
    """One section: its title, its lines, and facts by name for the goals."""

    title: str
    lines: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, float] = dataclasses.field(default_factory=dict)

    def table(self, *names: str) -> None:
        """Begin a table."""
        self.lines += ["", "| " + " | ".join(names) + " |", "|" + "---|" * len(names)]

    def row(self, *cells: object) -> None:
        """One row of it."""
        self.lines.append("| " + " | ".join(map(str, cells)) + " |")

    def note(self, *sentences: str) -> None:
        """Sentences below the title or the table."""
        self.lines += ["", *sentences]

    def text(self) -> str:
        """The section in Markdown."""
        return "\n".join([f"## {self.title}", *self.lines, ""])


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, with the least and the most."""
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} [{low:,.{digits}f}–{high:,.{digits}f}]"  # noqa: RUF001 a range


def machine() -> str:
    """Where and when this is measured, with the versions of what is ours."""
    lock = json.loads((ROOT / "localcloud" / "npm" / "package.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _OURS)
    now = f"{dt.datetime.now(dt.UTC):%d %B %Y, %H:%M} UTC"
    return (
        f"{now}; {os.cpu_count()} cores ({_processor()}, {platform.machine()}), "
        f"load before {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
        f"Azurite {lock['dependencies']['azurite']}, {versions}; commit {_commit()}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    git = ROOT / ".git"
    if git.is_file():  # a worktree: the file names its folder
        git = Path(git.read_text(encoding="utf-8").removeprefix("gitdir:").strip())
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head[:7]
        for place in (git, git.parent.parent):
            found = place / head.removeprefix("ref: ")
            if found.exists():
                return found.read_text(encoding="utf-8")[:7]
    except OSError:
        pass
    return "unknown"


INTRODUCTION = """# Benchmarks

`make bench` measures everything here in one run on one machine and rewrites this page.
`python -m benchmarks --quick` is one small round of all that needs no other system; `--only accept,storm` picks parts.
What is measured side by side takes turns, round by round, so that all meet the same moods of the machine: trust ratios.
A cell is a median, with the least and the most of the rounds in brackets.
Load is HTTP deliveries to the webhook of the local Functions host, which runs the real `function_app.py`.
That host is a Python program on the same cores, so its cost is in every number of ours.
The timer that builds the id index, every five minutes, is off, for it would be in some rounds and not in others;
what it costs is measured in the part on growth.
A batch of 64 is one invocation of the function.
What bounds a run, and what was tried, is in [decision 27](../docs/decisions/27-runs-use-the-thin-client-too.md);
of the intake in [02](../docs/decisions/02-own-rest-client-for-the-intake.md).
A delivery that was refused is sent again, as Event Grid does, and counted; what was said is in
`.local/benchmarks/refused.txt`.

**What an acknowledgement means.** Sluice: the journal and every matched lane have the event.
Azurite answers from memory and saves every five seconds, for us as for the raw inserts beside us:
none of their acknowledgements has been on a disk.
It looks for a row among all rows of its partition, and replacing one moves the places of all rows of the table (its
`LokiTableMetadataStore`, over LokiJS), so that it grows slow as it fills, which Azure's tables do not.  Each row of the
first table therefore has lanes of its own, and our rounds begin with an empty store, the raw inserts' too; the other
systems keep what they hold.  What size does is measured in the part on growth.
Restate, and DBOS on either database, call fsync before they answer; Prefect acknowledges into the memory of its server.
Azure Storage is durable when it answers, and further away: no number here is a measurement of Azure.
"""


def page(about: str, goals: Iterable[str], parts: Sequence[Part], others: Mapping[str, str]) -> str:
    """The whole page."""
    lines = [INTRODUCTION, f"**Last run:** {about}.", ""]
    lines += [f"* {name}: {what}" for name, what in others.items()]
    lines += ["", "## Goals", "", *goals, ""]
    return "\n".join(lines + [part.text() for part in parts]).rstrip() + "\n"
