"""The evidence of releases: one record each, chained by hash per endpoint.  Pure.

A record holds the SHA-256 of the record before it, so that none can be changed, taken out or put in between without a
break that `faults` finds; the newest is named, with its hash, by the run that wrote it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.release_facts import Plan

JSON = Mapping[str, Any]

SCHEMA = 1
PROMOTED, ROLLED_BACK, STOPPED, FAILED = "promoted", "rolled back", "stopped", "failed"


def outcome(progress: JSON) -> str:
    """How a release has ended, in one or two words."""
    failure = progress.get("failure")
    if not failure:
        return PROMOTED
    if failure.get("stopped"):
        return STOPPED
    return ROLLED_BACK if "intended" in progress else FAILED


def record(plan: Plan, progress: JSON, chain: Sequence[JSON]) -> tuple[int, bytes]:
    """The number and the bytes of a release's record, which follows the newest of `chain`.

    Everything comes from the saved progress, so that a repeat writes the same.
    """
    before = chain[0] if chain else None
    number = before["number"] + 1 if before else 1
    failure = progress.get("failure") or {}
    content = {
        "schema": SCHEMA,
        "number": number,
        "previous_sha256": before["sha256"] if before else None,
        "endpoint": plan.endpoint,
        "run": plan.run,
        "token": plan.token,
        "outcome": outcome(progress),
        "reason": failure.get("reason", ""),
        "repository": plan.repository,
        "digest": plan.digest,
        "tag": plan.tag,
        **progress["evidence"],
        "notes": list(progress["notes"]),
        "began": progress["begun"],
        "ended": progress["entered"],
        "seconds": progress["seconds"],
    }
    return number, json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def read(body: bytes) -> dict[str, Any]:
    """A record with its own hash as `sha256`.  Raises ValueError for what is none."""
    content = json.loads(body)
    if not isinstance(content, dict) or not isinstance(content.get("number"), int):
        raise ValueError("it is no evidence record")
    return {**content, "sha256": hashlib.sha256(body).hexdigest()}


def own(plan: Plan, progress: JSON, chain: Iterable[JSON]) -> JSON | None:
    """The record of this release, None when it has not been written.

    One that was abandoned and is tried again has the same run and token: it is told from itself by when it began.
    """
    mine = (plan.run, plan.token, progress["begun"])
    return next((one for one in chain if (one.get("run"), one.get("token"), one.get("began")) == mine), None)


def recent(chain: Iterable[JSON], digest: str, window: int) -> JSON | None:
    """The record with which a digest was promoted, if it is one of the `window` versions before the newest promoted."""
    seen: list[str] = []
    for one in chain:
        if one.get("outcome") != PROMOTED:
            continue
        if one.get("digest") == digest:
            return one if window else None
        if one["digest"] not in seen:
            seen.append(one["digest"])
        if len(seen) > window:
            return None
    return None


def shown(endpoint: str, bodies: Sequence[bytes], heads: Mapping[int, str]) -> dict[str, Any]:
    """A chain as plain data, the newest record first, with every break in it."""
    found = faults(bodies, heads)
    return {"endpoint": endpoint, "ok": not found, "faults": found, "records": [_shown(body) for body in bodies][::-1]}


def _shown(body: bytes) -> JSON:
    try:
        return read(body)
    except ValueError as error:
        return {"unreadable": str(error)}


def faults(bodies: Iterable[bytes], heads: Mapping[int, str] | None = None) -> list[str]:
    """Every break in a chain, the oldest record first; `heads` are hashes that runs have told, by number."""
    found, expected, before = [], 1, None
    for body in bodies:
        try:
            one = read(body)
        except ValueError as error:
            found.append(f"record {expected}: it cannot be read: {error}")
            expected, before = expected + 1, None
            continue
        number = one["number"]
        if number != expected:
            found.append(f"record {expected} is missing: record {number} follows")
        elif one.get("previous_sha256") != before and (before is not None or number == 1):
            found.append(f"record {number}: it does not follow the record before it, which was changed or replaced")
        told = (heads or {}).get(number)
        if told is not None and told != one["sha256"]:
            found.append(f"record {number}: its run has told the hash {told[:12]}…, it is {one['sha256'][:12]}…")
        expected, before = number + 1, one["sha256"]
    missing = sorted(number for number in heads or {} if number >= expected)
    return found + [f"record {number} is missing: its run has written it" for number in missing]
