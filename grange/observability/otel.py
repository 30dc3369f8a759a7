"""Spans, figures and log lines to OpenTelemetry. The only file that imports it; with the extra `otel`.

The SDK never sits on the path of a call: a span that has ended is put into the queue of the SDK's own thread. What is
left at the end of the silo is sent within 2 s, spans first; a receiver that hangs delays the end no longer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

from opentelemetry import trace as api
from opentelemetry.context import attach, get_current
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtelMetric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from grange.aio.threads import has_ended
from grange.errors import ConfigurationError
from grange.observability.histogram import BOUNDS, Distribution
from grange.observability.metric import Kind
from grange.observability.metrics import METRICS
from grange.observability.snapshot import Snapshot
from grange.observability.spans import Fact, Span
from grange.observability.telemetry import ENDPOINT, Process, Telemetry
from grange.observability.trace import ids_of

log = logging.getLogger("grange.telemetry")

FLUSH_TIMEOUT = 1.0
"""Seconds that the end of a silo or client waits for the last spans to be sent, and then for the last figures."""

_SCOPE = InstrumentationScope("grange")
_UNITS: Mapping[str, str] = MappingProxyType({"seconds": "s", "bytes": "By"})
_KINDS: Mapping[str, SpanKind] = MappingProxyType({"client": SpanKind.CLIENT, "server": SpanKind.SERVER})
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_OK = Status(StatusCode.UNSET)
_ERROR = Status(StatusCode.ERROR)


class ApplicationTracing:
    """The application's own spans (`spans.Outside`): parents of calls at their root, children of turns."""

    def __init__(self) -> None:
        self.context: Callable[[], object] = get_current

    def parent(self) -> tuple[int, int, bool] | None:
        """Trace id, span id and decision of the application's current span; None: it has none."""
        context = api.get_current_span().get_span_context()
        return (context.trace_id, context.span_id, context.trace_flags.sampled) if context.is_valid else None

    def enter(self, span: Span) -> None:
        """Make this span the parent of the application's spans in the running context.

        It is not detached: the context ends with the turn.
        """
        attach(api.set_span_in_context(NonRecordingSpan(_context(span.number, span.id))))


class SpanSink:
    """Puts the spans that have ended into the queue of the SDK (`spans.Sink`)."""

    def __init__(self, processor: BatchSpanProcessor, resource: Resource) -> None:
        self._processor = processor
        self._resource = resource

    def ended(self, span: Span) -> None:
        """A span has ended."""
        self._processor.on_end(readable(span, self._resource))


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """A span as the SDK's exporters take it."""
    offset, link = span.branch.offset, span.branch.link
    facts: dict[str, Fact] = dict(span.facts)
    if span.kind in ("client", "server"):
        facts["rpc.status_code"] = span.status
    if span.kind in ("server", "timer"):
        facts["grange.wait_ms"] = round(span.wait * 1000, 3)
    if span.error:
        facts["error.type"] = span.error
    linked = [Link(_context(*ids_of(link)))] if link and span is span.branch.root else []
    parent = _context(span.number, span.parent, is_remote=span is span.branch.root) if span.parent else None
    return ReadableSpan(
        span.name,
        _context(span.number, span.id),
        parent,
        resource,
        facts,
        links=linked,
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        status=_ERROR if span.error else _OK,
        start_time=round((span.begun + offset) * 1e9),
        end_time=round((span.finished + offset) * 1e9),
        instrumentation_scope=_SCOPE,
    )


def _context(trace: int, span: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace, span, is_remote, _SAMPLED)


@asynccontextmanager
async def exporting(telemetry: Telemetry, process: Process) -> AsyncGenerator[SpanSink | None]:
    """Export spans while the `async with` lasts. Yields their sink; None: there is no exporter."""
    exporter = telemetry.exporter or _otlp_spans()
    if exporter is None:
        yield None
        return
    resource = _resource(process)
    processor = BatchSpanProcessor(cast("SpanExporter", exporter))
    if telemetry.set_global_provider:
        _set_provider(telemetry.sample, resource, processor)
    try:
        yield SpanSink(processor, resource)
    finally:
        await end_within(FLUSH_TIMEOUT, "spans", processor.shutdown, exporter.shutdown)


@asynccontextmanager
async def exporting_figures(process: Process, figures: Callable[[], Snapshot]) -> AsyncGenerator[None]:
    """Send the figures each `OTEL_METRIC_EXPORT_INTERVAL` milliseconds (60,000) while the `async with` lasts.

    Nothing is sent without an OTLP receiver. The last figures are sent at the end.
    """
    if not _wants("OTEL_METRICS_EXPORTER"):
        yield
        return
    seconds = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "60000")) / 1000
    # Its methods take further keywords of an unknown type.
    exporter, resource = cast("Any", OTLPMetricExporter()), _resource(process)
    worker = LatestOnly(lambda snapshot: exporter.export(metrics_data(snapshot, resource)))
    task = asyncio.create_task(_put_each(seconds, worker, figures), name="grange export of figures")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        worker.put(figures())
        await end_within(FLUSH_TIMEOUT, "figures", worker.end, exporter.shutdown)


async def _put_each(seconds: float, worker: LatestOnly, figures: Callable[[], Snapshot]) -> None:
    while True:
        await asyncio.sleep(seconds)
        worker.put(figures())


class LatestOnly:
    """Sends values in a thread of its own. While one is sent, only the newest waits: figures are totals."""

    def __init__(self, send: Callable[[Snapshot], object]) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._next: Snapshot | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="grange figures", daemon=True)
        self._thread.start()

    def put(self, value: Snapshot) -> None:
        """Send this value next, in place of one that still waits."""
        with self._changed:
            self._next = value
            self._changed.notify()

    def end(self) -> None:
        """Wait until the last value is sent, and end the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._ended)
                value, self._next = self._next, None
            if value is None:
                return
            try:
                self._send(value)
            except Exception:
                log.exception("the figures could not be exported", extra={"event": "telemetry_failed"})


def metrics_data(figures: Snapshot, resource: Resource) -> MetricsData:
    """A snapshot as the SDK's exporters take it. The names and labels are those of `/metrics`."""
    end = round(figures.time * 1e9)
    start = end - round(figures.span * 1e9)
    found: list[OtelMetric] = []
    for metric in METRICS:
        points = [(dict(zip(metric.labels, labels, strict=True)), value) for labels, value in metric.read(figures)]
        if not points:
            continue
        if metric.kind is Kind.HISTOGRAM:
            cells = [
                _histogram(labels, value, start, end) for labels, value in points if isinstance(value, Distribution)
            ]
            data: Sum | Gauge | Histogram = Histogram(cells, AggregationTemporality.CUMULATIVE)
        else:
            numbers = [
                NumberDataPoint(labels, start, end, value)
                for labels, value in points
                if not isinstance(value, Distribution)
            ]
            is_counter = metric.kind is Kind.COUNTER
            data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True) if is_counter else Gauge(numbers)
        found.append(OtelMetric(metric.name, metric.text, _UNITS.get(metric.unit, "1"), data))
    scope = ScopeMetrics(_SCOPE, found, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _histogram(labels: dict[str, str], value: Distribution, start: int, end: int) -> HistogramDataPoint:
    unknown = cast("float", None)  # the least and the greatest value are optional on the wire
    return HistogramDataPoint(labels, start, end, value.count, value.total, value.all_cells, BOUNDS, unknown, unknown)


async def end_within(seconds: float, what: str, end: Callable[[], object], give_up: Callable[[], object]) -> None:
    """Run `end`, which sends what is left, in a thread. After `seconds` it is left behind, and `give_up` called."""
    thread = threading.Thread(target=end, name=f"grange end of {what}", daemon=True)
    thread.start()
    if not await has_ended(thread, seconds):
        log.warning(
            "the receiver did not take the last %s within %g s; they are lost", what, seconds,
            extra={"event": "telemetry_lost"},
        )  # fmt: skip
        give_up()


def _otlp_spans() -> SpanExporter | None:
    """The exporter of the SDK to the OTLP receiver that the environment names, if any."""
    return OTLPSpanExporter() if _wants("OTEL_TRACES_EXPORTER") else None


def _wants(variable: str) -> bool:
    """Whether to export to an OTLP receiver. Raises ConfigurationError for a protocol that grange does not speak."""
    if not os.environ.get(ENDPOINT) or os.environ.get(variable, "otlp").lower() == "none":
        return False
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").lower()
    if protocol != "grpc":
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r:.100}: grange exports by grpc only")
    return True


def _resource(process: Process) -> Resource:
    """The facts of the process. Those of `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` win."""
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    facts = {"service.instance.id": process.name, "grange.cluster": process.cluster, **process.facts}
    if not named:
        facts["service.name"] = process.service
    return Resource(facts).merge(Resource.create()) if named else Resource.create(facts)


def _set_provider(sample: float, resource: Resource, processor: BatchSpanProcessor) -> None:
    """Set the global provider for the application's own spans, unless there is one."""
    if not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return
    provider = TracerProvider(ParentBased(TraceIdRatioBased(sample)), resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    api.set_tracer_provider(provider)
