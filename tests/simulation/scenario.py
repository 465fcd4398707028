"""What a seed draws: the policies of the routes, and which events arrive when, in which requests."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from shared.flow import Busy, Flow
from shared.observations import Failure
from shared.routing import Emits, Route, Routes
from shared.runs import Retry
from tests.simulation.dice import Dice
from tests.simulation.release_images import digest_of

PUSHES = 100
"""The numbers of the events that tell of a pushed image begin here."""


def _seconds(seconds: float) -> dt.timedelta:
    return dt.timedelta(seconds=seconds)


def _flow(dice: Dice, name: str) -> Flow:
    settle = dice.pick(f"{name} settle", (0, 2, 8))
    batch_max = dice.pick(f"{name} batch_max", (None, None, 3))
    cooldown = dice.pick(f"{name} cooldown", (0, 0, 20))
    busy = dice.pick(f"{name} busy", (Busy.COLLECT, Busy.COLLECT, Busy.SUPERSEDE, Busy.SUPERSEDE, Busy.SKIP))
    several = 1 if cooldown or busy is Busy.SUPERSEDE else dice.pick(f"{name} concurrency", (1, 1, 2, 3))
    return Flow(
        _seconds(settle), _seconds(4 * settle), batch_max if settle else None, _seconds(cooldown), busy, several
    )


def _join(dice: Dice) -> Flow:
    types, within = frozenset({"A.B", "Sluice.DatasetPublished"}), dice.pick("join within", (10, 60, 300))
    return Flow(wait_for=types, within=_seconds(within), once=dice.pick("join once", (True, False)))


def routes(dice: Dice) -> Routes:
    """A chain (curate, train, notify) and one or two routes beside it; flow policies are drawn."""
    beside = dice.pick(
        "beside",
        (("mirror",), ("index",), ("join",), ("mirror", "join"), ("mirror", "index"), ("release",), ("release",)),
    )
    retry = Retry(3, _seconds(5), frozenset({Failure.TRANSIENT, Failure.TIMEOUT}))
    emits = Emits("Sluice.DatasetPublished", "gold/{key}", {"version": "{result.version}", "table": "{key}"})
    start_timeout = _seconds(dice.pick("start_timeout", (30, 7200)))
    common: dict[str, Any] = {"timeout": _seconds(300), "start_timeout": start_timeout}
    drawn = (
        Route("curate", frozenset({"A.B"}), "{data.table}", "work", {"set": "{manifest.url}"}, guard="compaction",
              flow=_flow(dice, "curate"), limit=dice.pick("curate limit", (None, None, 3)), emits=emits,
              retry=retry, **common),
        Route("mirror", frozenset({"A.B"}), "all", dice.pick("mirror action", ("copy", "careful", "careful")), {},
              flow=_flow(dice, "mirror"), retry=retry,
              approval=dice.pick("mirror approval", (None, None, _seconds(600))), **common),
        Route("index", frozenset({"A.B"}), dice.pick("index key", ("{id}", "{data.table}")), "copy", {},
              limit=dice.pick("index limit", (1, 2, 3)),
              flow=Flow(once=True), retry=retry, **common),
        Route("join", frozenset({"A.B", "Sluice.DatasetPublished"}), "{data.table}", "copy",
              {"v": "{set.DatasetPublished.data.version}"}, flow=_join(dice), retry=retry, **common),
        Route("train", frozenset({"Sluice.DatasetPublished"}), "{data.table}", "careful",
              {"v": "{event.data.version}"}, retry=retry, **common),
        Route("notify", frozenset({"Sluice.RunFailed"}), "{data.route}", "copy", {}, retry=Retry(1), **common),
        Route("release", frozenset({"R.P"}), "endpoint", "release", _release_options(dice),
              flow=Flow(when_busy=dice.pick("release busy", (Busy.COLLECT, Busy.SUPERSEDE))),
              retry=Retry(2, _seconds(5), frozenset({Failure.TRANSIENT})), timeout=_seconds(7200)),
    )  # fmt: skip
    chain = ("curate", "train", "notify")
    return Routes(tuple(route for route in drawn if route.name in (*chain, *beside)), "simulated")


def _release_options(dice: Dice) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"shadow": 3}, {"weight": 20, "hold": "30s"}, {"weight": 100, "hold": "30s"}]
    checks = [{"metric": "failure_rate", "most": 0.05, "samples": 3}]
    return {
        "repository": "r", "digest": "{event.data.digest}", "endpoint": "endpoint", "compute": "aks",
        "tag": "{event.data.tag}", "qa": {"requests": 2, "ready_minutes": 5}, "ready": "5m",
        "steps": steps[dice.pick("release steps", (0, 0, 1)) :],
        "analysis": {"interval": "10s", "patience": "2m", "wait": "5m", "checks": checks},
    }  # fmt: skip


def pushes(dice: Dice, wanted: frozenset[int] | None) -> list[tuple[int, float]]:
    """Images that are pushed, by version, and when; `wanted` leaves out events by their number."""
    made = [(version, dice.number("push", 0, 200)) for version in range(1, 1 + dice.pick("pushes", (1, 2, 3)))]
    return [(version, at) for version, at in made if wanted is None or PUSHES + version in wanted]


def pushed(version: int) -> str:
    """The event of an image that was pushed."""
    data = {"digest": digest_of(version), "tag": str(version)}
    return json.dumps({"id": f"push-{version}", "topic": "/t", "subject": "x", "eventType": "R.P", "data": data})


def events(dice: Dice, wanted: frozenset[int] | None) -> list[tuple[list[str], float]]:
    """Requests as lists of payloads, and when each is sent; `wanted` leaves out events by their number."""
    tables = ("demand", "weather")[: dice.pick("tables", (1, 2))]
    spread = dice.pick("spread", (3, 30, 150))
    requests: list[tuple[list[str], float]] = []
    batch: list[str] = []
    for number in range(dice.pick("events", (1, 2, 4, 7, 12))):
        roll = dice.roll("event")
        if wanted is not None and number not in wanted:
            continue
        kind, name = "A.B" if roll.a < 0.9 else "C.D", f"e{number}" if roll.d < 0.85 else f"compact-{number}"
        data = {"table": tables[int(roll.c * len(tables))]}
        batch.append(json.dumps({"id": name, "topic": "/t", "subject": "x", "eventType": kind, "data": data}))
        if roll.c * 7 % 1 < 0.6:
            requests.append((batch, roll.between(0, spread)))
            batch = []
    if batch:
        requests.append(([*batch, batch[0], "{not an event"], 1.0))
    return requests
