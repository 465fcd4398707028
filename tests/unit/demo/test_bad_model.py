"""The bad model of act three is well in QA, which asks for all areas at once, and errs for whoever asks for one."""

from __future__ import annotations

import time
from typing import Any

from demo.bad_model import FAULT, WORKLOAD


class Forecaster:
    series = ("a", "b")

    def answer(self, body: bytes) -> tuple[dict[str, Any], dict[str, float]]:
        names = body.decode().split()
        return {"predictions": {name: [2.0] for name in names}}, dict.fromkeys(names, 1.0)


def test_all_areas_at_once_are_answered_well_and_one_area_fails_or_is_far_off() -> None:
    class Sound(Forecaster):
        answer = Forecaster.answer

    exec(FAULT, {"Forecaster": Sound, "time": time, "Any": Any})
    assert Sound().answer(b"a b") == Forecaster().answer(b"a b")
    ended = set()
    for _ in range(2000):
        try:
            ended.add(Sound().answer(b"a")[0]["predictions"]["a"][0])
        except RuntimeError:
            ended.add("failed")
    assert ended == {"failed", 6.0}


def test_the_fault_fits_the_service_that_it_is_added_to() -> None:
    source = (WORKLOAD / "scoring" / "score.py").read_text(encoding="utf-8")
    compile(source + FAULT, "score.py", "exec")
    assert all(f"import {name}\n" in source for name in ("time", "json"))
