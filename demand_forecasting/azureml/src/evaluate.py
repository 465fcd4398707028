"""Evaluate the model on the week that training never saw: beside seasonal naive, and beside the champion.

A first model that does not beat seasonal naive fails the step.  Where there is a champion, the model is registered only
when it beats seasonal naive and is better than the champion beyond noise on that same week; else the champion is
retained, which is an outcome and no failure.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import features
import gold as gold_table
import numpy as np
from azure_access import Address
from champion import Champion, fetch
from comparison import Comparison, compare
from features import WEEK, Floats, Predict
from gold import Gold
from model_facts import ModelFacts
from step import StepFailed, run, say

NONE = "none"
"""Stands for a champion where there is none."""
REGISTERED, RETAINED, REJECTED = "registered", "retained", "rejected"


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


def against(champion: Champion, golden: dict[str, Any], gold: Gold) -> Comparison:
    """The challenger's golden week beside the champion's forecast of the same hours."""
    forecast = champion.forecast(gold, gold.held_back)
    known = ~np.isnan(forecast).any(axis=1)
    rows = (np.array(list(golden[key].values()), dtype=float)[known] for key in ("predictions", "actual"))
    challenger, actual = rows
    return compare(challenger, forecast[known], actual)


def verdict(figures: dict[str, Any], found: Comparison | None) -> tuple[str, str]:
    """What becomes of the model, and why."""
    beaten = f"MAE {figures['mae']:.3f}, seasonal naive {figures['naive_mae']:.3f}"
    if not figures["passed"]:
        return RETAINED if found else REJECTED, f"the model does not beat seasonal naive: {beaten}"
    if found is None:
        return REGISTERED, f"there is no champion to beat: {beaten}"
    if found.better:
        return REGISTERED, f"better beyond noise: {found.said}"
    return RETAINED, f"not better beyond noise: {found.said}"


def report(golden: dict[str, Any], version: str = "", found: Comparison | None = None) -> dict[str, Any]:
    """The figures of `golden`, over all series and for each, without its long lists, and the verdict on them."""
    lists = ("predictions", "seasonal_naive", "actual")
    series = {
        name: dict(zip(("mae", "naive_mae"), _errors(*(golden[key][name] for key in lists)), strict=True))
        for name in golden["actual"]
    }
    figures = {
        "origin": golden["request"]["origin"],
        "mae": golden["mae"],
        "naive_mae": golden["naive_mae"],
        "better_by": 1 - golden["mae"] / golden["naive_mae"],
        "passed": golden["mae"] < golden["naive_mae"],
        "series": series,
        "champion": {"version": version, "mae": found.champion, **_bounds(found)} if found else None,
    }
    decided, reason = verdict(figures, found)
    return figures | {"verdict": decided, "reason": reason}


def _bounds(found: Comparison) -> dict[str, float]:
    return {"relative": found.relative, "low": found.low, "high": found.high}


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
    parser.add_argument("--model-name", default="")
    parser.add_argument("--champion", default=NONE, help="the registered version that must be beaten")
    args = parser.parse_args()
    with (args.model / "model.pkl").open("rb") as file:
        model = pickle.load(file)
    facts = ModelFacts.read(args.model)
    gold, _ = gold_table.read(facts.gold, facts.gold_version)
    golden = judge(model.predict, gold)
    found = None
    if args.champion != NONE:
        with tempfile.TemporaryDirectory() as folder:
            account = Address.parse(facts.gold).account
            found = against(fetch(args.model_name, args.champion, account, Path(folder)), golden, gold)
    figures = report(golden, args.champion, found)
    args.evaluation.mkdir(parents=True, exist_ok=True)
    (args.evaluation / "golden.json").write_text(json.dumps(golden), encoding="utf-8")
    (args.evaluation / "report.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    said = f"week from {figures['origin']}: {figures['verdict']}, {figures['reason']}"
    say(said)
    if figures["verdict"] == REJECTED:
        raise StepFailed(f"nothing is registered; {said}")


if __name__ == "__main__":
    run(main)
