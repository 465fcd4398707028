"""What the supplier has, how it lands, and what a consumer asks and compares."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from deltalake import DeltaTable

from demand_forecasting import client, data, landing

AUTUMN = dt.datetime(2022, 10, 30)  # noqa: DTZ001 - local time, as supplied
DAY = dt.timedelta(days=1)


def test_the_autumn_day_has_25_hours_and_the_spring_day_23() -> None:
    spring = dt.datetime(2022, 3, 27)  # noqa: DTZ001
    assert len(data.rows(AUTUMN, AUTUMN + DAY)) == 25
    assert len(data.rows(spring, spring + DAY)) == 23


def test_a_missing_measurement_is_none() -> None:
    (hour,) = data.rows(landing.HISTORY_START, landing.HISTORY_START + dt.timedelta(hours=1))
    assert hour["dma_1"] is None
    assert hour["dma_3"] == 3.7
    assert hour["temperature"] == 7.2


def test_weeks_follow_the_history_without_a_gap_and_begin_on_mondays() -> None:
    assert landing.week_start(1) == landing.HISTORY_END
    assert landing.week_start(2) - landing.week_start(1) == landing.WEEK
    assert landing.HISTORY_END.weekday() == 0


def test_history_lands_once_and_each_week_is_one_commit(tmp_path: Path) -> None:
    table = str(tmp_path / "demand")
    assert landing.land_history(table) == 0
    assert landing.land_history(table) == 0
    assert landing.land_week(table, 1) == 1
    assert landing.land_week(table, 2) == 2
    assert landing.version(table) == 2
    actions = commit(tmp_path, 2)
    assert [action["add"]["dataChange"] for action in actions if "add" in action] == [True]


def test_a_compaction_is_a_commit_that_changes_no_data(tmp_path: Path) -> None:
    table = str(tmp_path / "demand")
    for number in (1, 2):
        landing.land_week(table, number)
    assert landing.compact(table) == 2
    changes = [
        action[kind]["dataChange"] for action in commit(tmp_path, 2) for kind in ("add", "remove") if kind in action
    ]
    assert changes
    assert not any(changes)
    assert len(DeltaTable(table).file_uris()) == 1


def test_noise_is_never_a_commit() -> None:
    assert not [name for name in landing.noise(1) if name.endswith(".json") and "_delta_log/" in name]


def test_what_was_measured_averages_the_doubled_hour_and_admits_gaps() -> None:
    measured = client.actual(dt.datetime(2022, 10, 24))  # noqa: DTZ001 - local clock hours
    doubled = 6 * 24 + 2
    assert {len(hours) for hours in measured.values()} == {168}
    assert measured["dma_1"][doubled] == pytest.approx((4.46 + 4.7675) / 2)
    assert measured["dma_4"][doubled] is None


def test_the_error_counts_measured_hours_only() -> None:
    assert client.mean_absolute_error({"a": [1.0, 5.0]}, {"a": [2.0, None], "b": [9.0]}) == 1.0
    with pytest.raises(ValueError, match="nothing was measured"):
        client.mean_absolute_error({"a": [1.0]}, {"a": [None]})


def commit(folder: Path, version: int) -> list[dict[str, dict[str, object]]]:
    path = folder / "demand" / "_delta_log" / f"{version:020d}.json"
    return [json.loads(line) for line in path.read_text().splitlines()]
