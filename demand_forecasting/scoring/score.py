"""The scoring service: the week ahead of the series it is sent, for `azureml-inference-server-http`.

A request that cannot be understood is answered with 400 and the name of the field at fault.  Every call is logged
with its inputs and its answer (see `call_log`).
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import math
import os
import pickle
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import call_log
import numpy as np
from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse
from numpy.typing import NDArray

_LARGEST = 4 * 1024 * 1024
_LEVEL_HOURS = 4 * 168


class BadRequest(Exception):
    """The request is at fault; the message names the field."""


class Forecaster:
    """A loaded model folder."""

    # Not a dataclass: the server loads this file without entering it in sys.modules, which dataclasses look into.
    def __init__(self, model: Any, features: ModuleType, series: tuple[str, ...]) -> None:
        self.model = model
        self.features = features
        self.series = series

    @classmethod
    def load(cls, folder: Path) -> Forecaster:
        """The forecaster of an MLflow folder, with the features module that it was trained with."""
        spec = importlib.util.spec_from_file_location("features", folder / "code" / "features.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"{folder}/code/features.py is missing: this is not a model of the train step")
        features = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(features)
        with (folder / "model.pkl").open("rb") as file:
            model = pickle.load(file)
        facts = json.loads((folder / "forecast.json").read_text(encoding="utf-8"))
        return cls(model, features, tuple(facts["series"]))

    def answer(self, body: bytes) -> tuple[dict[str, Any], dict[str, float]]:
        """The answer to a request, and the level of each series: its mean over the last four weeks.

        BadRequest when the request cannot be understood.
        """
        request = _object(_json(body), "the body", ("origin", "series", "weather"))
        origin = _origin(request["origin"])
        history = self._history(request["series"])
        weather = _object(request["weather"], "weather", self.features.WEATHER)
        around = np.array(
            [_numbers(weather[name], f"weather.{name}", 2 * self.features.WEEK) for name in self.features.WEATHER]
        )
        numbers = np.array([self.series.index(name) for name in history], dtype=float)
        demand = np.array(list(history.values()))
        forecast = self.features.week_ahead(self.model.predict, demand, around, origin, numbers)
        levels = dict(zip(history, demand[:, -_LEVEL_HOURS:].mean(axis=1).tolist(), strict=True))
        answer = {
            "predictions": dict(zip(history, forecast.tolist(), strict=True)),
            "origin": origin.isoformat(),
            "model_name": os.environ.get("MODEL_NAME", ""),
            "model_version": os.environ.get("MODEL_VERSION", ""),
        }
        return answer, levels

    def _history(self, given: Any) -> dict[str, NDArray[np.float64]]:
        if not isinstance(given, dict) or not given:
            raise BadRequest("series must be an object with at least one series")
        unknown = sorted(set(given) - set(self.series))
        if unknown:
            raise BadRequest(f"series.{unknown[0]} is not a series of this model, which knows {', '.join(self.series)}")
        return {name: _numbers(values, f"series.{name}", self.features.HISTORY) for name, values in given.items()}


def _json(body: bytes) -> Any:
    if len(body) > _LARGEST:
        raise BadRequest(f"the body has {len(body)} bytes; at most {_LARGEST} are read")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _object(given: Any, what: str, fields: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadRequest(f"{what} must be an object with {', '.join(fields)}")
    for field in fields:
        if field not in given:
            raise BadRequest(f"{what} lacks {field}")
    return given


def _origin(given: Any) -> dt.datetime:
    try:
        origin = dt.datetime.fromisoformat(given)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"origin must be a local time such as 2022-10-31T00:00:00, and is {given!r:.60}") from error
    if origin.tzinfo is not None:
        raise BadRequest(f"origin must be local time without an offset, and is {given!r:.60}")
    if (origin.hour, origin.minute, origin.second, origin.microsecond) != (0, 0, 0, 0):
        raise BadRequest(f"origin must be midnight: a forecast begins with a day; it is {given!r:.60}")
    if not 1900 <= origin.year <= 2200:
        raise BadRequest(f"origin must lie between 1900 and 2200, and is {given!r:.60}")
    return origin


def _numbers(given: Any, what: str, count: int) -> NDArray[np.float64]:
    if not isinstance(given, list) or len(given) != count:
        found = f"has {len(given)}" if isinstance(given, list) else "is no list"
        raise BadRequest(f"{what} must be a list of {count} hourly numbers, and {found}")
    for hour, value in enumerate(given):
        if type(value) not in (int, float) or not abs(value) < 1e12 or not math.isfinite(value):
            raise BadRequest(f"{what}[{hour}] must be a finite number, and is {value!r:.40}")
    return np.array(given, dtype=float)


_forecaster: Forecaster
_calls: call_log.CallLog | None = None


def init() -> None:
    """Load the model; called once by the server."""
    global _forecaster, _calls
    _forecaster = Forecaster.load(Path(os.environ["AZUREML_MODEL_DIR"]))
    _calls = call_log.open_log()


@rawhttp
def run(request: AMLRequest) -> AMLResponse:
    """Answer one request; called by the server for each."""
    began, status, levels = time.perf_counter(), 500, {}
    body = request.get_data(cache=False)
    answer: dict[str, Any] = {"error": "the service failed"}
    try:
        answer, levels = _forecaster.answer(body)
        status = 200
    except BadRequest as error:
        answer, status = {"error": str(error)}, 400
    finally:
        _note(request, body, answer, levels, status, 1000 * (time.perf_counter() - began))
    return AMLResponse(answer, status, json_str=True)


def _note(
    request: AMLRequest, body: bytes, answer: dict[str, Any], levels: dict[str, float], status: int, latency_ms: float
) -> None:
    """Log the call: to the hub where there is one, else every good answer to a file or to standard output."""
    at, headers = dt.datetime.now(dt.UTC), request.headers
    request_id, shadow = headers.get("x-ms-client-request-id", ""), headers.get("sluice-shadow", "") == "true"

    def make() -> bytes:
        return call_log.record(
            at=at, request_id=request_id, status=status, latency_ms=latency_ms, body=body, answer=answer,
            levels=levels, shadow=shadow,
        )  # fmt: skip

    if _calls is not None:
        _calls.note(len(body) + 1024, make)
    elif status == 200:
        call_log.write(make())
