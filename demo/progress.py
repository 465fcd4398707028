"""What a watcher sees while it happens: a live list of steps in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from demo.report import Report, Step


class Progress:
    """Runs steps one after the other, keeps the report, and shows both."""

    def __init__(self, report: Report, console: Console | None = None) -> None:
        self.report = report
        self.console = console or Console(highlight=False)
        self._now: tuple[str, str] = ("", "")
        self._notes: dict[str, str] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the steps while they run; a terminal gets a live list."""
        if not self.console.is_terminal:
            yield
            return
        with Live(self, console=self.console, refresh_per_second=6, vertical_overflow="visible"):
            yield

    @contextlib.contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """One step; what fails in it is kept in the report and ends the demonstration."""
        step = Step(name, title)
        self.report.steps.append(step)
        self._now = ("", "")
        self._line(f"{title} ...")
        try:
            yield step
        except KeyboardInterrupt:
            step.error = "interrupted"
            raise
        except BaseException as failure:
            step.error = str(failure) or type(failure).__name__
            raise
        finally:
            step.seconds = step.elapsed
            note = f": {self._notes[name]}" if name in self._notes else ""
            self._line(f"{title}: {'failed' if step.error else 'done'} in {step.seconds:.1f} s{note}")

    def doing(self, service: str, what: str) -> None:
        """Say what is happening now, in which service."""
        if (service, what) != self._now:
            self._now = (service, what)
            self._line(f"  {service}: {what}")

    def note(self, step: Step, text: str) -> None:
        """Keep one line about a step that is done."""
        self._notes[step.name] = text

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            with self._lock:
                sys.stdout.write(f"[{self.report.seconds:6.1f} s] {text}\n")
                sys.stdout.flush()

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(width=1)
        table.add_column(no_wrap=True, width=26)
        table.add_column(justify="right", no_wrap=True, width=7)
        table.add_column(style="bright_black", overflow="ellipsis", no_wrap=True, ratio=1)
        for step in list(self.report.steps):
            table.add_row(self._mark(step), step.title, f"{step.elapsed:.1f} s", self._about(step))
        return Group(table, Text(f"\n  {self.report.seconds:.0f} s so far; Ctrl-C ends it cleanly", "bright_black"))

    def _mark(self, step: Step) -> RenderableType:
        if step.error:
            return Text("✗", "red")
        return self._spinner if step.seconds is None else Text("✓", "green")

    def _about(self, step: Step) -> str:
        if step.seconds is not None:
            return self._notes.get(step.name, "")
        service, what = self._now
        return f"{service}: {what}" if service else ""
