"""Spans in the terms of OpenTelemetry, and exporters that fail or hang."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.metrics.export import Histogram as MetricHistogram
from opentelemetry.sdk.metrics.export import Sum
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from grange import ConfigurationError, Grain
from grange.client import Client
from grange.observability import Telemetry, otel
from grange.observability.histogram import Histogram
from grange.observability.metric import Kind
from grange.observability.metrics import METRICS
from grange.observability.snapshot import MethodSnapshot, Snapshot, TypeSnapshot
from grange.observability.telemetry import ENDPOINT, Process, telemetry_of
from grange.observability.tracing import exporting_figures
from grange.proto.ids import SiloAddress
from grange.silo import Silo
from grange.testing import TestCluster
from tests.observability.otlp_receiver import receiving, values


class Till(Grain):
    async def pay(self, amount: int) -> int:
        if amount < 0:
            raise ValueError("SECRET: a card number")
        return amount

    async def start(self) -> None:
        self.start_timer(self._tick, 1)

    async def _tick(self) -> None: ...


async def exported(cluster: TestCluster, exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """All spans, once the cluster has ended."""
    await cluster.__aexit__(None, None, None)
    return [span for span in exporter.get_finished_spans() if "grange.system" not in span.name]


class Kept(InMemorySpanExporter):
    """Keeps its spans when one of several users ends it."""

    def shutdown(self) -> None: ...


async def test_a_span_has_the_names_of_the_conventions() -> None:
    exporter = Kept()
    cluster = TestCluster([Till], silos=1, telemetry=Telemetry(sample=1.0, exporter=exporter))
    await cluster.__aenter__()
    till = cluster.get_grain(Till, "ann")
    assert await till.pay(3) == 3
    with pytest.raises(ValueError, match="SECRET"):
        await till.pay(-1)
    await till.start()
    await cluster.advance(2)
    spans = await exported(cluster, exporter)
    client, server = (next(each for each in spans if each.kind is kind) for kind in (SpanKind.CLIENT, SpanKind.SERVER))
    assert (client.name, server.name) == ("till/pay", "till/pay")
    assert client.attributes == {"rpc.system.name": "grange", "rpc.method": "till/pay", "rpc.status_code": "OK"}
    assert server.attributes is not None
    assert {**server.attributes, "grange.wait_ms": 0} == {**client.attributes, "grange.wait_ms": 0}
    assert server.parent is not None
    assert client.context is not None
    assert (server.parent.span_id, server.parent.is_remote) == (client.context.span_id, True)
    assert client.parent is None
    assert server.resource.attributes["service.name"] == "default"
    assert server.resource.attributes["service.instance.id"] == "silo-1"
    failed = [span for span in spans if span.status.status_code is StatusCode.ERROR]
    assert {str(dict(span.attributes or {}).get("error.type")) for span in failed} == {"ValueError"}
    assert all((span.attributes or {})["rpc.status_code"] == "FAILED" for span in failed)
    assert "SECRET" not in "".join(span.to_json() for span in spans)
    assert "ann" not in "".join(span.to_json() for span in spans)
    tick = next(span for span in spans if span.name == "timer till")
    (link,) = tick.links
    start = next(span for span in spans if span.name == "till/start" and span.kind is SpanKind.SERVER)
    assert start.context is not None
    assert link.context.span_id == start.context.span_id
    assert tick.parent is None


async def test_nothing_sets_a_global_provider() -> None:
    before = api.get_tracer_provider()
    async with TestCluster([Till], silos=1, telemetry=Telemetry(sample=1.0, exporter=Kept())) as cluster:
        await cluster.get_grain(Till, "a").pay(1)
    assert api.get_tracer_provider() is before
    assert isinstance(before, api.ProxyTracerProvider)


class Hanging(SpanExporter):
    """Hangs until the test ends."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.go_on = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.called.set()
        self.go_on.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.go_on.set()


async def test_an_exporter_that_hangs_delays_the_end_by_one_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = Hanging()
    silo = Silo([Till], port=0, gateway_port=0, data=tmp_path, telemetry=Telemetry(sample=1.0, exporter=exporter))
    await silo.start()
    await silo.get_grain(Till, "a").pay(1)
    ended: list[float] = []
    drained = threading.Event()
    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        await silo.stop()
    ended.append(time.monotonic() - began)
    drained.set()
    assert exporter.called.is_set()
    assert exporter.go_on.is_set(), "the exporter is ended"
    assert "within 1 s; they are lost" in caplog.text
    assert ended[0] < 30, "a generous bound: without a limit the SDK waits 30 s and more"


async def test_an_exporter_that_raises_harms_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Kept):
        def export(self, spans: Any) -> SpanExportResult:
            raise OSError("the disk is full")

    telemetry = Telemetry(sample=1.0, exporter=Broken())
    async with Silo([Till], port=0, gateway_port=0, data=tmp_path, telemetry=telemetry) as silo:
        assert await silo.get_grain(Till, "a").pay(1) == 1
    assert "the disk is full" in caplog.text


async def test_a_client_and_a_silo_export_to_a_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as (endpoint, receiver):
        monkeypatch.setenv(ENDPOINT, endpoint)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        telemetry = Telemetry(sample=1.0, grain_keys=True)
        async with (
            Silo([Till], port=0, gateway_port=0, data=tmp_path, telemetry=telemetry, name="s1") as silo,
            Client([silo.gateway], telemetry=telemetry, name="web") as client,
        ):
            assert await client.get_grain(Till, "ann").pay(7) == 7
        spans = {(facts["service.instance.id"], span.name, span.kind): (facts, span) for facts, span in receiver.spans}
    facts, server = next(pair for key, pair in spans.items() if key[0] == "s1" and key[2] == server_kind())
    _, call = next(pair for key, pair in spans.items() if key[0] == "web")
    assert server.trace_id == call.trace_id
    assert server.parent_span_id == call.span_id
    assert values(server.attributes)["grange.key"] == "ann"
    assert facts["deployment.environment.name"] == "test"
    assert facts["service.name"] == "default"
    assert facts["grange.cluster"] == "default"


def server_kind() -> int:
    return 2


@pytest.mark.parametrize(
    ("variables", "sample"),
    [
        ({}, None),
        ({ENDPOINT: ""}, None),
        ({ENDPOINT: "http://c:4317", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({ENDPOINT: "http://c:4317"}, 0.01),
        ({ENDPOINT: "http://c:4317", "OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({ENDPOINT: "http://c:4317", "OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        ({ENDPOINT: "http://c:4317", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5),
    ],
)
def test_the_standard_variables_switch_it_on(variables: dict[str, str], sample: float | None) -> None:
    telemetry = telemetry_of(variables)
    assert (None if telemetry is None else telemetry.sample) == sample


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER='jaeger_remote'"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "share from 0 to 1, not '2'"),
        ({"OTEL_TRACES_SAMPLER_ARG": "some"}, "share from 0 to 1, not 'some'"),
    ],
)
def test_a_variable_that_has_no_effect_is_an_error(variables: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        telemetry_of({ENDPOINT: "http://c:4317", **variables})


@pytest.mark.parametrize("sample", [-0.1, 1.1, "1", True, float("nan"), None])
def test_a_share_is_a_number_from_0_to_1(sample: Any) -> None:
    with pytest.raises(ConfigurationError, match="share from 0 to 1"):
        Telemetry(sample=sample)


def test_what_is_no_telemetry_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"grange\.observability\.Telemetry"):
        Silo([Till], telemetry=True)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"grange\.observability\.Telemetry"):
        Client(["127.0.0.1:1"], telemetry=0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="span exporter"):
        Telemetry(exporter=3)  # type: ignore[arg-type]


async def test_without_opentelemetry_traces_are_kept_and_an_exporter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grange.observability.tracing.can_export", lambda: False)
    async with Silo([Till], port=0, gateway_port=0, data=tmp_path, telemetry=Telemetry(sample=1.0)) as silo:
        await silo.get_grain(Till, "a").pay(1)
        kept = silo._running.links.traces.kept
        assert kept is not None
        assert len(kept.roots(0, 10)) == 1
    silo = Silo([Till], port=0, gateway_port=0, data=tmp_path, telemetry=Telemetry(exporter=Kept()))
    with pytest.raises(ConfigurationError, match="install opentelemetry-sdk"):
        await silo.start()
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.undo()
    await asyncio.sleep(0)


async def test_another_protocol_than_grpc_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    silo = Silo([Till], port=0, gateway_port=0, data=tmp_path, telemetry=Telemetry())
    with pytest.raises(ConfigurationError, match="exports by grpc only"):
        await silo.start()


# -- figures --


def snapshot(time: float = 1000.0) -> Snapshot:
    calls = Histogram()
    for seconds in (0.0004, 0.2, 40.0):
        calls.observe(seconds)
    method = MethodSnapshot("pay", calls.frozen(), failed=1, turns=calls.frozen(), refused={"overloaded": 2})
    return Snapshot(
        address=SiloAddress("h", 1, 2),
        name="s1",
        cluster="c",
        release="1",
        time=time,
        uptime=100.0,
        span=100.0,
        status="active",
        types=(TypeSnapshot("till", "hash", activations=5, methods=(method,)),),
    )


def test_every_metric_has_its_name_kind_and_labels() -> None:
    data = otel.metrics_data(snapshot(), Resource({"service.name": "shop"}))
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    declared = {metric.name: metric for metric in METRICS}
    assert found.keys() <= declared.keys()
    calls = found["grange_call_duration_seconds"]
    assert calls.unit == "s"
    assert isinstance(calls.data, MetricHistogram)
    point = next(each for each in calls.data.data_points if dict(each.attributes or {}).get("method") == "pay")
    assert (point.count, round(point.sum, 4)) == (3, 40.2004)
    assert sum(point.bucket_counts) == 3
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert point.bucket_counts[-1] == 1
    assert (point.start_time_unix_nano, point.time_unix_nano) == (900_000_000_000, 1_000_000_000_000)
    for name, metric in found.items():
        is_counter = isinstance(metric.data, Sum)
        assert is_counter == (declared[name].kind is Kind.COUNTER)
        if is_counter:
            assert metric.data.is_monotonic


async def test_figures_are_exported_at_the_end_and_the_newest_while_one_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with receiving() as (endpoint, receiver):
        monkeypatch.setenv(ENDPOINT, endpoint)
        process = Process(service="shop", cluster="c", name="s1")
        times = iter(range(1000, 2000))
        async with exporting_figures(Telemetry(), process, lambda: snapshot(next(times))):
            pass
        assert {facts["service.name"] for facts, _ in receiver.metrics} == {"shop"}
        names = [metric.name for _, metric in receiver.metrics]
        assert names.count("grange_call_duration_seconds") == 1
        assert "grange_activations" in names


async def test_a_running_silo_exports_its_figures_and_the_last_ones_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as (endpoint, receiver):
        monkeypatch.setenv(ENDPOINT, endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
        silo = Silo([Till], name="s1", port=0, gateway_port=0, data=tmp_path, telemetry=Telemetry(sample=0.0))
        await silo.start()
        await asyncio.to_thread(receiver.wait_for, lambda: len(receiver.metrics) > 0)
        for _ in range(3):
            await silo.get_grain(Till, "a").pay(1)
        await silo.stop()
        assert {facts["service.instance.id"] for facts, _ in receiver.metrics} == {"s1"}
        last = [metric for _, metric in receiver.metrics if metric.name == "grange_call_duration_seconds"][-1]
        paid = [each for each in last.histogram.data_points if values(each.attributes)["method"] == "pay"]
        assert [each.count for each in paid] == [3]


async def test_figures_are_exported_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as (endpoint, receiver):
        monkeypatch.setenv(ENDPOINT, endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
        process = Process(service="shop", cluster="c", name="s1")
        async with exporting_figures(Telemetry(), process, snapshot):
            await asyncio.to_thread(
                receiver.wait_for,
                lambda: [metric.name for _, metric in receiver.metrics].count("grange_activations") >= 3,
            )


async def test_a_collector_that_hangs_delays_the_end_of_the_figures_by_one_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving(hangs=True) as (endpoint, receiver):
        monkeypatch.setenv(ENDPOINT, endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
        process = Process(service="shop", cluster="c", name="s1")
        async with exporting_figures(Telemetry(), process, snapshot):
            await asyncio.to_thread(receiver.called.wait)
        assert "the last figures within 1 s" in caplog.text
        assert receiver.metrics == []


@pytest.mark.parametrize("variables", [{}, {"OTEL_METRICS_EXPORTER": "none"}])
async def test_figures_are_not_exported_unless_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    with receiving() as (endpoint, receiver):
        if variables:
            monkeypatch.setenv(ENDPOINT, endpoint)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        async with exporting_figures(Telemetry(), Process(service="shop", cluster="c", name="s1"), snapshot):
            pass
        assert not receiver.called.is_set()


async def test_figures_that_cannot_be_sent_do_not_end_the_export(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[float] = []

    def send(figures: Snapshot) -> None:
        if figures.time < 2000:
            raise OSError("the disk is full")
        sent.append(figures.time)

    worker = otel.LatestOnly(send)
    worker.put(snapshot(1000.0))
    while "could not be exported" not in caplog.text:
        await asyncio.sleep(0.001)
    worker.put(snapshot(3000.0))
    await asyncio.to_thread(worker.end)
    assert sent == [3000.0]
