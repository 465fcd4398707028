"""The model that a challenger must beat: a registered version, out of the lake, with the features it was made with."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.util
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from azure_access import CONTAINER, arm, container, workspace
from features import Floats
from gold import Gold
from model_facts import ModelFacts
from step import StepFailed

_VERSION = "2024-10-01"


@dataclasses.dataclass(frozen=True)
class Champion:
    """A loaded model folder of the train step."""

    version: str
    model: Any
    features: ModuleType
    facts: ModelFacts

    @classmethod
    def load(cls, folder: Path, version: str) -> Champion:
        """The model in `folder`."""
        facts = ModelFacts.read(folder)
        spec = importlib.util.spec_from_file_location("champion_features", folder / "code" / "features.py")
        if spec is None or spec.loader is None or not (folder / "code" / "features.py").is_file():
            raise StepFailed(f"{folder}/code/features.py is missing: this is not a model of the train step")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with (folder / "model.pkl").open("rb") as file:
            return cls(version, pickle.load(file), module, facts)

    def forecast(self, gold: Gold, origin: int) -> Floats:
        """What it forecasts for the week from hour `origin`: rows in gold's order, NaN for series it does not know."""
        at = gold.time(origin)
        if dt.datetime.fromisoformat(self.facts.trained_until) > at:
            raise StepFailed(
                f"the champion, version {self.version}, was trained until {self.facts.trained_until} and has seen the "
                f"week from {at.isoformat()}: retrain on a newer version of gold"
            )
        known = [place for place, name in enumerate(gold.series) if name in self.facts.series]
        numbers = np.array([self.facts.series.index(gold.series[place]) for place in known], dtype=float)
        found = np.full((len(gold.series), self.features.WEEK), np.nan)
        history, weather = gold.history(origin)[known], gold.weather_around(origin)
        found[known] = self.features.week_ahead(self.model.predict, history, weather, at, numbers)
        return found


def fetch(name: str, version: str, account: str, folder: Path) -> Champion:
    """Version `version` of the registered model `name`, from the lake's account, by way of `folder`."""
    found = arm("GET", f"{workspace()}/models/{name}/versions/{version}", version=_VERSION)
    if found is None:
        raise StepFailed(f"{name} version {version}, the champion, is not registered")
    path = str(found["properties"]["modelUri"]).partition("/paths/")[2].rstrip("/")
    client = container(account, CONTAINER)
    for blob in client.list_blob_names(name_starts_with=f"{path}/"):
        target = folder / blob.removeprefix(f"{path}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(client.download_blob(blob).readall())
    return Champion.load(folder, version)
