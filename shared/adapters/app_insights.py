"""Application Insights through opencensus-ext-azure: events, metrics and spans under one operation id a chain.

Everything is handed to background threads; nothing here raises into the work that it tells about.
"""

from __future__ import annotations

import atexit
import collections
import datetime as dt
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opencensus.ext.azure.log_exporter import AzureEventHandler  # type: ignore[import-untyped]
from opencensus.ext.azure.metrics_exporter import MetricsExporter  # type: ignore[import-untyped]
from opencensus.ext.azure.trace_exporter import AzureExporter  # type: ignore[import-untyped]
from opencensus.metrics import label_key, label_value, transport  # type: ignore[import-untyped]
from opencensus.metrics.export import (  # type: ignore[import-untyped]
    metric,
    metric_descriptor,
    metric_producer,
    point,
    time_series,
    value,
)
from opencensus.trace.samplers import AlwaysOnSampler  # type: ignore[import-untyped]
from opencensus.trace.span_context import SpanContext  # type: ignore[import-untyped]
from opencensus.trace.tracer import Tracer  # type: ignore[import-untyped]

from shared.telemetry import trace_id

JSON = Mapping[str, Any]

_logger = logging.getLogger(__name__)
_MOST_SAMPLES = 10_000


class AppInsights:
    """Sends to the resource of a connection string, every `interval` seconds."""

    def __init__(self, connection_string: str, *, interval: float = 5.0) -> None:
        os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"  # else the exporters tell of themselves
        options = {
            "connection_string": connection_string,
            "export_interval": interval,
            "enable_local_storage": False,
            "enable_standard_metrics": False,
        }
        self._events = AzureEventHandler(**options)
        logging.Handler.createLock(self._events)  # it sets its lock to None, which Python 3.13 does not accept
        self._spans = AzureExporter(**options)
        self._samples = _Samples()
        self._metrics = MetricsExporter(**options)
        self._metrics.exporter_thread = transport.get_exporter_thread([self._samples], self._metrics, interval)

    def event(self, name: str, correlation: str, facts: JSON) -> None:
        """Something happened."""
        with _quietly(f"event {name}"):
            record = logging.makeLogRecord({"msg": "%s", "args": (name,), "levelno": logging.INFO})
            record.traceId = trace_id(correlation)
            record.custom_dimensions = _texts({"correlation": correlation, **facts})
            self._events.handle(record)

    def metric(self, name: str, value: float, facts: Mapping[str, str]) -> None:
        """A number was measured."""
        with _quietly(f"metric {name}"):
            self._samples.add(name, float(value), _texts(facts))

    @contextmanager
    def span(self, name: str, correlation: str, facts: JSON) -> Iterator[None]:
        """Something takes time; an exception passes through and marks the span as failed."""
        tracer = span = None
        with _quietly(f"span {name}"):
            context = SpanContext(trace_id=trace_id(correlation))
            tracer = Tracer(span_context=context, sampler=AlwaysOnSampler(), exporter=self._spans)
            span = tracer.start_span(name)
            for key, fact in _texts({"correlation": correlation, **facts}).items():
                span.add_attribute(key, fact)
        try:
            yield
        except BaseException as error:
            with _quietly(f"span {name}"):
                if span is not None:
                    span.add_attribute("error", f"{type(error).__name__}: {error}"[:500])
            raise
        finally:
            with _quietly(f"span {name}"):
                if tracer is not None:
                    tracer.end_span()

    def close(self) -> None:
        """Send what is left, and end the threads."""
        with _quietly("what is left"):
            self._events.close()
            self._spans._stop(5.0)
            self._metrics.shutdown()
            atexit.unregister(self._metrics.shutdown)


class _Samples(metric_producer.MetricProducer):  # type: ignore[misc]
    """Measured numbers on their way to the exporter's thread; the oldest are dropped when nobody takes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: collections.deque[tuple[str, float, dict[str, str], dt.datetime]]
        self._waiting = collections.deque(maxlen=_MOST_SAMPLES)

    def add(self, name: str, number: float, labels: dict[str, str]) -> None:
        with self._lock:
            self._waiting.append((name, number, labels, dt.datetime.now(dt.UTC).replace(tzinfo=None)))

    def get_metrics(self) -> set[Any]:
        with self._lock:
            taken, self._waiting = self._waiting, collections.deque(maxlen=_MOST_SAMPLES)
        return {_metric(*sample) for sample in taken}


def _metric(name: str, number: float, labels: Mapping[str, str], at: dt.datetime) -> Any:
    keys = [label_key.LabelKey(label, "") for label in sorted(labels)]
    values = [label_value.LabelValue(labels[label]) for label in sorted(labels)]
    kind = metric_descriptor.MetricDescriptorType.GAUGE_DOUBLE
    series = time_series.TimeSeries(values, [point.Point(value.ValueDouble(number), at)], None)
    return metric.Metric(metric_descriptor.MetricDescriptor(name, "", "1", kind, keys), [series])


def _texts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(fact) for name, fact in facts.items()}


@contextmanager
def _quietly(what: str) -> Iterator[None]:
    """The work matters more than the word about it."""
    try:
        yield
    except Exception:
        _logger.warning("telemetry: %s was not sent", what, exc_info=True)
