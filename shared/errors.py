"""The errors of Sluice, grouped by what the caller should do.

SluiceError
├── ConfigurationError   tell the user: every fault at once, nothing was started
├── NotFound             tell the user: the thing that was asked for does not exist
├── Conflict             somebody else was faster: re-read the truth and decide again
├── Closed               the generation was handed over: absorb into the next one
├── Unavailable          repeat the same call later under the same token; its outcome may be unknown
└── Refused              the backend will never accept this: nothing was started, give up
    └── Gone             ... because it was started, and somebody has deleted it: a person must decide
"""

from __future__ import annotations

from collections.abc import Sequence


class SluiceError(Exception):
    """The root of every error that Sluice raises on purpose."""


class ConfigurationError(SluiceError):
    """Settings or routes are wrong; `faults` holds one sentence each, naming the place and the mend."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class NotFound(SluiceError):
    """The event, run or lane that was asked for does not exist."""


class Conflict(SluiceError):
    """A conditional write lost: the row has changed since it was read."""


class Closed(SluiceError):
    """The open generation was closed between reading its number and absorbing into it."""


class Unavailable(SluiceError):
    """A call did not answer as it should; the effect may or may not exist.  Repeat it under the same token.

    `retry_after` is the backend's own wish in seconds, when it has one.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Refused(SluiceError):
    """The backend has refused the request for good (bad input, no permission); nothing was started."""


class Gone(Refused):
    """What the token or name stands for was started and has been deleted: whether its work is done nobody can tell."""
