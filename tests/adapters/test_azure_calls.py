"""What a failed call of an Azure backend means to its caller."""

from __future__ import annotations

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import CredentialUnavailableError

from shared.adapters.azure_calls import calling
from shared.errors import NotFound, Refused, SluiceError, Unavailable


class Response:
    """What an SDK got."""

    reason = "because"
    content_type = "application/json"

    def __init__(self, status_code: int, headers: dict[str, str]) -> None:
        self.status_code, self.headers = status_code, headers

    def text(self) -> str:
        """The body."""
        return '{"error": {"code": "TheCode", "message": "the message"}}'


def failed(
    status: int, headers: dict[str, str] | None = None, kind: type[HttpResponseError] = HttpResponseError
) -> AzureError:
    return kind(response=Response(status, headers or {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (failed(404, kind=ResourceNotFoundError), NotFound, "it does not exist"),
        (failed(400), Refused, "refused"),
        (failed(401, kind=ClientAuthenticationError), Refused, "does the app's identity have the role"),
        (failed(403), Refused, "does the app's identity have the role"),
        (failed(409), Unavailable, "409"),
        (failed(429), Unavailable, "429"),
        (failed(503), Unavailable, "503"),
        (ServiceRequestError("connection refused"), Unavailable, "could not be reached: connection refused"),
        (CredentialUnavailableError("no identity"), Unavailable, "no credential is available"),
    ],
)
def test_each_failure_says_what_to_do(error: AzureError, kind: type[SluiceError], told: str) -> None:
    with pytest.raises(kind, match=told) as caught, calling("the thing"):
        raise error
    assert str(caught.value).startswith("the thing: ")


def test_the_backends_own_code_and_message_are_told() -> None:
    with pytest.raises(Refused, match="TheCode: the message"), calling("the thing"):
        raise failed(400)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({"retry-after-ms": "200"}, 0.2), ({}, None), ({"Retry-After": "soon"}, None)],
)
def test_the_backends_wish_when_to_come_back_is_kept(headers: dict[str, str], seconds: float | None) -> None:
    with pytest.raises(Unavailable) as caught, calling("the thing"):
        raise failed(429, headers)
    assert caught.value.retry_after == seconds


def test_our_own_errors_pass() -> None:
    with pytest.raises(Refused, match=r"^as it is$"), calling("the thing"):
        raise Refused("as it is")
