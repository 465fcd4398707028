"""Curation, as the Databricks task runs it: the program itself in the runtime's environment on small Delta tables."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from demand_forecasting.data import SERIES, STAMP, WEATHER
from localcloud.cloud import ROOT
from tests.workload.conftest import WORKLOAD, drive, interpreter

FIRST = dt.datetime(2022, 3, 14)  # noqa: DTZ001 - local clock hours
Rows = dict[tuple[str, dt.datetime], dict[str, Any]]


def bronze(
    folder: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = ("timestamp", *SERIES, *WEATHER)
) -> str:
    fields = [Field(name, DataType.string() if name == "timestamp" else DataType.float64()) for name in columns]
    arrays = [Array([row[name] for row in rows], field) for field, name in zip(fields, columns, strict=True)]
    write_deltalake(str(folder), Table.from_arrays(arrays, schema=Schema(fields)))
    return str(folder)


def hour(at: dt.datetime, value: float | None = 1.0) -> dict[str, Any]:
    return {"timestamp": at.strftime(STAMP)} | dict.fromkeys(SERIES, value) | dict.fromkeys(WEATHER, 5.0)


def two_weeks() -> list[dict[str, Any]]:
    """Two weeks with every oddity that the supplier is known for."""
    hours = [FIRST + dt.timedelta(hours=number) for number in range(14 * 24)]
    rows = {at: hour(at, float(number)) for number, at in enumerate(hours)}
    spring = FIRST + dt.timedelta(days=13, hours=2)
    del rows[spring]
    rows[FIRST + dt.timedelta(days=8)]["dma_1"] = None
    rows[FIRST + dt.timedelta(days=8, hours=1)]["dma_1"] = -4.0
    rows[FIRST + dt.timedelta(days=8, hours=2)]["dma_1"] = float("nan")
    rows[FIRST + dt.timedelta(days=2)]["humidity"] = None
    twice = rows[FIRST + dt.timedelta(days=5)]
    autumn = rows[FIRST + dt.timedelta(days=6, hours=2)]
    return [*rows.values(), dict(twice), autumn | {"dma_2": autumn["dma_2"] + 10}]


def read(path: str) -> Rows:
    found = QueryBuilder().register("t", DeltaTable(path)).execute("select * from t").read_all()
    names = found.schema.names
    lists = [found.column(index).to_pylist() for index in range(found.num_columns)]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
    return {(row["series"], row["timestamp"].replace(tzinfo=None)): row for row in rows}


def arguments(folder: Path, source: str, run_id: str) -> list[str]:
    places = [f"--{name}={folder / name}" for name in ("silver", "gold")]
    return [f"--bronze={source}", *places, f"--run-id={run_id}", "--manifest=m", "--correlation-id=c"]


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two runs on the good table, one each on bad ones, and one as if on a Databricks cluster."""
    folder = tmp_path_factory.mktemp("curation")
    good = bronze(folder / "bronze", two_weeks())
    misspelt = bronze(folder / "misspelt", [hour(FIRST), hour(FIRST) | {"timestamp": "2022-03-14 01:00"}])
    lacking = bronze(folder / "lacking", [hour(FIRST)], ("timestamp", *SERIES[1:], *WEATHER))
    cases = {
        "first": arguments(folder, good, "run-1"),
        "second": [*arguments(folder, good, "run-2"), f"--weeks={folder / 'weeks'}"],
        "misspelt": arguments(folder / "none", misspelt, "run-3"),
        "lacking": arguments(folder / "none", lacking, "run-4"),
        "absent": arguments(folder / "none", str(folder / "nothing"), "run-5"),
        "databricks": arguments(folder / "cluster", good, "run-6"),
    }
    python = interpreter(ROOT / "localcloud" / "databricks_runtime.txt")
    driver_arguments = [str(WORKLOAD / "databricks" / "curate.py")]
    for name, argv in cases.items():
        driver_arguments += [name, *argv, "--"]
    found = drive(python, "curation_driver.py", *driver_arguments)
    return found | {"folder": folder}


def test_duplicates_fold_and_the_doubled_autumn_hour_is_averaged(curated: dict[str, Any]) -> None:
    silver = read(str(curated["folder"] / "silver"))
    assert len(silver) == 14 * 24 * len(SERIES)
    assert silver["dma_1", FIRST + dt.timedelta(days=5)]["demand"] == 120
    assert silver["dma_2", FIRST + dt.timedelta(days=6, hours=2)]["demand"] == 146 + 5
    assert silver["dma_3", FIRST + dt.timedelta(days=6, hours=2)]["demand"] == 146


def test_what_is_not_credible_is_null_in_silver_and_last_weeks_hour_in_gold(curated: dict[str, Any]) -> None:
    silver, gold = (read(str(curated["folder"] / name)) for name in ("silver", "gold"))
    for number in range(3):
        at = FIRST + dt.timedelta(days=8, hours=number)
        assert silver["dma_1", at]["demand"] is None
        assert gold["dma_1", at]["demand"] == 24 + number
        assert not gold["dma_1", at]["observed"]
        assert gold["dma_2", at]["observed"]


def test_the_hour_that_spring_skips_is_a_gap_that_gold_fills(curated: dict[str, Any]) -> None:
    gold = read(str(curated["folder"] / "gold"))
    spring = gold["dma_1", FIRST + dt.timedelta(days=13, hours=2)]
    assert not spring["observed"]
    assert spring["demand"] == 6 * 24 + 2
    assert spring["temperature"] == 5
    assert gold["dma_1", FIRST + dt.timedelta(days=2)]["humidity"] == 5


def test_each_commit_is_stamped_with_its_run_and_a_repeat_changes_nothing_else(curated: dict[str, Any]) -> None:
    for name in ("silver", "gold"):
        path = str(curated["folder"] / name)
        assert [entry["userMetadata"] for entry in DeltaTable(path).history()] == ["run-2", "run-1"]
    assert curated["first"]["status"] == curated["second"]["status"] == 0


@pytest.mark.parametrize(
    ("case", "words"),
    [("misspelt", "1 of 2 rows"), ("lacking", "lacks the columns dma_1"), ("absent", "curate failed on")],
)
def test_bad_input_fails_the_task_with_the_reason(curated: dict[str, Any], case: str, words: str) -> None:
    assert curated[case]["status"] == 1
    assert words in curated[case]["stderr"]
    assert not (curated["folder"] / "none").exists()


def test_on_databricks_the_clusters_session_is_used_and_sail_never_imported(curated: dict[str, Any]) -> None:
    assert curated["databricks"]["status"] == 0, curated["databricks"]["stderr"]
    folder = curated["folder"]
    assert read(str(folder / "cluster" / "gold")) == read(str(folder / "gold"))


def test_the_whole_weeks_are_written_as_lines_with_what_was_measured(curated: dict[str, Any]) -> None:
    files = sorted((curated["folder"] / "weeks").glob("*.json"))
    lines = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted((line["series"], line["week"]) for line in lines) == sorted(
        (name, day) for name in SERIES for day in ("2022-03-14", "2022-03-21")
    )
    second = next(line for line in lines if (line["series"], line["week"]) == ("dma_1", "2022-03-21"))
    assert len(second["values"]) == 168
    assert second["values"][24:28] == [None, None, None, 195.0]
    assert second["values"][6 * 24 + 2] is None, "the hour that spring skips was not measured"
