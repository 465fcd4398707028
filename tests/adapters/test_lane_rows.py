"""Rows of earlier versions are read by this one."""

from __future__ import annotations

import datetime as dt
import json

from shared.adapters import lane_rows
from shared.lanes import Lane
from shared.phases import Phase

# As the first version wrote them.
LANE = {"PartitionKey": "p", "RowKey": "s", "route": "curate", "key": "demand", "generation": 3, "ring_no": 1,
        "wake_at": "", "slot": 2}  # fmt: skip
RUN = {
    "route": "curate", "key": "demand", "generation": 2, "phase": "running", "reason": "started as 17",
    "created_at": "2026-03-02T12:00:00+00:00", "next_at": "2026-03-02T12:00:01+00:00", "attempt": 1, "ring_no": 4,
    "correlation": "c", "manifest": {"count": 1}, "request": {"token": "t"}, "remote": ["17", None], "progress": {},
    "result": {}, "phase_at": "2026-03-02T12:00:01+00:00", "started_at": "2026-03-02T12:00:01+00:00", "ended_at": None,
    "ending": None, "event_due": False, "leased_by": "", "leased_until": None, "history": ["one line"],
}  # fmt: skip


def test_a_lane_of_the_first_version_is_read_with_defaults_for_what_came_later() -> None:
    assert lane_rows.lane_of(LANE) == Lane("curate", "demand", 3, 1, slots=(2,))


def test_a_run_of_the_first_version_is_read_with_defaults_for_what_came_later() -> None:
    run = lane_rows.run_of({"json00": json.dumps(RUN)})
    assert (run.phase, run.generation, run.carries, run.ending) == (Phase.RUNNING, 2, (), None)
    assert run.created_at == dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    later = RUN | {"invented": {"later": 1}}
    assert lane_rows.run_of({"json00": json.dumps(later)}) == lane_rows.run_of({"json00": json.dumps(RUN)})


def test_what_is_written_is_read_back_whole() -> None:
    run = lane_rows.run_of({"json00": json.dumps(RUN)})
    assert lane_rows.run_of(lane_rows.run_entity(run)) == run
    lane = lane_rows.lane_of(LANE)
    assert lane_rows.lane_of(lane_rows.lane_entity(lane)) == lane
