"""What people have said of a release: somebody approves what waits, anybody stops it.  Pure.

A decision is `{"verdict": "approve" | "reject", "by": name, "at": ISO 8601, "note": text}`, the newest last.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

JSON = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """One word of one person."""

    verdict: str
    by: str
    at: dt.datetime
    note: str = ""

    @staticmethod
    def of(given: JSON) -> Decision:
        """Read a decision as the run keeps it, its time as such or as ISO 8601."""
        at = given["at"] if isinstance(given["at"], dt.datetime) else dt.datetime.fromisoformat(given["at"])
        return Decision(str(given["verdict"]), str(given["by"]), at, str(given.get("note", "")))

    def told(self) -> str:
        """Who, when and why."""
        return f"{self.by} at {self.at.isoformat(timespec='seconds')}" + (f": {self.note}" if self.note else "")

    def facts(self, what: str) -> dict[str, str]:
        """The decision as the evidence keeps it."""
        said = {"verdict": self.verdict, "by": self.by, "at": self.at.isoformat(), "note": self.note}
        return {"step": what, **said}


def rejection(decisions: Sequence[Decision], since: dt.datetime) -> Decision | None:
    """The first word against the release since then."""
    return next((one for one in decisions if one.verdict == "reject" and one.at >= since), None)


def approval(decisions: Sequence[Decision], since: dt.datetime, requester: str | None) -> Decision | None:
    """The first approval since then by somebody else than the requester."""
    given = (one for one in decisions if one.verdict == "approve" and one.at >= since)
    return next((one for one in given if not same(one.by, requester)), None)


def own_approval(decisions: Sequence[Decision], since: dt.datetime, requester: str | None) -> bool:
    """Whether the requester has tried to approve."""
    given = (one for one in decisions if one.verdict == "approve" and one.at >= since)
    return any(same(one.by, requester) for one in given)


def same(one: str, other: str | None) -> bool:
    """Whether two names are one person's."""
    return other is not None and one.strip().casefold() == other.strip().casefold()
