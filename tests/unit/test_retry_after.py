"""When a backend wants to be asked again."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.adapters.retry_after import MOST, retry_after

NOW = dt.datetime(2026, 11, 25, 22, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"Retry-After": "Wed, 25 Nov 2026 22:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wednesday, 25-Nov-26 22:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wed Nov 25 22:00:30 2026"}, 30.0),
        ({"Retry-After": "Wed, 25 Nov 2026 21:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "200"}, 0.2),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "9", "retry-after-ms": "100"}, 0.1),
        ({"Retry-After": "86400"}, MOST),
        ({"Retry-After": "Thu, 26 Nov 2026 22:00:00 GMT"}, MOST),
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": ""}, None),
    ],
)
def test_it_is_read_as_milliseconds_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
