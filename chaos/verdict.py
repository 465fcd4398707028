"""The comparison: what is lost, what is doubled, what is left.  Pure."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from chaos.evidence import Evidence

FINAL = frozenset({"succeeded", "failed", "skipped", "cancelled"})
_DELIVERED = range(200, 300)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Sentences about what must not be, and counts of what was."""

    lost: list[str]
    doubled: list[str]
    left: list[str]
    counts: Mapping[str, Any]

    @property
    def good(self) -> bool:
        """0 lost, 0 doubled, nothing left behind."""
        return not (self.lost or self.doubled or self.left)


def judge(evidence: Evidence) -> Verdict:
    """Compare the backends' records with the journal."""
    lost, doubled = [], []
    for found in (check(evidence) for check in (_events, _sets, _effects, _at_once, _told, _cancelled)):
        lost += found[0]
        doubled += found[1]
    return Verdict(sorted(lost), sorted(doubled), _left(evidence), _counts(evidence))


Found = tuple[list[str], list[str]]


def _events(evidence: Evidence) -> Found:
    """Every published event was acknowledged to every subscription, and the journal has it."""
    journalled = {row["id"] for row in evidence.journal}
    subscriptions = {row["subscription"] for row in evidence.delivered}
    acknowledged = {(row["subscription"], row["id"]) for row in evidence.delivered if row["status"] in _DELIVERED}
    lost = [f"event {row['id']} is not in the journal" for row in evidence.published if row["id"] not in journalled]
    lost += [
        f"event {row['id']} was never acknowledged to {name}"
        for row in evidence.published
        for name in sorted(subscriptions)
        if (name, row["id"]) not in acknowledged
    ]
    lost += [f"Event Grid gave up event {row['id']}: {row['reason']}" for row in evidence.given_up]
    return lost + ([] if evidence.delivered else ["nothing was delivered"]), []


def _sets(evidence: Evidence) -> Found:
    """Every event that matched a lane is in exactly one manifest of that lane, once."""
    held: collections.Counter[tuple[str, str, str]] = collections.Counter(
        (manifest["route"], manifest["key"], entry["identity"])
        for manifest in evidence.manifests
        for entry in manifest["events"]
    )
    wanted = set(routed(evidence))
    lost = [f"event {one[2]} is in no manifest of {one[0]}/{one[1]}" for one in wanted - set(held)]
    doubled = [f"event {one[2]} is {count} times in manifests of {one[0]}/{one[1]}" for one, count in _more(held)]
    doubled += [
        f"event {one[2]} in a manifest of {one[0]}/{one[1]} is not in the journal" for one in set(held) - wanted
    ]
    return lost, doubled


def routed(evidence: Evidence) -> Iterable[tuple[str, str, str]]:
    """Route, key and identity of every match in the journal."""
    for row in evidence.journal:
        for match in row.get("matches", ()):
            yield match["route"], match["key"], row["identity"]


def _effects(evidence: Evidence) -> Found:
    """One Databricks run for every generation and attempt; the one that a succeeded run names has succeeded."""
    started = [row for row in evidence.databricks if row["action"] == "run_started"]
    ended = {str(row["run_id"]): row["result_state"] for row in evidence.databricks if row["action"] == "run_ended"}
    tokens = collections.Counter(row["token"] for row in started)
    doubled = [f"token {token} has {count} Databricks runs" for token, count in _more(tokens)]
    effects = collections.Counter(row["parameters"]["run_id"] for row in started)
    lost = []
    runs = {row["run"]: row for row in evidence.runs if row["route"] == "curate"}
    for name, run in runs.items():
        attempts = 0 if run["phase"] == "skipped" else run["attempt"]
        if effects[name] < attempts:
            lost.append(f"run {name} made {attempts} attempts, Databricks knows {effects[name]}: {run['reason']}")
        if effects[name] > attempts:
            doubled.append(f"run {name} made {attempts} attempts, Databricks ran {effects[name]}")
        if run["phase"] == "succeeded" and ended.get(run["remote"]["id"]) != "SUCCESS":
            lost.append(f"run {name} says succeeded, Databricks run {run['remote']['id']} does not")
    doubled += [f"Databricks ran for {name}, which is no run" for name in effects if name not in runs]
    return lost, doubled


def _at_once(evidence: Evidence) -> Found:
    """The next attempt begins when the last has ended, and no lane and no route has more at work than it may."""
    lanes = {run["run"]: (run["route"], run["key"]) for run in evidence.runs}
    live: dict[str, str] = {}
    doubled = []
    for row in evidence.databricks:
        if row["action"] == "run_ended":
            live.pop(str(row["run_id"]), None)
        if row["action"] != "run_started":
            continue
        name = row["parameters"]["run_id"]
        doubled += [
            f"run {name} began its next attempt while Databricks run {other} still worked"
            for other, theirs in live.items()
            if theirs == name
        ]
        live[str(row["run_id"])] = name
        lane = lanes.get(name)
        beside = {other for other in live.values() if lanes.get(other) == lane}
        if lane and len(beside) > evidence.concurrency.get(lane[0], 1):
            doubled.append(f"lane {lane[0]}/{lane[1]} had {len(beside)} runs at work at once")
        of_route = {other for other in live.values() if lane and lanes.get(other, ("", ""))[0] == lane[0]}
        if lane and len(of_route) > evidence.limits.get(lane[0], len(of_route)):
            doubled.append(f"route {lane[0]} had {len(of_route)} runs at work at once")
    return [], doubled


def _cancelled(evidence: Evidence) -> Found:
    """What an operator was told is cancelled has been, unless it was done already; nothing else has."""
    phases = {run["run"]: run["phase"] for run in evidence.runs}
    lost = [
        f"run {name} was cancelled by an operator and is {phases.get(name)}"
        for name in evidence.cancelled
        if phases.get(name) not in ("cancelled", "succeeded")
    ]
    asked = {*evidence.cancelled, *evidence.asked_to_cancel}
    lost += [
        f"run {name} is cancelled and nobody asked for it"
        for name, phase in phases.items()
        if phase == "cancelled" and name not in asked
    ]
    return lost, []


def _told(evidence: Evidence) -> Found:
    """Every manifest has its run, every run its manifest, and every final run one event of its own."""
    manifests = {manifest["run"] for manifest in evidence.manifests}
    told = collections.defaultdict(set)
    for row in evidence.journal:
        own = re.fullmatch(r"(.+)-[0-9a-f]{8}", str(row["id"]))
        if row["origin"] == "sluice" and own:
            told[own[1]].add(row["id"])
    final = [row["run"] for row in evidence.runs if row["phase"] in FINAL]
    lost = [f"run {name} has no manifest" for name in final if name not in manifests]
    lost += [f"run {name} has not raised its event" for name in final if not told[name]]
    return lost, [f"run {name} raised {len(ids)} events" for name, ids in told.items() if len(ids) > 1]


def _left(evidence: Evidence) -> list[str]:
    left = [
        f"run {row['run']} is {row['phase']}: {row['reason']}" for row in evidence.runs if row["phase"] not in FINAL
    ]
    for lane in evidence.lanes:
        if lane["running"] or lane["collecting"]:
            left.append(f"lane {lane['route']}/{lane['key']} holds {lane['running']}, collects {lane['collecting']}")
    live = {str(row["run_id"]): row["parameters"]["run_id"] for row in _rows(evidence, "run_started")}
    for row in _rows(evidence, "run_ended"):
        live.pop(str(row["run_id"]), None)
    left += [f"Databricks run {number} of {name} still lives" for number, name in live.items()]
    return left + ([f"{evidence.due} rows are due"] if evidence.due else [])


def _rows(evidence: Evidence, action: str) -> Iterable[Mapping[str, Any]]:
    return (row for row in evidence.databricks if row["action"] == action)


def _counts(evidence: Evidence) -> dict[str, Any]:
    actions = collections.Counter(row["action"] for row in evidence.databricks)
    phases = collections.Counter(f"{row['route']} {row['phase']}" for row in evidence.runs)
    answers = collections.Counter(row["status"] in _DELIVERED for row in evidence.delivered)
    retried = sum(1 for row in evidence.runs if row["route"] == "curate" and row["attempt"] > 1)
    return {
        "events published": len(evidence.published),
        "deliveries acknowledged": answers[True],
        "deliveries cut off or refused, sent again": answers[False],
        "journal records": len(evidence.journal),
        "events routed to a lane": len(set(routed(evidence))),
        "manifests": len(evidence.manifests),
        **{f"runs: {name}": count for name, count in sorted(phases.items())},
        "runs with more than one attempt": retried,
        "runs cancelled by an operator": len(evidence.cancelled),
        "Databricks runs started": actions["run_started"],
        "Databricks runs cancelled": actions["cancel"],
        "starts repeated under the same token": actions["run_joined"],
        "wake-ups given up by the host after five tries": evidence.poisoned,
        "messages left in poison queues": evidence.poison,
    }


def _more(counted: collections.Counter[Any]) -> list[tuple[Any, int]]:
    return [(one, count) for one, count in counted.items() if count > 1]
