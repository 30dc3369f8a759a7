"""One trace from a client through two silo processes to an OTLP receiver; and a receiver that hangs."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from grange.client import Client
from grange.observability import Telemetry
from tests.observability.otlp_receiver import receiving, values
from tests.processes.silo_process import PATIENCE, SiloProcess, Silos
from tests.processes.traced import Shop

APP = "tests.processes.traced:silo"
CLIENT, SERVER, INTERNAL = 3, 2, 1  # kinds of spans in OTLP


async def two(silos: Silos, **environment: str) -> tuple[SiloProcess, SiloProcess]:
    first, second = await asyncio.gather(*(silos.start(app=APP, **environment) for _ in range(2)))
    await asyncio.gather(first.active(), second.active())
    return first, second


async def shops(client: Client, *processes: SiloProcess) -> list[Any]:
    """One shop in each of these processes."""
    found: dict[int, Any] = {}
    for number in range(1000):
        shop = client.get_grain(Shop, f"shop-{number}")
        found.setdefault(await shop.pid(), shop)
        if len(found) == len(processes):
            return [found[process.pid] for process in processes]
    raise AssertionError("all shops are in one process")


async def test_one_trace_goes_through_three_processes_with_the_right_parents(silos: Silos) -> None:
    """HST-06: a client, the silo that it calls, and the silo that a grain there calls."""
    exporter = InMemorySpanExporter()
    with receiving() as (endpoint, receiver):
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "OTEL_SERVICE_NAME": "shops",
        }
        first, second = await two(silos, **environment)
        gateways = [first.gateway, second.gateway]
        async with Client(gateways) as client:
            async with asyncio.timeout(PATIENCE):
                await client.wait_for([first.address, second.address])
            here, there = await shops(client, first, second)
        async with Client(gateways, telemetry=Telemetry(sample=1.0, exporter=exporter)) as client:
            assert await client.get_grain(Shop, here.key).ask(there.key) == second.pid
        (call,) = exporter.get_finished_spans()
        assert call.context is not None
        assert await first.stop() == 0
        assert await second.stop() == 0
        metrics = {metric.name for _, metric in receiver.metrics}
        spans = [pair for pair in receiver.spans if pair[1].trace_id == call.context.trace_id.to_bytes(16, "big")]
        strays = [span.name for _, span in receiver.spans if span.trace_id != spans[0][1].trace_id]
    assert strays == [], "no silo samples a trace of its own"
    ask, choose = one(spans, SERVER, "shop/ask"), one(spans, INTERNAL, "choose")
    inner, pid = one(spans, CLIENT, "shop/pid"), one(spans, SERVER, "shop/pid")
    assert ask[1].parent_span_id == call.context.span_id.to_bytes(8, "big")
    assert choose[1].parent_span_id == ask[1].span_id
    assert inner[1].parent_span_id == choose[1].span_id
    assert pid[1].parent_span_id == inner[1].span_id
    assert ask[0]["grange.silo"] == str(first.address) == inner[0]["grange.silo"]
    assert pid[0]["grange.silo"] == str(second.address)
    assert {facts["service.name"] for facts, _ in spans} == {"shops"}
    assert values(pid[1].attributes)["rpc.method"] == "shop/pid"
    assert len(spans) == 4
    assert metrics == set() or "grange_activations" in metrics


def one(spans: list[tuple[dict[str, Any], Any]], kind: int, name: str) -> tuple[dict[str, Any], Any]:
    (found,) = [pair for pair in spans if (pair[1].kind, pair[1].name) == (kind, name)]
    return found


async def test_a_collector_that_hangs_holds_no_stop_up(silos: Silos) -> None:
    with receiving(hangs=True) as (endpoint, receiver):
        silo = await silos.start(
            app=APP, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_TRACES_SAMPLER="always_on", OTEL_BSP_SCHEDULE_DELAY="10"
        )
        await silo.active()
        async with Client([silo.gateway]) as client:
            assert await client.get_grain(Shop, "a").pid() == silo.pid
        await asyncio.to_thread(receiver.called.wait, PATIENCE)
        assert await silo.stop() == 0
        await silo.log_line("telemetry_lost")
        assert "ended_by_force" not in silo.errors


async def test_calls_go_on_while_no_collector_answers(silos: Silos) -> None:
    silo = await silos.start(
        app=APP,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_TRACES_SAMPLER="always_on",
        OTEL_BSP_SCHEDULE_DELAY="10",
    )
    await silo.active()
    async with Client([silo.gateway]) as client:
        for number in range(50):
            assert await client.get_grain(Shop, f"{number}").pid() == silo.pid
    assert await silo.stop() == 0
    assert "Traceback" not in silo.errors
