"""Spans, figures and log lines to OpenTelemetry. The only file that imports it; with the extra `otel`.

The SDK never sits on the path of a call: a span that has ended is put into the queue of the SDK's own thread. What is
left at the end of the silo is sent within 2 s; a receiver that hangs delays the end no longer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast

from opentelemetry import trace as api
from opentelemetry.context import attach, get_current
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from grange.errors import ConfigurationError
from grange.observability.spans import Fact, Span
from grange.observability.telemetry import ENDPOINT, Process, Telemetry
from grange.observability.trace import ids_of

log = logging.getLogger("grange.telemetry")

FLUSH_TIMEOUT = 2.0
"""Seconds that the end of a silo or client waits for what is left to be sent."""

_SCOPE = InstrumentationScope("grange")
_KINDS = {"client": SpanKind.CLIENT, "server": SpanKind.SERVER}
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


async def end_within(seconds: float, what: str, end: Callable[[], object], give_up: Callable[[], object]) -> None:
    """Run `end`, which sends what is left, in a thread. After `seconds` it is left behind, and `give_up` called."""
    thread = threading.Thread(target=end, name=f"grange end of {what}", daemon=True)
    thread.start()
    await asyncio.get_running_loop().run_in_executor(None, thread.join, seconds)
    if thread.is_alive():
        log.warning(
            "the receiver did not take the last %s within %g s; they are lost", what, seconds,
            extra={"event": "telemetry_lost"},
        )  # fmt: skip
        give_up()


def _otlp_spans() -> SpanExporter | None:
    """The exporter of the SDK to the OTLP receiver that the environment names, if any."""
    if not os.environ.get(ENDPOINT) or os.environ.get("OTEL_TRACES_EXPORTER", "otlp").lower() == "none":
        return None
    _check_protocol()
    return OTLPSpanExporter()


def _check_protocol() -> None:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").lower()
    if protocol != "grpc":
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r:.100}: grange exports by grpc only")


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
