"""The golden set of an image: what evaluate predicted for the held-back week, and what really happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd  # type: ignore[import-untyped]


class GoldenSet:
    """Compares answers with a golden set.  Raises ValueError when the file is not one."""

    def __init__(self, content: bytes) -> None:
        golden = _object(content, "the golden set")
        missing = sorted({"request", "predictions", "actual", "seasonal_naive"} - set(golden))
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        self.request = json.dumps(golden["request"]).encode()
        self._predictions = _frame(golden["predictions"])
        self._actual = _frame(golden["actual"])
        self._naive = _frame(golden["seasonal_naive"])

    def compare(self, answer: bytes) -> Mapping[str, float]:
        """`reproduced_max_diff` to evaluate's predictions, `mae` and `naive_mae` over the measured hours."""
        told = _object(answer, "the answer")
        if "predictions" not in told:
            raise ValueError(f"it has no predictions, it has {', '.join(sorted(told)) or 'nothing'}")
        given = _frame(told["predictions"])
        if set(given.columns) != set(self._predictions.columns) or len(given) != len(self._predictions):
            wanted = f"{len(self._predictions)} hours of {', '.join(map(str, sorted(self._predictions.columns)))}"
            raise ValueError(
                f"it predicts {len(given)} hours of {', '.join(map(str, sorted(given.columns)))}, not {wanted}"
            )
        if given.isna().any().any():
            raise ValueError("a prediction is not a number")
        given = given[self._predictions.columns]
        return {
            "mae": _error(given, self._actual),
            "naive_mae": _error(self._naive, self._actual),
            "reproduced_max_diff": float((given - self._predictions).abs().max().max()),
        }


def _error(forecast: pd.DataFrame, actual: pd.DataFrame) -> float:
    return float((forecast - actual).abs().stack().mean())


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{what} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{what} is not a JSON object")
    return found


def _frame(series: Any) -> pd.DataFrame:
    """Hours in rows, series in columns; ValueError for anything else than equally long lists of numbers."""
    if not isinstance(series, dict) or not series or not all(isinstance(hours, list) for hours in series.values()):
        raise ValueError("predictions must be an object of series, each a list of hourly numbers")
    if len({len(hours) for hours in series.values()}) != 1:
        raise ValueError("its series are not equally long")
    try:
        return pd.DataFrame(series, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its series hold something else than numbers: {error}") from error
