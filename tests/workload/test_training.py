"""Training: what it may see, what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_the_held_back_week_changes_nothing_of_what_training_sees(trained: dict[str, Any]) -> None:
    assert trained["rows"] > 0
    assert trained["same_without_held_back_week"]


def test_equal_rows_give_an_equal_model(trained: dict[str, Any]) -> None:
    assert trained["same_when_repeated"]


def test_hours_that_were_not_measured_are_no_targets(trained: dict[str, Any]) -> None:
    assert trained["rows_when_nothing_was_measured"] == 0


def test_the_model_folder_is_an_mlflow_folder_with_its_features_and_facts(trained: dict[str, Any]) -> None:
    expected = {"MLmodel", "conda.yaml", "requirements.txt", "model.pkl", "code/features.py", "forecast.json"}
    assert expected <= set(trained["files"])
    assert not [name for name in trained["files"] if "__pycache__" in name]
    facts = json.loads((Path(trained["folder"]) / "forecast.json").read_text())
    assert facts["gold_version"] == 7
    assert facts["trained_until"] == trained["request"]["origin"]
