"""What a route's `subject` says: which subjects it takes, and what it captures of them.  Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

_CAPTURE = re.compile(r"\{(?P<name>[A-Za-z_]\w*)(?::(?P<kind>[^{}]*))?\}")


@dataclasses.dataclass(frozen=True, slots=True)
class SubjectPattern:
    """A subject with captures: `{table}` is one path part, `{path:path}` any rest, `{version:20d}` twenty digits.

    Every subject that fits `begins` and `ends` so: most of those that do not fit are known by it.
    """

    text: str
    regex: re.Pattern[str]
    begins: str
    ends: str

    @staticmethod
    def compile(text: str) -> SubjectPattern:
        """Read a pattern.  Raises ValueError for a capture that is not one of the three kinds."""
        out, at, first = "", 0, len(text)
        if re.search(r"[{}]", _CAPTURE.sub("", text)):
            raise ValueError(f"the subject pattern {text!r} has a brace that opens or closes no capture")
        for found in _CAPTURE.finditer(text):
            out += re.escape(text[at : found.start()]) + f"(?P<{found['name']}>{_capture(found['kind'])})"
            at, first = found.end(), min(first, found.start())
        return SubjectPattern(text, re.compile(out + re.escape(text[at:])), text[:first], text[at:])

    def captured(self, subject: str) -> Mapping[str, str] | None:
        """What a subject has at each capture, None when it does not fit."""
        if not (subject.startswith(self.begins) and subject.endswith(self.ends)):
            return None
        found = self.regex.fullmatch(subject)
        return found.groupdict() if found else None


def _capture(kind: str | None) -> str:
    if kind is None:
        return "[^/]+"
    if kind == "path":
        return ".+"
    digits = re.fullmatch(r"(\d+)d", kind)
    if digits:
        return f"[0-9]{{{digits[1]}}}"
    raise ValueError(f"a capture is {{name}}, {{name:path}} or {{name:<n>d}}, not {{…:{kind}}}")
