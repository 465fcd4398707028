"""Failures of Azure's backends as what the caller should do: repeat, or give up with a sentence that helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.identity import CredentialUnavailableError

from shared.errors import NotFound, Refused, SluiceError, Unavailable

# 408, 429 and 5xx are the platform's trouble.  409 is Azure Resource Manager's word for "another operation is under
# way on this", 423 for a lock: both pass.
_PASSING = frozenset({408, 409, 423, 425, 429})

PATIENCE: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": 1}
"""How long one call of an SDK may take: by default it is three times five minutes, and the run would stand still."""


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Raise NotFound, Unavailable or Refused for a call that failed; `what` names the thing in the sentence."""
    try:
        yield
    except SluiceError:
        raise
    except CredentialUnavailableError as error:
        raise Unavailable(f"{what}: no credential is available: {_line(error)}") from error
    except HttpResponseError as error:
        raise _translated(what, error) from error
    except AzureError as error:
        raise Unavailable(f"{what}: it could not be reached: {_line(error)}") from error


def _translated(what: str, error: HttpResponseError) -> SluiceError:
    status = error.status_code
    if status == 404:
        return NotFound(f"{what}: it does not exist")
    if status is None or status in _PASSING or status >= 500:
        return Unavailable(f"{what}: {status} {_line(error)}", retry_after=_retry_after(error))
    if status in (401, 403) or isinstance(error, ClientAuthenticationError):
        return Refused(f"{what}: no permission ({status}): does the app's identity have the role? {_line(error)}")
    return Refused(f"{what}: refused ({status}): {_line(error)}")


def _retry_after(error: HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    for name, scale in (("retry-after-ms", 1000.0), ("x-ms-retry-after-ms", 1000.0), ("Retry-After", 1.0)):
        value = headers.get(name)
        if value is not None and str(value).replace(".", "", 1).isdigit():
            return float(value) / scale
    return None


def _line(error: Exception) -> str:
    """The error in one line: Azure's own code and message where it gives them."""
    told = getattr(error, "error", None)
    code, message = getattr(told, "code", None), getattr(told, "message", None)
    text = f"{code}: {message}" if code and message else getattr(error, "message", None) or str(error)
    return " ".join(str(text).split())[:500]
