"""The flow policy of a route in `routes.yaml`: its keys, and which of them make no sense together."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from shared.durations import duration
from shared.flow import Busy, Flow
from shared.observations import Failure
from shared.runs import Retry

FLOW_KEYS = (
    "settle", "settle_max", "batch_max", "concurrency", "limit", "when_busy", "cooldown", "wait_for", "within", "once",
    "approval", "retry", "timeout",
)  # fmt: skip
_MOST_AT_A_TIME = 1000
_NONE = dt.timedelta(0)


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a route says about when and how its runs work."""

    flow: Flow
    limit: int | None
    approval: dt.timedelta | None
    retry: Retry
    timeout: dt.timedelta
    start_timeout: dt.timedelta


@dataclasses.dataclass(frozen=True)
class FlowReader:
    """Reads the policy of one route; `fault` hears the key and the sentence of each fault in it."""

    body: Mapping[str, Any]
    fault: Callable[[str, str], None]

    def policy(self, types: frozenset[str], action: str) -> Policy:
        """The policy of a route that listens to these types and does this."""
        start, finish = self._timeouts()
        limit = self._number("limit")
        flow = self._flow(types, carries=action != "release")
        self._contradictions(flow, limit)
        return Policy(flow, limit, self._approval(), self._retry(), finish, start)

    def _flow(self, types: frozenset[str], *, carries: bool) -> Flow:
        settle = self._duration("settle", self.body.get("settle", "0s"))
        longest = self._duration("settle_max", self.body["settle_max"]) if "settle_max" in self.body else settle * 10
        wait_for = self._wait_for(types)
        return Flow(
            settle=settle,
            settle_max=longest,
            batch_max=self._number("batch_max", most=None),
            cooldown=self._duration("cooldown", self.body.get("cooldown", "0s")),
            when_busy=self._when_busy(),
            concurrency=self._number("concurrency") or 1,
            wait_for=wait_for,
            within=self._duration("within", self.body["within"], positive=True) if "within" in self.body else _NONE,
            once=self._once(bool(wait_for)),
            carries=carries,
        )

    def _contradictions(self, flow: Flow, limit: int | None) -> None:
        """Combinations that make no sense, each with the reason."""
        given = self.body
        joins, several = "wait_for" in given, flow.concurrency > 1
        rules = (
            (flow.settle_max < flow.settle, "settle_max",
             f"{flow.settle_max} is shorter than settle, {flow.settle}: it would never settle"),
            ("settle_max" in given and not flow.settle, "settle_max",
             "makes no sense without settle: a lane that does not settle starts at once"),
            ("batch_max" in given and not flow.settle, "batch_max",
             "makes no sense without settle: a lane that does not settle starts at once"),
            ("batch_max" in given and joins, "batch_max",
             "makes no sense with wait_for: a join is complete by its types, not by their number"),
            (joins and "within" not in given, "within",
             "is needed with wait_for: after this time Sluice.JoinMissed says that the join is not complete"),
            ("within" in given and not joins, "within", "makes no sense without wait_for: nothing is waited for"),
            (flow.when_busy is Busy.SUPERSEDE and several, "when_busy",
             "supersede makes no sense with concurrency above 1: there is no one run that the next could replace"),
            (bool(flow.cooldown) and several, "cooldown",
             "makes no sense with concurrency above 1: it counts from the end of the lane's last run"),
            (limit is not None and flow.concurrency > limit, "concurrency",
             f"{flow.concurrency} is above the route's limit, {limit}: a lane would never reach it"),
            (flow.once and flow.when_busy is not Busy.COLLECT, "when_busy",
             f"{flow.when_busy} makes no sense with once: what comes later joins the first run"),
            (flow.once and bool(flow.cooldown), "cooldown", "makes no sense with once: there is no next run to delay"),
            (flow.once and several, "concurrency", "above 1 makes no sense with once: there is one run for a key"),
        )  # fmt: skip
        for wrong, key, what in rules:
            if wrong:
                self.fault(key, what)

    def _wait_for(self, types: frozenset[str]) -> frozenset[str]:
        wanted = self.body.get("wait_for")
        if wanted is None:
            return frozenset()
        if not isinstance(wanted, list) or len(set(map(str, wanted))) < 2 or not set(map(str, wanted)) <= types:
            self.fault("wait_for", f"{wanted!r} is not a list of at least two of the types in events")
            return frozenset()
        return frozenset(wanted)

    def _once(self, joins: bool) -> bool:
        once = self.body.get("once", joins)
        if not isinstance(once, bool):
            self.fault("once", f"{once!r} is neither true nor false")
        return once is True

    def _approval(self) -> dt.timedelta | None:
        given = self.body.get("approval")
        if given is None:
            return None
        if not isinstance(given, Mapping) or set(given) != {"within"}:
            self.fault("approval", "says how long a person has to decide, such as {within: 3d}")
            return None
        return self._duration("approval", given["within"], positive=True)

    def _timeouts(self) -> tuple[dt.timedelta, dt.timedelta]:
        """How long a start and an attempt may take; one duration stands for both."""
        given = self.body.get("timeout", "1h")
        if not isinstance(given, Mapping):
            both = self._duration("timeout", given, positive=True)
            return both, both
        if not set(given) <= {"start", "finish"}:
            self.fault("timeout", "is a duration, or has start and finish")
        start, finish = (
            self._duration("timeout", given.get(part, "1h"), positive=True) for part in ("start", "finish")
        )
        return start, finish

    def _number(self, key: str, most: int | None = _MOST_AT_A_TIME) -> int | None:
        given = self.body.get(key)
        if given is None:
            return None
        if not isinstance(given, int) or isinstance(given, bool) or given < 1 or (most and given > most):
            self.fault(key, f"{given!r} is not a whole number" + (f" from 1 to {most}" if most else ", at least 1"))
            return None
        return given

    def _when_busy(self) -> Busy:
        wanted = self.body.get("when_busy", str(Busy.COLLECT))
        if not isinstance(wanted, str) or wanted not in set(Busy):
            self.fault("when_busy", f"{wanted!r} is none of {', '.join(Busy)}")
            return Busy.COLLECT
        return Busy(wanted)

    def _retry(self) -> Retry:
        retry = self.body.get("retry") or {}
        if not isinstance(retry, Mapping) or not set(retry) <= {"attempts", "delay", "failures"}:
            self.fault("retry", "has attempts, delay and failures")
            return Retry()
        attempts, failures = retry.get("attempts", 3), retry.get("failures", ["transient"])
        if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= 20:
            self.fault("retry", f"attempts: {attempts!r} is not a whole number from 1 to 20")
            attempts = 1
        classes = {str(item) for item in Failure}
        if not isinstance(failures, list) or not set(map(str, failures)) <= classes:
            self.fault("retry", f"failures: {failures!r} is not a list of {', '.join(sorted(classes))}")
            failures = []
        delay = self._duration("retry", retry.get("delay", "30s"))
        return Retry(attempts, delay, frozenset(Failure(str(item)) for item in failures))

    def _duration(self, key: str, text: Any, *, positive: bool = False) -> dt.timedelta:
        try:
            found = duration(text)
        except ValueError as error:
            self.fault(key, str(error))
            return _NONE
        if positive and not found:
            self.fault(key, "must be longer than nothing")
        return found
