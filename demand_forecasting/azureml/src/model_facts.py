"""What a model folder says of itself beside the MLflow files: `forecast.json`, which the scoring service reads too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from step import StepFailed

_FILE = "forecast.json"


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """Where a model comes from.  The later steps take the data's version from here, not from the pipeline's input."""

    series: tuple[str, ...]
    """In the order of the numbers that the model knows them by."""
    trained_until: str
    gold: str
    gold_version: int

    def write(self, folder: Path) -> None:
        """Put the facts into the model's `folder`."""
        (folder / _FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelFacts:
        """The facts of the model in `folder`."""
        path = folder / _FILE
        if not path.is_file():
            raise StepFailed(f"{folder} has no {_FILE}: it is not a model of the train step")
        facts = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(facts["series"]), facts["trained_until"], facts["gold"], facts["gold_version"])
