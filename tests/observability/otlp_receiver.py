"""An OTLP receiver: the gRPC services of a collector, in threads of this process. It keeps what it gets, or hangs."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

PATIENCE = 45.0
"""Seconds of every wait; only a defect takes so long."""


class Receiver:
    """What came in: `spans` are pairs of a resource's facts and a span, `metrics` and `logs` likewise."""

    def __init__(self, hangs: bool = False) -> None:
        self.spans: list[tuple[dict[str, Any], Any]] = []
        self.metrics: list[tuple[dict[str, Any], Any]] = []
        self.logs: list[tuple[dict[str, Any], Any]] = []
        self.called = threading.Event()
        self._changed = threading.Condition()
        self._go_on = threading.Event()
        if not hangs:
            self._go_on.set()

    def take_spans(self, request: Any, _: grpc.ServicerContext) -> Any:
        self._hang()
        with self._changed:
            for each in request.resource_spans:
                facts = facts_of(each.resource)
                self.spans += [(facts, span) for scope in each.scope_spans for span in scope.spans]
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def take_metrics(self, request: Any, _: grpc.ServicerContext) -> Any:
        self._hang()
        with self._changed:
            for each in request.resource_metrics:
                facts = facts_of(each.resource)
                self.metrics += [(facts, metric) for scope in each.scope_metrics for metric in scope.metrics]
            self._changed.notify_all()
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def take_logs(self, request: Any, _: grpc.ServicerContext) -> Any:
        self._hang()
        with self._changed:
            for each in request.resource_logs:
                facts = facts_of(each.resource)
                self.logs += [(facts, record) for scope in each.scope_logs for record in scope.log_records]
            self._changed.notify_all()
        return logs_service_pb2.ExportLogsServiceResponse()

    def wait_for(self, fits: Any) -> None:
        """Wait in a thread until `fits()`."""
        with self._changed:
            assert self._changed.wait_for(fits, PATIENCE), f"{len(self.spans)} spans, {len(self.metrics)} metrics came"

    def end(self) -> None:
        """Let all that hangs go on."""
        self._go_on.set()

    def _hang(self) -> None:
        self.called.set()
        self._go_on.wait(PATIENCE)


def facts_of(holder: Resource) -> dict[str, Any]:
    """The attributes of a resource."""
    return values(holder.attributes)


def values(attributes: Any) -> dict[str, Any]:
    """The attributes of a span or resource, as plain values."""

    def plain(pair: KeyValue) -> Any:
        return getattr(pair.value, str(pair.value.WhichOneof("value")))

    return {pair.key: plain(pair) for pair in attributes}


@contextmanager
def receiving(hangs: bool = False) -> Generator[tuple[str, Receiver]]:
    """Run a receiver; yields its endpoint."""
    receiver = Receiver(hangs)
    server = grpc.server(futures.ThreadPoolExecutor(8))
    traces, metrics, logs = Traces(), Metrics(), Logs()
    traces.receiver = metrics.receiver = logs.receiver = receiver
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(traces, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(metrics, server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(logs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", receiver
    finally:
        receiver.end()
        server.stop(1).wait()


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    """The service of traces."""

    receiver: Receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.receiver.take_spans(request, context)


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    """The service of metrics."""

    receiver: Receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.receiver.take_metrics(request, context)


class Logs(logs_service_pb2_grpc.LogsServiceServicer):
    """The service of log records."""

    receiver: Receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self.receiver.take_logs(request, context)
