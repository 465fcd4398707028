"""`host.json`: the part of it that this host honours, typed, with the real host's defaults."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.functions_host.settings import timespan

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}


class HostJsonError(Exception):
    """`host.json` cannot be used; the message says where and why."""


@dataclasses.dataclass(frozen=True)
class QueueOptions:
    """`extensions.queues`, for the whole app."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_polling_interval: float = 60.0
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    message_encoding: str = "base64"


@dataclasses.dataclass(frozen=True)
class HubOptions:
    """`extensions.eventHubs`, for the whole app."""

    max_event_batch_size: int = 100
    prefetch_count: int = 300
    from_start: bool = True


@dataclasses.dataclass(frozen=True)
class HostJson:
    """What `host.json` says."""

    queues: QueueOptions = QueueOptions()
    route_prefix: str = "api"
    hubs: HubOptions = HubOptions()
    function_timeout: float | None = 1800.0
    log_levels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def load(app: Path) -> HostJson:
    """Read `host.json` of the app folder; raises HostJsonError with the place and the reason."""
    path = app / "host.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HostJsonError(f'{path}: no such file: a function app needs one, at least {{"version": "2.0"}}') from None
    except ValueError as error:
        raise HostJsonError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != "2.0":
        raise HostJsonError(f'{path}: must say "version": "2.0"')
    try:
        return _parse(document)
    except (TypeError, ValueError, AttributeError) as error:
        raise HostJsonError(f"{path}: {error}") from None
    except Exception as error:
        raise HostJsonError(f"{path}: {error}") from error


def _parse(document: Mapping[str, Any]) -> HostJson:
    extensions = document.get("extensions", {})
    timeout = document.get("functionTimeout", "00:30:00")
    unlimited = timeout in (None, "-1", -1)
    return HostJson(
        queues=_queues(extensions.get("queues", {})),
        route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
        hubs=_hubs(extensions.get("eventHubs", {})),
        function_timeout=None if unlimited else timespan(timeout, name="functionTimeout"),
        log_levels=_levels(document.get("logging", {}).get("logLevel", {})),
    )


def _queues(section: Mapping[str, Any]) -> QueueOptions:
    batch = _number(section, "queues", "batchSize", 16, 1, 32)
    threshold = batch // 2 * (os.cpu_count() or 1)
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        raise HostJsonError(f"extensions.queues.messageEncoding: {encoding!r} must be base64 or none")
    return QueueOptions(
        batch_size=batch,
        new_batch_threshold=_number(section, "queues", "newBatchThreshold", threshold, 0, 100_000),
        max_polling_interval=max(0.1, _span(section, "maxPollingInterval", 60.0)),
        max_dequeue_count=_number(section, "queues", "maxDequeueCount", 5, 1, 1_000_000),
        visibility_timeout=_span(section, "visibilityTimeout", 0.0),
        message_encoding=encoding,
    )


def _hubs(section: Mapping[str, Any]) -> HubOptions:
    start = str(section.get("initialOffsetOptions", {}).get("type", "fromStart")).lower()
    if start not in {"fromstart", "fromend"}:
        raise HostJsonError(f"extensions.eventHubs.initialOffsetOptions.type: {start!r} must be fromStart or fromEnd")
    return HubOptions(
        max_event_batch_size=_number(section, "eventHubs", "maxEventBatchSize", 100, 1, 100_000),
        prefetch_count=_number(section, "eventHubs", "prefetchCount", 300, 1, 100_000),
        from_start=start == "fromstart",
    )


def _span(section: Mapping[str, Any], name: str, default: float) -> float:
    return timespan(section[name], name=f"extensions.queues.{name}") if name in section else default


def _number(section: Mapping[str, Any], extension: str, name: str, default: int, low: int, high: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise HostJsonError(f"extensions.{extension}.{name}: {value!r} must be a whole number from {low} to {high}")
    return value


def _levels(section: Mapping[str, Any]) -> dict[str, int]:
    unknown = [f"{name}: {level}" for name, level in section.items() if str(level).lower() not in LEVELS]
    if unknown:
        raise HostJsonError(f"logging.logLevel: unknown level in {', '.join(unknown)}; use {', '.join(LEVELS)}")
    return {name: LEVELS[str(level).lower()] for name, level in section.items()}
