"""The stages that a route writes: read, and refused with sentences that name the option."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from shared.release_checks import METRICS, Check
from shared.release_facts import _OPTIONS, Limits, request_faults
from shared.release_stages import _KEYS, _STEPS, ALL_AT_ONCE, Stage, stage_faults, stages

ROOT = Path(__file__).resolve().parents[2]

CHECK = {"metric": "failure_rate", "most": 0.01}


def test_without_steps_all_traffic_goes_at_once_and_nothing_is_judged() -> None:
    assert stages({}) == (ALL_AT_ONCE,)
    assert Stage(weight=100) == ALL_AT_ONCE


def test_steps_are_read_in_their_order() -> None:
    steps = [{"approval": "3d"}, {"shadow": 50}, {"weight": 10, "hold": "10m"}, {"weight": 100, "hold": "1h"}]
    found = stages({"steps": steps})
    assert [stage.name for stage in found] == ["approval", "shadow 50", "weight 10", "weight 100"]
    assert found[0].approval == dt.timedelta(days=3)
    assert found[2].hold == dt.timedelta(minutes=10)
    assert [stage.needs_deployment for stage in found] == [False, True, True, True]


def test_a_step_may_overwrite_keys_of_the_common_analysis() -> None:
    own = {"interval": "5s", "checks": [{**CHECK, "dry_run": True}]}
    options = {
        "analysis": {"interval": "1m", "count": 3, "checks": [CHECK]},
        "steps": [{"weight": 10}, {"weight": 100, "analysis": own}],
    }
    first, last = (stage.analysis for stage in stages(options))
    assert (first.interval, first.count, first.checks) == (dt.timedelta(minutes=1), 3, (Check("failure_rate", 0.01),))
    assert (last.interval, last.count) == (dt.timedelta(seconds=5), 3)
    assert last.binding == ()


END = {"weight": 100}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": []}, "steps must be a list of steps"),
        ({"steps": "weight"}, "steps must be a list of steps"),
        ({"steps": [{}]}, r"steps\[0\] must have exactly one of approval, shadow, weight"),
        ({"steps": [{"weight": 10, "shadow": 3}, END]}, r"steps\[0\] must have exactly one"),
        ({"steps": ["weight"]}, r"steps\[0\] must have exactly one"),
        ({"steps": [{"weight": 0}, END]}, r"steps\[0\].weight must be a whole number from 1 to 100, it is 0"),
        ({"steps": [{"weight": True}, END]}, r"steps\[0\].weight must be a whole number"),
        ({"steps": [{"weight": 50, "pause": "1m"}, END]}, r"steps\[0\].pause is not known beside weight"),
        ({"steps": [{"approval": "1d", "hold": "1m"}, END]}, r"steps\[0\].hold is not known beside approval"),
        ({"steps": [{"approval": "0s"}, END]}, r"steps\[0\].approval must be longer than nothing"),
        ({"steps": [{"weight": 50, "hold": "soon"}, END]}, r"steps\[0\].hold: 'soon' is not a duration"),
        ({"steps": [{"weight": 50}]}, "must end with weight 100"),
        ({"steps": [END, {"approval": "1d"}]}, "must end with weight 100"),
        ({"steps": [{"weight": 50}, {"weight": 20}, END]}, "the weights must rise, they are 50, 20, 100"),
        ({"steps": [{"weight": 50}, {"shadow": 5}, END]}, "a shadow comes before the first weight"),
        ({"analysis": []}, "option analysis must be a mapping"),
        ({"analysis": {"intervall": "1m"}}, "analysis.intervall is not known, there are checks, count, delay"),
        ({"analysis": {"interval": "0s"}}, "analysis.interval must be longer than nothing"),
        ({"analysis": {"count": 0}}, "analysis.count must be a whole number from 1"),
        ({"analysis": {"failure_limit": -1}}, "analysis.failure_limit must be a whole number from 0"),
        ({"analysis": {"checks": {}}}, "analysis.checks must be a list"),
        ({"analysis": {"checks": [{"metric": "mood", "most": 1}]}}, r"checks\[0\].metric is 'mood', there are failure"),
        ({"analysis": {"checks": [{"metric": "failure_rate"}]}}, r"checks\[0\] must have metric and most"),
        ({"analysis": {"checks": [{**CHECK, "most": "1 %"}]}}, r"checks\[0\].most must be a number"),
        ({"analysis": {"checks": [{**CHECK, "fail_above": 0.001}]}}, r"checks\[0\].fail_above is below most"),
        ({"analysis": {"checks": [{**CHECK, "samples": 0}]}}, r"checks\[0\].samples must be a whole number above 0"),
        ({"analysis": {"checks": [{**CHECK, "dry_run": "yes"}]}}, r"checks\[0\].dry_run must be true or false"),
        ({"analysis": {"checks": [{**CHECK, "colour": 1}]}}, r"checks\[0\].colour is not known"),
        ({"steps": [{"weight": 9, "analysis": {"count": 0}}, END]}, r"steps\[0\].analysis.count must be"),
    ],
)
def test_a_fault_names_the_option(options: dict[str, Any], said: str) -> None:
    found = stage_faults(options)
    assert len(found) == 1
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found[0])


SCHEMA = json.loads((ROOT / "docs" / "routes.schema.json").read_text(encoding="utf-8"))


def test_the_schema_for_editors_knows_the_options_of_a_release_and_no_others() -> None:
    known = SCHEMA["definitions"]
    assert set(known["release"]["properties"]) == _OPTIONS
    assert set(known["release"]["properties"]["qa"]["properties"]) == {one.name for one in dataclasses.fields(Limits)}
    assert set(known["analysis"]["properties"]) == {*_KEYS, "checks"}
    assert set(known["check"]["properties"]) == {one.name for one in dataclasses.fields(Check)}
    assert set(known["check"]["properties"]["metric"]["enum"]) == set(METRICS)
    assert {step["required"][0] for step in known["stage"]["oneOf"]} == set(_STEPS)


def test_the_page_of_releases_has_every_option_and_metric() -> None:
    text = (ROOT / "docs" / "releases.md").read_text(encoding="utf-8")
    fields = {one.name for of in (Limits, Check) for one in dataclasses.fields(of)}
    for word in {*_OPTIONS, *_KEYS, *_STEPS, *METRICS, *fields}:
        assert f"`{word}" in text, f"docs/releases.md does not say what {word} is"


def test_the_other_options_are_checked_too() -> None:
    good = {"repository": "r", "digest": "{d}", "endpoint": "e", "compute": "c"}
    assert request_faults({**good, "tag": "{t}", "ready": "10m", "rollback_window": 0, "requested_by": "{by}"}) == []
    assert len(request_faults({**good, "tag": 3, "ready": "soon", "rollback_window": -1, "requested_by": ""})) == 4
