"""Train one global model for all series on gold, without its last week, and write it as an MLflow folder."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
from pathlib import Path

import features
import gold as gold_table
import numpy as np
from features import HISTORY, WEEK, Floats
from gold import Gold
from model_facts import ModelFacts
from sklearn.ensemble import HistGradientBoostingRegressor
from step import StepFailed, run, say
from threadpoolctl import threadpool_limits

SEED = 20221024


@dataclasses.dataclass(frozen=True)
class Settings:
    """How training data are drawn and how long the model learns."""

    origin_every_days: int
    """Not a multiple of 7, or the model would only ever see weeks that begin on one weekday."""
    iterations: int
    half_life_days: float = 365.0


def rows(gold: Gold, settings: Settings) -> tuple[Floats, Floats, Floats]:
    """Features, targets and weights of the past weeks that end where the held-back week begins, or before.

    Only measured hours are targets, and only series with five weeks of history at an origin take part in it.
    """
    parts = []
    last = gold.held_back - WEEK
    for origin in range(last, HISTORY - 1, -24 * settings.origin_every_days):
        history = gold.history(origin)
        known = np.flatnonzero(~np.isnan(history).any(axis=1))
        around = gold.weather_around(origin)
        if known.size == 0 or np.isnan(around).any():
            continue
        history = history[known]
        inputs = features.build(history, around, gold.time(origin), known.astype(float))
        truth = gold.demand[known, origin : origin + WEEK] / features.scale(history)[:, None]
        measured = gold.observed[known, origin : origin + WEEK].ravel()
        weight = 0.5 ** ((last - origin) / 24 / settings.half_life_days)
        parts.append(
            (
                inputs[measured],
                (truth - features.base(history)).ravel()[measured],
                np.full(int(measured.sum()), weight),
            )
        )
    if not parts:
        raise StepFailed("gold holds no complete five weeks before the held-back week: land more history")
    inputs_, targets, weights = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return inputs_, targets, weights


def fit(inputs: Floats, targets: Floats, weights: Floats, settings: Settings) -> HistGradientBoostingRegressor:
    """The model: L1, so that a burst main does not bend it; the same rows give the same model."""
    model = HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=settings.iterations,
        learning_rate=0.08,
        max_leaf_nodes=31,
        min_samples_leaf=40,
        max_bins=64,
        categorical_features=[features.NAMES.index(name) for name in features.CATEGORICAL],
        early_stopping=False,
        random_state=SEED,
    )
    # One thread: beside a busy neighbour, waiting at OpenMP's barriers costs more than a second core gives.
    with threadpool_limits(limits=1, user_api="openmp"):
        return model.fit(inputs, targets, sample_weight=weights)


def save(model: HistGradientBoostingRegressor, gold: Gold, folder: Path, *, uri: str, version: int) -> None:
    """Write the MLflow folder: the model, `code/features.py`, and `forecast.json` with the series and the origin."""
    import mlflow.sklearn  # two seconds that a failing step should not cost

    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format="pickle",
        code_paths=[features.__file__],
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in ("scikit-learn", "numpy")],
        metadata={"gold": uri, "gold_version": version},
    )
    facts = ModelFacts(gold.series, gold.time(gold.held_back).isoformat(), uri, version)
    facts.write(folder)


def main() -> None:
    """The step's command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gold", required=True)
    parser.add_argument("--gold-version", required=True, type=int)
    parser.add_argument("--origin-every-days", required=True, type=int)
    parser.add_argument("--iterations", required=True, type=int)
    parser.add_argument("--model", required=True, type=Path)
    args = parser.parse_args()
    settings = Settings(args.origin_every_days, args.iterations)
    if settings.origin_every_days % 7 == 0:
        raise StepFailed(f"origin_every_days is {settings.origin_every_days}: it must not be a multiple of 7")
    gold, version = gold_table.read(args.gold, args.gold_version)
    say(f"gold version {version}: {gold.hours} hours of {len(gold.series)} series from {gold.start}")
    inputs, targets, weights = rows(gold, settings)
    say(f"{len(inputs)} rows; the week from {gold.time(gold.held_back)} is held back")
    save(fit(inputs, targets, weights, settings), gold, args.model, uri=args.gold, version=version)
    say(f"wrote {args.model}")


if __name__ == "__main__":
    run(main)
