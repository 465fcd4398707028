"""What the four steps share: how a step speaks, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable


class StepFailed(Exception):
    """The step cannot or must not go on; the message says why and what would help."""


def say(text: str) -> None:
    """One line for the job's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(step: Callable[[], None]) -> None:
    """Run `step`; a StepFailed ends the process with status 1 and its message on standard error."""
    try:
        step()
    except StepFailed as failure:
        sys.stderr.write(f"{failure}\n")
        sys.exit(1)
