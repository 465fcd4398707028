"""The lines of the journal, as indexing and history read them."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One record as the journal keeps it: its reference, its JSON text, and the position where the next one begins."""

    reference: str
    text: bytes
    end: int

    @property
    def record(self) -> dict[str, Any] | None:
        """What the text holds; None, and an error in the log, when it is damaged: one must not hide the others."""
        try:
            found = json.loads(self.text)
        except ValueError:
            found = None
        if isinstance(found, dict) and "kind" in found:
            return found
        logging.error("the journal's record %s is damaged and is left out", self.reference)
        return None
