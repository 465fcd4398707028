"""The chain of evidence: what breaks it is found."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared import release_evidence
from shared.release_facts import Plan

DIGEST = "sha256:" + "ab" * 32


def plan(number: int) -> Plan:
    return Plan(f"release-1-{number}", f"{number:064d}", "demand", DIGEST, "demand", "aks-prod", tag=str(number))


def progress(**changes: Any) -> dict[str, Any]:
    return {
        "begun": "2026-01-05T00:00:00+00:00", "entered": "2026-01-05T01:00:00+00:00", "notes": ["a note"],
        "seconds": {"identify": 1.0}, "evidence": {"model_version": "2", "qa": {"mae": 1.0}}, **changes,
    }  # fmt: skip


def chain(length: int) -> list[bytes]:
    bodies: list[bytes] = []
    for number in range(1, length + 1):
        known = [release_evidence.read(body) for body in bodies[::-1]]
        found, body = release_evidence.record(plan(number), progress(), known)
        assert found == number
        bodies.append(body)
    return bodies


def test_a_record_holds_what_was_shown_and_the_hash_of_the_one_before() -> None:
    first, second = chain(2)
    content = json.loads(second)
    assert content["previous_sha256"] == hashlib.sha256(first).hexdigest()
    assert (content["number"], content["digest"], content["tag"]) == (2, DIGEST, "2")
    assert (content["qa"], content["outcome"], content["notes"]) == ({"mae": 1.0}, "promoted", ["a note"])


def test_the_same_progress_makes_the_same_bytes() -> None:
    assert chain(3) == chain(3)


def test_the_outcome_says_how_it_ended() -> None:
    outcome = release_evidence.outcome
    assert outcome(progress()) == "promoted"
    assert outcome(progress(failure={"reason": "x"})) == "failed"
    assert outcome(progress(failure={"reason": "x"}, intended={})) == "rolled back"
    assert outcome(progress(failure={"reason": "x", "stopped": True}, intended={})) == "stopped"


def test_an_untouched_chain_has_no_faults() -> None:
    bodies = chain(4)
    heads = {number: hashlib.sha256(body).hexdigest() for number, body in enumerate(bodies, 1)}
    assert release_evidence.faults(bodies, heads) == []
    assert release_evidence.faults([]) == []


@given(st.integers(0, 3), st.sampled_from(["change", "take out", "damage"]))
def test_whatever_is_done_to_a_record_is_found(place: int, what: str) -> None:
    bodies = chain(4)
    heads = {number: hashlib.sha256(body).hexdigest() for number, body in enumerate(bodies, 1)}
    if what == "change":
        bodies[place] = json.dumps({**json.loads(bodies[place]), "digest": "sha256:other"}).encode()
    elif what == "take out":
        del bodies[place]
    else:
        bodies[place] = b"{"
    assert release_evidence.faults(bodies, heads)


def test_a_chain_that_was_written_anew_does_not_fit_what_the_runs_have_told() -> None:
    heads = {2: "0" * 64}
    [fault] = release_evidence.faults(chain(2), heads)
    assert fault.startswith("record 2: its run has told the hash 000000000000…")
    assert release_evidence.faults(chain(1), {2: "0" * 64}) == ["record 2 is missing: its run has written it"]


def records(*digests: str, outcome: str = "promoted") -> list[dict[str, Any]]:
    """Records of these digests, the newest first."""
    return [
        {"number": len(digests) - place, "digest": digest, "outcome": outcome} for place, digest in enumerate(digests)
    ]


def test_a_recent_version_is_one_of_the_last_that_were_promoted() -> None:
    newest_first = records("d", "c", "b", "b", "a")
    assert release_evidence.recent(newest_first, "b", 3) == newest_first[2]
    assert release_evidence.recent(newest_first, "a", 3) == newest_first[4]
    assert release_evidence.recent(newest_first, "a", 2) is None
    assert release_evidence.recent(newest_first, "x", 3) is None
    assert release_evidence.recent(newest_first, "c", 0) is None
    assert release_evidence.recent(records("c", "b", outcome="rolled back"), "b", 3) is None


def test_what_is_shown_is_newest_first_and_names_what_cannot_be_read() -> None:
    shown = release_evidence.shown("demand", [*chain(1), b"{"], {})
    assert (shown["ok"], len(shown["faults"])) == (False, 1)
    assert "unreadable" in shown["records"][0]
    assert shown["records"][1]["number"] == 1
