"""The gate, the golden week, and the build context."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import write_deltalake

from tests.workload.conftest import SRC

HOURS = 24 * 7 * 9
WEEK = 168


class Model:
    """Adds the same to every hour, in units of the series' mean."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self.shift)


def hours() -> Any:
    """Nine weeks whose demand alternates between weeks, so that last week is a poor forecast and the median is not."""
    weeks = np.arange(HOURS) // WEEK
    return 10 + np.sin(np.arange(HOURS) / 24 * 2 * np.pi) + np.where(weeks % 3 == 1, 3.0, 0.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gold table of two series, the last hour of one not measured."""
    at = (np.datetime64("2022-01-03T00", "us") + np.arange(HOURS) * np.timedelta64(1, "h")).astype("datetime64[us]")
    flat = np.zeros(HOURS)
    observed = np.ones(2 * HOURS, dtype=bool)
    observed[-1] = False
    columns = {
        "series": ["dma_1"] * HOURS + ["dma_2"] * HOURS,
        "timestamp": np.tile(at.astype("int64"), 2),
        "demand": np.concatenate([hours(), 2 * hours()]),
        "observed": observed.tolist(),
        **{name: np.tile(flat, 2) for name in ("temperature", "rain", "humidity")},
    }
    kinds = {"series": DataType.string(), "timestamp": DataType.timestamp("us", tz="UTC"), "observed": DataType.bool()}
    fields = [Field(name, kinds.get(name, DataType.float64())) for name in columns]
    arrays = [
        Array(np.asarray(values)).cast(field.type) if name == "timestamp" else Array(list(values), field)
        for field, (name, values) in zip(fields, columns.items(), strict=True)
    ]
    path = str(tmp_path_factory.mktemp("gold") / "demand")
    write_deltalake(path, Table.from_arrays(arrays, schema=Schema(fields)))
    return path


def evaluate(table: str, folder: Path, shift: float) -> subprocess.CompletedProcess[str]:
    """Run the step on a model folder that holds `Model(shift)`."""
    model = folder / "model"
    model.mkdir()
    facts = {"series": ["dma_1", "dma_2"], "trained_until": "2022-02-28", "gold": table, "gold_version": 0}
    (model / "forecast.json").write_text(json.dumps(facts))
    (model / "model.pkl").write_bytes(pickle.dumps(Model(shift)))
    argv = [sys.executable, str(SRC / "evaluate.py"), "--model", str(model), "--evaluation", str(folder / "evaluation")]
    root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": root}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_model_that_beats_seasonal_naive_passes_and_its_week_is_kept(table: str, tmp_path: Path) -> None:
    done = evaluate(table, tmp_path, 0.0)
    assert done.returncode == 0, done.stderr
    golden = json.loads((tmp_path / "evaluation" / "golden.json").read_text())
    assert golden["mae"] < golden["naive_mae"]
    assert {len(values) for values in golden["request"]["series"].values()} == {840}
    assert {len(values) for values in golden["request"]["weather"].values()} == {336}
    for part in ("predictions", "actual", "seasonal_naive"):
        assert {name: len(values) for name, values in golden[part].items()} == {"dma_1": 168, "dma_2": 168}
    report = json.loads((tmp_path / "evaluation" / "report.json").read_text())
    assert report["passed"]
    assert report["series"]["dma_1"]["mae"] < report["series"]["dma_1"]["naive_mae"]


def test_an_hour_that_was_not_measured_is_not_judged(table: str, tmp_path: Path) -> None:
    evaluate(table, tmp_path, 0.0)
    golden = json.loads((tmp_path / "evaluation" / "golden.json").read_text())
    assert golden["actual"]["dma_2"][-1] is None
    assert None not in golden["predictions"]["dma_2"]


def test_a_model_that_does_not_beat_seasonal_naive_fails_the_step(table: str, tmp_path: Path) -> None:
    done = evaluate(table, tmp_path, 5.0)
    assert done.returncode == 1
    assert "does not beat seasonal naive" in done.stderr
    assert not json.loads((tmp_path / "evaluation" / "report.json").read_text())["passed"]


def test_a_folder_that_is_no_model_of_train_is_refused_by_name(tmp_path: Path, steps: None) -> None:
    from model_facts import ModelFacts
    from step import StepFailed

    with pytest.raises(StepFailed, match=r"forecast\.json"):
        ModelFacts.read(tmp_path)


def test_equal_files_give_an_equal_build_context(tmp_path: Path, steps: None) -> None:
    import image

    (tmp_path / "MLmodel").write_text("model")
    scoring = SRC.parent.parent / "scoring"
    assert image.context(scoring, tmp_path) == image.context(scoring, tmp_path)


def test_an_address_that_is_not_abfss_is_refused(steps: None) -> None:
    from azure_access import Address
    from step import StepFailed

    with pytest.raises(StepFailed, match="abfss"):
        Address.parse("https://lake/gold")
    address = Address.parse("abfss://gold@lake.dfs.core.windows.net/demand")
    assert (address.container, address.account, address.path) == ("gold", "lake", "demand")
    assert str(address) == "abfss://gold@lake.dfs.core.windows.net/demand"
