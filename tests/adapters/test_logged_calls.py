"""What a release reads of the scoring log."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from shared.adapters.logged_calls import LoggedCalls

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True)
class Counted:
    """A minute that knows only how many calls it had."""

    count: int

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.count + other.count)


class Minutes:
    def __init__(self) -> None:
        self.asked: list[tuple[dt.datetime, dt.datetime]] = []

    def minutes(self, endpoint: str, deployment: str, since: dt.datetime, until: dt.datetime) -> Sequence[Any]:  # noqa: ARG002
        self.asked.append((since, until))
        return [Counted(3), Counted(4)] if deployment == "v1" else []


class Messages:
    def __init__(self, *messages: Mapping[str, Any]) -> None:
        self.messages = messages

    def calls(self, endpoint: str, deployment: str, after: dt.datetime, most: int) -> Sequence[Mapping[str, Any]]:  # noqa: ARG002
        return [one for one in self.messages if dt.datetime.fromisoformat(one["at"]) > after][:most]


def message(second: int, **changes: Any) -> dict[str, Any]:
    known = {
        "at": (NOON + dt.timedelta(seconds=second)).isoformat(), "status": 200, "latency_ms": 12.5, "shadow": False,
        "levels": {"a": 2.0}, "outputs": {"predictions": {"a": [2.0, 4.0]}}, "inputs": {"series": {"a": [1]}},
    }  # fmt: skip
    return known | changes


def test_the_minutes_of_a_deployment_add_up_from_the_minute_that_has_begun() -> None:
    minutes = Minutes()
    log = LoggedCalls(minutes, Messages())
    served: Any = log.served("e", "v1", NOON + dt.timedelta(seconds=42), NOON + dt.timedelta(minutes=5))
    assert served.count == 7
    assert minutes.asked == [(NOON, NOON + dt.timedelta(minutes=6))]
    assert log.served("e", "v2", NOON, NOON) is None


def test_a_message_becomes_a_call_that_can_be_replayed() -> None:
    [call] = LoggedCalls(Minutes(), Messages(message(1))).calls("e", "v1", NOON, 5)
    assert (call.request, call.status, call.latency_ms) == (b'{"series": {"a": [1]}}', 200, 12.5)
    assert call.predictions == (1.0, 2.0)
    assert call.at == NOON + dt.timedelta(seconds=1)


def test_replayed_calls_and_requests_that_were_not_kept_are_passed_over() -> None:
    passed_over = [message(number, shadow=True) for number in range(1, 8)] + [message(8, inputs=None)]
    log = LoggedCalls(Minutes(), Messages(*passed_over, message(9), message(10)))
    assert [call.at.second for call in log.calls("e", "v1", NOON, 3)] == [9, 10]
    assert [call.at.second for call in log.calls("e", "v1", NOON + dt.timedelta(seconds=9), 3)] == [10]
