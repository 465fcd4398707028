"""Failures of Azure's backends as what the caller should do: repeat, or give up with a sentence that helps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline import PipelineRequest
from azure.identity import CredentialUnavailableError

from shared import patience
from shared.adapters.retry_after import retry_after
from shared.errors import NotFound, Refused, SluiceError, Unavailable
from shared.failures import of_call
from shared.observations import Failure

_CONNECT, _READ = 5.0, 20.0


def _in_time(request: PipelineRequest[Any]) -> None:
    """Give a request no more time than its step has left."""
    options = request.context.options
    options["connection_timeout"] = patience.left(_CONNECT)
    options["read_timeout"] = patience.left(_READ)


PATIENCE: dict[str, Any] = {"retry_total": 0, "raw_request_hook": _in_time}
"""How the SDKs' clients are made: by default a call takes three times five minutes, and sleeps as long as it is told.

Without retries an answer that was lost is seen as that, and a `PUT` is not sent twice behind our back.
"""


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
    status, code = error.status_code, _code(error)
    if status == 404:
        return NotFound(f"{what}: it does not exist")
    if of_call(status, code) is Failure.TRANSIENT:
        headers = getattr(error.response, "headers", None) or {}
        wish = retry_after(headers, dt.datetime.now(dt.UTC))
        return Unavailable(f"{what}: {status} {_line(error)}", retry_after=wish)
    if status in (401, 403) or isinstance(error, ClientAuthenticationError):
        return Refused(f"{what}: no permission ({status}): does the app's identity have the role? {_line(error)}")
    return Refused(f"{what}: refused ({status}): {_line(error)}")


def _code(error: HttpResponseError) -> str | None:
    return getattr(getattr(error, "error", None), "code", None)


def _line(error: Exception) -> str:
    """The error in one line: Azure's own code and message where it gives them."""
    told = getattr(error, "error", None)
    code, message = getattr(told, "code", None), getattr(told, "message", None)
    text = f"{code}: {message}" if code and message else getattr(error, "message", None) or str(error)
    return " ".join(str(text).split())[:500]
