"""The app's functions: `function_app.py` imported once, each function checked as the real worker checks it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import azure.functions as func

from localcloud.functions_host import signatures


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """The `retry` decorator of a timer or event hub function. `max_retries` -1 means for ever."""

    strategy: str
    max_retries: int
    delay: float
    maximum: float

    def pause(self, retry: int) -> float:
        """Seconds to wait before retry number `retry` (from 1)."""
        if self.strategy == "fixed_delay":
            return self.delay
        return min(self.maximum, self.delay * 2 ** min(retry - 1, 32))


@dataclasses.dataclass(frozen=True)
class Function:
    """One function of the app, ready to be called."""

    name: str
    call: Callable[..., Any]
    directory: str
    is_async: bool
    signature: signatures.Signature
    bindings: tuple[Mapping[str, Any], ...]
    retry: RetryPolicy | None

    @functools.cached_property
    def trigger(self) -> Mapping[str, Any]:
        """The trigger's binding, as the host gets it."""
        return next(binding for binding in self.bindings if str(binding["type"]).lower().endswith("trigger"))

    @property
    def kind(self) -> str:
        """The trigger's type, like `queueTrigger`."""
        return str(self.trigger["type"])

    def binding(self, name: str) -> Mapping[str, Any]:
        """The binding of the parameter (or `$return`) called `name`."""
        return next(binding for binding in self.bindings if binding["name"] == name)


def load(app: Path) -> tuple[Function, ...]:
    """Import the app in folder `app` and check its functions; whatever the app raises, it raises.

    The module is imported once a process: `sys.path` and `sys.modules` keep it.
    """
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    if not (app / script).exists():
        raise FileNotFoundError(f"{app / script}: no such file: --app must name the folder that holds {script}")
    if str(app) not in sys.path:
        sys.path.insert(0, str(app))
    module = importlib.import_module(Path(script).stem)
    return tuple(_function(found) for found in _registered(module, script).get_functions())


def _registered(module: Any, script: str) -> Any:
    registers = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(registers) > 1:
        raise ValueError(
            f"More than one {type(registers[0]).__name__} or other top level function app instances are defined."
        )
    if not registers:
        raise ValueError(f"Could not find top level function app instances in {script}.")
    return registers[0]


def _function(found: Any) -> Function:
    name = found.get_function_name()
    call = found.get_user_function()
    return Function(
        name=name,
        call=call,
        directory=str(Path(inspect.getfile(call)).parent),
        is_async=inspect.iscoroutinefunction(call),
        signature=signatures.check(name, call, found.get_bindings()),
        bindings=tuple(json.loads(raw) for raw in found.get_raw_bindings()),
        retry=_retry(found.get_settings_dict("retry_policy")),
    )


def _retry(declared: Mapping[str, str] | None) -> RetryPolicy | None:
    if not declared:
        return None
    strategy = declared["strategy"]
    retries = int(declared["max_retry_count"])
    if strategy == "fixed_delay":
        delay = _seconds(declared["delay_interval"])
        return RetryPolicy(strategy, retries, delay, delay)
    minimum, maximum = declared.get("minimum_interval"), declared.get("maximum_interval")
    return RetryPolicy(
        strategy, retries, _seconds(minimum) if minimum else 0.0, _seconds(maximum) if maximum else 2147483647.0
    )


def _seconds(text: str) -> float:
    parsed = time.strptime(text, "%H:%M:%S")
    return parsed.tm_hour * 3600.0 + parsed.tm_min * 60 + parsed.tm_sec
