"""Evaluate the model on the week that training never saw; fail when it does not beat seasonal naive."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pickle
from pathlib import Path
from typing import Any

import features
import gold as gold_table
import numpy as np
from features import WEEK, Floats, Predict
from gold import Gold
from model_facts import ModelFacts
from step import StepFailed, run, say


def judge(predict: Predict, gold: Gold) -> dict[str, Any]:
    """What a service with this model must answer for the held-back week, what happened, and the errors of both."""
    origin = gold.held_back
    request = gold.request(origin)
    history = gold.history(origin)
    if np.isnan(history).any():
        raise StepFailed("gold has gaps in the five weeks before the held-back week: the model cannot be judged")
    numbers = np.arange(len(gold.series), dtype=float)
    at = dt.datetime.fromisoformat(request["origin"])
    forecast = features.week_ahead(predict, history, gold.weather_around(origin), at, numbers)
    actual = np.where(gold.observed[:, origin:], gold.demand[:, origin:], np.nan)
    naive = features.seasonal_naive(history)
    return {
        "request": request,
        "predictions": _named(gold, forecast),
        "actual": _named(gold, actual),
        "seasonal_naive": _named(gold, naive),
        "mae": error(forecast, actual),
        "naive_mae": error(naive, actual),
    }


def error(forecast: Floats, actual: Floats) -> float:
    """Mean absolute error over the measured hours."""
    if np.isnan(actual).all():
        raise StepFailed("nothing was measured in the held-back week: the model cannot be judged")
    return float(np.nanmean(np.abs(forecast - actual)))


def report(golden: dict[str, Any]) -> dict[str, Any]:
    """The figures of `golden`, over all series and for each, without its long lists."""
    lists = ("predictions", "seasonal_naive", "actual")
    series = {
        name: dict(zip(("mae", "naive_mae"), _errors(*(golden[key][name] for key in lists)), strict=True))
        for name in golden["actual"]
    }
    return {
        "origin": golden["request"]["origin"],
        "mae": golden["mae"],
        "naive_mae": golden["naive_mae"],
        "better_by": 1 - golden["mae"] / golden["naive_mae"],
        "passed": golden["mae"] < golden["naive_mae"],
        "series": series,
    }


def _errors(forecast: list[float], naive: list[float], actual: list[float | None]) -> tuple[float | None, float | None]:
    truth = np.array(actual, dtype=float)
    if np.isnan(truth).all():
        return None, None
    return error(np.array(forecast), truth), error(np.array(naive), truth)


def _named(gold: Gold, values: Floats) -> dict[str, list[float | None]]:
    rows = [[None if np.isnan(value) else float(value) for value in row] for row in values[:, :WEEK]]
    return dict(zip(gold.series, rows, strict=True))


def main() -> None:
    """The step's command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--evaluation", required=True, type=Path)
    args = parser.parse_args()
    with (args.model / "model.pkl").open("rb") as file:
        model = pickle.load(file)
    facts = ModelFacts.read(args.model)
    gold, _ = gold_table.read(facts.gold, facts.gold_version)
    golden = judge(model.predict, gold)
    figures = report(golden)
    args.evaluation.mkdir(parents=True, exist_ok=True)
    (args.evaluation / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    (args.evaluation / "report.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    verdict = f"week from {figures['origin']}: MAE {figures['mae']:.3f}, seasonal naive {figures['naive_mae']:.3f}"
    say(verdict)
    if not figures["passed"]:
        raise StepFailed(f"the model does not beat seasonal naive, so it is not registered ({verdict})")


if __name__ == "__main__":
    run(main)
