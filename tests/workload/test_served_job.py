"""What was served: the log becomes a table of predictions, and its error is known when the actuals have landed."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from localcloud.cloud import ROOT
from tests.workload.conftest import WORKLOAD, drive, interpreter

ORIGIN = dt.datetime(2022, 10, 31)  # noqa: DTZ001 - local clock hours
HOURS = 6


def line(number: int, day: str = "2026-03-02", **changes: Any) -> str:
    values = changes.pop("values", [10.0] * HOURS)
    call = {
        "id": f"c{number}", "at": f"{day}T12:00:00+00:00", "endpoint": "demand", "deployment": "v1", "model_name": "m",
        "model_version": "1", "status": 200, "latency_ms": 5.0, "shadow": False, "levels": {},
        "outputs": {"origin": ORIGIN.isoformat(), "predictions": {"dma_1": values}}, "inputs": {"series": {}},
    } | changes  # fmt: skip
    place = {"partition": "0", "sequence": number, "offset": str(number), "enqueued": f"{day}T12:00:01+00:00"}
    return json.dumps(place | {"call": call})


def keep(folder: Path, name: str, lines: list[str], day: str = "2026-03-02") -> None:
    path = folder / "log" / f"day={day}" / "hour=12" / f"0-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one}\n" for one in lines))


def gold(folder: Path, actuals: list[float]) -> None:
    """The actuals; the last hour is filled, not measured."""
    count = len(actuals)
    first = int(ORIGIN.replace(tzinfo=dt.UTC).timestamp() * 1e6)
    stamps = Array([first + hour * 3_600_000_000 for hour in range(count)], DataType.int64())
    fields = [
        Field("series", DataType.string()),
        Field("timestamp", DataType.timestamp("us")),
        Field("demand", DataType.float64()),
        Field("observed", DataType.bool()),
    ]
    arrays = [
        Array(["dma_1"] * count, fields[0]),
        stamps.cast(fields[1].type),
        Array(actuals, fields[2]),
        Array([True] * (count - 1) + [False], fields[3]),
    ]
    write_deltalake(str(folder / "gold"), Table.from_arrays(arrays, schema=Schema(fields)), mode="overwrite")


def read(path: Path) -> list[dict[str, Any]]:
    found = QueryBuilder().register("t", DeltaTable(str(path))).execute("select * from t").read_all()
    columns = {name: found.column(index).to_pylist() for index, name in enumerate(found.schema.names)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def job(folder: Path, run_id: str) -> dict[str, Any]:
    argv = [f"--log={folder / 'log'}", f"--gold={folder / 'gold'}", f"--run-id={run_id}"]
    argv += [f"--predictions={folder / 'predictions'}", f"--errors={folder / 'errors'}"]
    argv += [f"--weeks={folder / 'weeks' / run_id}"]
    python = interpreter(ROOT / "localcloud" / "databricks_runtime.txt")
    found = drive(python, "curation_driver.py", str(WORKLOAD / "databricks" / "served.py"), run_id, *argv, "--")
    assert found[run_id] == {"status": 0, "stderr": ""}
    return dict(found[run_id])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One week: good calls, doubles, a shadow, a refusal, a broken prediction; the week's actuals, but for an hour."""
    folder = tmp_path_factory.mktemp("served")
    good = [line(1), line(2, values=[12.0] * HOURS), line(3, model_version="2", deployment="v2", values=[20.0] * HOURS)]
    odd = [line(4, shadow=True, values=[99.0] * HOURS), line(5, status=400, outputs={"error": "no"})]
    odd += [line(6, values=[None] * HOURS), json.dumps({"partition": "0", "sequence": 7, "rejected": "x", "body": ""})]
    keep(folder, "1", [*good, *odd])
    keep(folder, "2", [good[1]])  # an overlapping batch
    gold(folder, [11.0] * HOURS)
    job(folder, "run-1")
    return folder


def test_every_good_answer_is_in_the_table_once_hour_by_hour(first: Path) -> None:
    rows = read(first / "predictions")
    assert sorted({row["id"] for row in rows}) == ["c1", "c2", "c3", "c4", "c6"]
    assert len(rows) == 5 * HOURS
    (row,) = [row for row in rows if row["id"] == "c2" and row["timestamp"].replace(tzinfo=None) == ORIGIN]
    assert (row["prediction"], row["model_version"], row["day"], row["sequence"]) == (12.0, "1", "2026-03-02", 2)


def test_the_error_of_what_was_served_is_known_per_model_version(first: Path) -> None:
    found = {row["model_version"]: row for row in read(first / "errors")}
    assert set(found) == {"1", "2"}
    assert (found["1"]["mae"], found["1"]["calls"], found["1"]["hours"]) == (1.0, 2, 2 * (HOURS - 1))
    assert (found["2"]["mae"], found["2"]["error"]) == (9.0, 9.0 * (HOURS - 1))
    stamps = [entry.get("userMetadata") for entry in DeltaTable(str(first / "errors")).history()]
    assert "run-1" in stamps


def test_the_error_of_each_week_is_told_as_a_share_of_the_demand(first: Path) -> None:
    lines = [line for file in (first / "weeks" / "run-1").glob("*.json") for line in file.read_text().splitlines()]
    found = {row.pop("model_version"): row for row in map(json.loads, lines)}
    assert found["1"] == {"week": "2022-10-31", "series": "dma_1", "error": pytest.approx(1 / 11)}
    assert found["2"] == {"week": "2022-10-31", "series": "dma_1", "error": pytest.approx(9 / 11)}


def test_without_a_log_the_errors_are_empty_and_the_run_is_stamped_all_the_same(tmp_path: Path) -> None:
    gold(tmp_path, [11.0] * HOURS)
    job(tmp_path, "run-0")
    (tmp_path / "log").mkdir()
    job(tmp_path, "run-1")
    assert read(tmp_path / "errors") == []
    assert DeltaTable(str(tmp_path / "errors")).history()[0]["userMetadata"] == "run-1"


def test_a_repeat_changes_nothing_and_later_days_are_added(first: Path) -> None:
    before = sorted(read(first / "predictions"), key=str)
    job(first, "databricks")  # as on a cluster: with a session that is there, without Sail
    assert sorted(read(first / "predictions"), key=str) == before
    keep(first, "9", [line(20, "2026-03-09", values=[11.0] * HOURS)], "2026-03-09")
    job(first, "run-3")
    assert len(read(first / "predictions")) == len(before) + HOURS
    found = {row["model_version"]: row for row in read(first / "errors")}
    assert (found["1"]["calls"], found["1"]["mae"]) == (3, pytest.approx(2 / 3))
