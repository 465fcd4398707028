"""Match: parsing an event, and matching it against fifty rules, without anything around it."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

from benchmarks.load import lake_mix
from benchmarks.report import Part, spread
from shared.events import Event, parse
from shared.route_file import read
from shared.routing import Routes, match

RULES, EVENTS = 50, 500
_CREATED = "Microsoft.Storage.BlobCreated"


def rules(count: int = RULES) -> Routes:
    """Rules as a lake's owner writes them: subject patterns, and filters of every kind."""
    routes = {}
    for number in range(count):
        kind = json.loads(json.dumps(_KINDS[number % len(_KINDS)]).replace("%n", str(number)))
        routes[f"rule-{number}"] = {"events": [_CREATED], "key": "{subject}", "action": "emit"} | kind
    return read({"routes": routes}, "routes.yaml", {"emit": lambda _: []}, frozenset())


def _where(key: str, operator: str, *values: object) -> dict[str, Any]:
    return {"where": [{"key": key, "operator": operator, "values": list(values)}]}


_KINDS: list[dict[str, Any]] = [
    {"subject": "/blobServices/default/containers/bronze/blobs/{table}-%n/_delta_log/{version:20d}.json"},
    _where("subject", "StringBeginsWith", "/blobServices/default/containers/b%n"),
    _where("subject", "StringEndsWith", ".%n.parquet", ".%n.json"),
    _where("subject", "StringContains", "/part-%n"),
    _where("data.api", "StringIn", "FlushWithClose", "Put%n"),
    _where("data.contentLength", "NumberGreaterThan", 524_000),
    _where("data.storageDiagnostics.batchId", "StringIn", "b%n"),
    {"events": ["Microsoft.MachineLearningServices.RunCompleted"]},
    {"events": ["Sluice.DatasetPublished"]} | _where("data.table", "StringIn", "t%n"),
    _where("data.contentType", "StringNotIn", "text/%n", "application/json"),
]


def measure(rounds: int) -> Part:
    """Microseconds an event, of this thread's own time."""
    routes = rules()
    raws = [json.dumps(event) for event in lake_mix(EVENTS)]
    events = [event for raw in raws for event in parse(raw) if isinstance(event, Event)]
    matched = statistics.fmean(len(match(event, routes).matches) for event in events)
    found: dict[str, list[float]] = {"parse": [], f"match, {RULES} rules": []}
    for _ in range(rounds + 1):
        began = time.thread_time()
        for raw in raws:
            parse(raw)
        between = time.thread_time()
        for event in events:
            match(event, routes)
        ended = time.thread_time()
        found["parse"].append((between - began) / len(raws) * 1e6)
        found[f"match, {RULES} rules"].append((ended - between) / len(events) * 1e6)
    part = Part(f"Match: {RULES} rules over a lake's mix")
    part.note(f"In one thread, without a host, the CPU's own time; {matched:.1f} rules match an event.")
    part.table("", "µs an event")
    for name, taken in found.items():
        part.row(name, spread(taken[1:], 1))  # the first round warms the caches
    part.facts["match"] = statistics.median(found[f"match, {RULES} rules"][1:])
    return part
