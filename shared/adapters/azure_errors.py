"""Storage SDK failures as the errors that the control plane understands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, HttpResponseError, ResourceModifiedError

from shared.errors import Conflict, Unavailable


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise Conflict for a lost conditional write, Unavailable for anything else that the store could not do."""
    try:
        yield
    except ResourceModifiedError as error:
        raise Conflict(f"{what} has changed since it was read") from error
    except HttpResponseError as error:
        if error.status_code == 412:
            raise Conflict(f"{what} has changed since it was read") from error
        raise Unavailable(f"the store could not answer for {what}: {error.status_code} {error.reason}") from error
    except AzureError as error:
        raise Unavailable(f"the store cannot be reached for {what}: {str(error).splitlines()[0]}") from error
