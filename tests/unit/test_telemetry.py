"""The seam to Application Insights."""

from __future__ import annotations

import re

import pytest

from shared.telemetry import Recording, Silence, trace_id


def test_a_correlation_always_has_the_same_trace() -> None:
    assert trace_id("chain-1") == trace_id("chain-1") != trace_id("chain-2")
    assert re.fullmatch(r"[0-9a-f]{32}", trace_id("any text, ünïcode too"))
    assert trace_id("0123456789abcdef" * 2) == "0123456789abcdef" * 2


def test_silence_says_nothing_and_passes_exceptions_through() -> None:
    silence = Silence()
    silence.event("e", "c", {})
    silence.metric("m", 1.0, {})
    with pytest.raises(KeyError), silence.span("s", "c", {}):
        raise KeyError("x")


def test_a_recording_remembers_also_what_failed() -> None:
    recording = Recording()
    recording.event("e", "c", {"a": 1})
    recording.metric("m", 1.0, {"b": "2"})
    with pytest.raises(KeyError), recording.span("s", "c", {}):
        raise KeyError("x")
    assert recording.events == [("e", "c", {"a": 1})]
    assert recording.metrics == [("m", 1.0, {"b": "2"})]
    assert recording.spans == [("s", "c", {})]
