"""A call and all that it causes are one trace, with the right parents, on every way that a call can take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider

from grange import CallTimeout, Grain, PersistentState, SiloUnavailable, Timer, one_way, response_timeout
from grange.client.client import Client
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.observability import Telemetry
from grange.observability.kept_traces import KeptTraces
from grange.observability.log_context import current_trace
from grange.proto.journal import TRACE, TRACES, After, SpanRow, Traces
from grange.proto.message import Message, Request
from grange.runtime.activations import lifecycle
from grange.runtime.system_target import SYSTEM_TYPE
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster
from tests.silo.test_gateway import through

ALL = Telemetry(sample=1.0)
NONE = Telemetry(sample=0.0)


@dataclass
class Count:
    number: int = 0


class Stored(Grain):
    def __init__(self, state: PersistentState[Count]) -> None:
        self.state = state

    async def add(self) -> int:
        self.state.value.number += 1
        await self.state.write()
        return self.state.value.number


class Worker(Grain):
    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.lines = logging.getLogger("tests.worker")

    async def where(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]

    async def trace(self) -> tuple[str, str] | None:
        return current_trace.get()

    async def call(self, other: str) -> int:
        return await self.get_grain(Stored, other).add()

    async def chain(self, keys: list[str]) -> list[str]:
        if not keys:
            return [str(current_trace.get())]
        return [str(current_trace.get()), *await self.get_grain(Worker, keys[0]).chain(keys[1:])]

    async def fail(self) -> None:
        raise LookupError("of no trace")

    async def slow(self) -> None:
        await asyncio.sleep(5)

    @response_timeout(1)
    async def hang(self) -> None:
        await asyncio.sleep(5)

    @one_way
    async def hit(self, other: str) -> None:
        await self.get_grain(Stored, other).add()

    async def start(self) -> None:
        self.timer = self.start_timer(self.tick, 1, 1)

    async def tick(self) -> None:
        await self.get_grain(Stored, f"of {self.key}").add()

    async def _numbers(self) -> AsyncIterator[int]:
        for number in range(3):
            await self.get_grain(Stored, f"{number}").add()
            yield number

    async def leave_a_generator(self) -> None:
        """It is left in the middle, as agents do; the garbage collector closes it later."""
        async for _ in self._numbers():
            break


class Broken(Grain):
    async def on_activate(self) -> None:
        raise LookupError("it does not activate")

    async def touch(self) -> None: ...


def kept(silo: Silo) -> KeptTraces:
    found = silo._running.links.traces.kept
    assert found is not None
    return found


def spans_of(cluster: TestCluster, method: str = "") -> list[SpanRow]:
    """All spans of the silos, of the traces that went through this method."""
    found: list[SpanRow] = []
    for silo in cluster.silos:
        for root in kept(silo).roots(0, 1000):
            found += kept(silo).spans(int(root.span.trace, 16))
    traces = {span.trace for span in found if method in span.name}
    return [span for span in found if span.trace in traces]


def one(spans: list[SpanRow], kind: str, name: str) -> SpanRow:
    (found,) = [span for span in spans if (span.kind, span.name) == (kind, name)]
    return found


async def test_a_call_through_two_silos_is_one_trace() -> None:
    """HST-06: the client's span, the turn, the nested call, the activation that it causes, and the store."""
    async with TestCluster([Worker, Stored], silos=2, telemetry=ALL) as cluster:
        first, second = await apart(cluster)
        await cluster.get_grain(Worker, first).call(second)
        spans = spans_of(cluster, "worker/call")
        assert {span.trace for span in spans} == {spans[0].trace}
        server = one(spans, "server", "worker/call")
        call = one(spans, "client", "stored/add")
        turn = one(spans, "server", "stored/add")
        activation = one(spans, "activation", "activate stored")
        assert server.parent, "the client's span"
        assert call.parent == server.span
        assert turn.parent == call.span
        assert activation.parent == turn.span
        assert one(spans, "storage", "state read").parent == activation.span
        assert one(spans, "storage", "state write").parent == turn.span


async def apart(cluster: TestCluster) -> tuple[str, str]:
    """Keys of a worker and of a stored grain on two silos."""
    homes = {key: await cluster.get_grain(Worker, key).where() for key in map(str, range(40))}
    first = next(iter(homes))
    for number in range(100):
        stored = cluster.get_grain(Stored, f"s{number}")
        await stored.add()
        host = cluster.where(stored)
        assert host is not None
        if str(host.address) != homes[first]:
            chosen = DeactivationReason(DeactivationCode.OPERATOR, "test")
            await host.catalog.deactivate_where(lambda each: each.grain_id.key == f"s{number}", chosen)  # noqa: B023
            await cluster.advance(1)
            return first, f"s{number}"
    raise AssertionError("all grains are on one silo")


async def test_without_telemetry_nothing_is_sent_or_kept() -> None:
    seen: list[str] = []
    async with TestCluster([Worker, Stored], silos=2) as cluster:
        watch(cluster, seen)
        assert await cluster.get_grain(Worker, "a").trace() is None
        await cluster.get_grain(Worker, "a").call("b")
        assert set(seen) == {""}
        answer = await ask(cluster, TRACES, msgspec.msgpack.encode(After()))
        assert (answer.on, answer.roots) == (False, ())


def watch(cluster: TestCluster, seen: list[str]) -> None:
    """Keep the trace contexts of all requests for grains that are sent from now on."""

    def fate(_from: str, _to: str, message: Message) -> tuple[float, ...]:
        if isinstance(message, Request) and message.grain_id.type != SYSTEM_TYPE:
            seen.append(message.traceparent)
        return (0.0,)

    cluster.network.fate = fate


async def ask(cluster: TestCluster, service: str, question: bytes) -> Traces:
    silo = cluster.client.gateways[0]
    return msgspec.msgpack.decode(await cluster.client.ask(silo, service, question), type=Traces)


async def test_a_trace_that_is_not_sampled_is_carried_on_to_the_end() -> None:
    """Each silo would sample all traces of its own; only the root decides."""
    seen: list[str] = []
    async with TestCluster([Worker, Stored], silos=3, telemetry=ALL) as cluster:
        gateways = [silo.gateway for silo in cluster.silos]
        transport = cluster.new_transport("unsampled")
        async with Client(gateways, telemetry=NONE, transport=transport) as client:
            watch(cluster, seen)
            keys = [str(number) for number in range(12)]
            assert set(await client.get_grain(Worker, "first").chain(keys)) == {"None"}
        await transport.close()
        assert len(seen) > 3
        assert len(set(seen)) == 1
        assert seen[0].endswith("-00")
        assert spans_of(cluster) == []


async def test_a_sampled_trace_is_recorded_also_where_no_root_is_sampled() -> None:
    async with TestCluster([Worker, Stored], silos=3, telemetry=NONE) as cluster:
        gateways = [silo.gateway for silo in cluster.silos]
        transport = cluster.new_transport("sampled")
        async with Client(gateways, telemetry=ALL, transport=transport) as client:
            keys = [str(number) for number in range(12)]
            turns = await client.get_grain(Worker, "first").chain(keys)
        await transport.close()
        spans = spans_of(cluster, "worker/chain")
        servers = {span.span: span for span in spans if span.kind == "server"}
        clients = {span.span: span for span in spans if span.kind == "client"}
        assert len(servers) == len(turns) == 13
        assert sum(server.parent in clients for server in servers.values()) == 12
        assert {each.parent for each in clients.values()} <= servers.keys()
        assert turns == [str((span.trace, span.span)) for span in ordered(servers, clients)]


def ordered(servers: dict[str, SpanRow], clients: dict[str, SpanRow]) -> list[SpanRow]:
    """The turns from the outermost to the innermost."""
    (turn,) = [each for each in servers.values() if each.parent not in clients]
    found = [turn]
    while call := next((each for each in clients.values() if each.parent == turn.span), None):
        turn = next(each for each in servers.values() if each.parent == call.span)
        found.append(turn)
    return found


async def test_a_gateway_passes_the_trace_on() -> None:
    """HST-06: also one without telemetry, and with a retry on the way; what is malformed is dropped."""
    seen: list[str] = []
    async with TestCluster([Worker, Stored], silos=3) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            worker = await away_from(client, gateway)
            watch(cluster, seen)
            traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"
            for text, passed in ((traceparent, traceparent), ("garbage", "")):
                seen.clear()
                request = Request(0, worker.id, "where", b"\x90", timeout_ms=5000, traceparent=text)
                due = asyncio.get_running_loop().time() + 5
                response = await client._sender.send(client._gateways.known(worker.id), request, due)  # type: ignore[attr-defined]
                assert not response.failed
                assert seen == [text, passed]
        finally:
            await client.__aexit__(None, None, None)


async def away_from(client: Client, gateway: Silo) -> Worker:
    for number in range(100):
        worker = client.get_grain(Worker, f"away-{number}")
        if await worker.where() != str(gateway.address):
            return worker
    raise AssertionError("all workers live on one silo")


async def test_a_call_that_is_refused_and_repeated_has_one_client_span() -> None:
    async with TestCluster([Worker, Stored], silos=3, telemetry=ALL) as cluster:
        silo = cluster.silos[0]
        for number in range(30):
            await silo.get_grain(Worker, f"w{number}").where()
        gone = cluster.silos[1]
        held = [f"w{number}" for number in range(30) if cluster.where(silo.get_grain(Worker, f"w{number}")) is gone]
        await cluster.stop(gone)
        await silo.get_grain(Worker, held[0]).call("x")
        spans = spans_of(cluster, "worker/call")
        client = one(spans, "client", "worker/call")
        assert one(spans, "server", "worker/call").parent == client.span


async def test_a_one_way_call_continues_the_trace_after_its_return() -> None:
    async with TestCluster([Worker, Stored], silos=2, telemetry=ALL) as cluster:
        await cluster.silos[0].get_grain(Worker, "a").hit("b")
        await cluster.advance(1)
        spans = spans_of(cluster, "worker/hit")
        turn = one(spans, "server", "worker/hit")
        assert turn.parent == one(spans, "client", "worker/hit").span
        assert one(spans, "client", "stored/add").parent == turn.span


async def test_each_tick_of_a_timer_is_a_trace_of_its_own() -> None:
    async with TestCluster([Worker, Stored], silos=1, telemetry=ALL) as cluster:
        await cluster.get_grain(Worker, "a").start()
        await cluster.advance(3.5)
        start = one(spans_of(cluster, "worker/start"), "server", "worker/start")
        spans = spans_of(cluster, "timer worker")
        ticks = [span for span in spans if span.kind == "timer"]
        assert len({tick.trace for tick in ticks} - {start.trace}) == len(ticks) == 3
        calls = [span for span in spans if (span.kind, span.name) == ("client", "stored/add")]
        assert [call.parent for call in calls] == [tick.span for tick in ticks]


async def test_the_wait_in_the_mailbox_is_part_of_the_server_span() -> None:
    async with TestCluster([Worker], silos=1, telemetry=ALL) as cluster:
        worker = cluster.get_grain(Worker, "a")
        await worker.where()
        await asyncio.gather(worker.slow(), worker.where())
        (slow,) = [span for span in spans_of(cluster, "worker/slow") if span.kind == "server"]
        waited = [span for span in spans_of(cluster, "worker/where") if span.wait]
        assert (slow.wait, round(slow.seconds)) == (0, 5)
        assert [round(span.wait) for span in waited] == [5]


@pytest.mark.parametrize(
    ("method", "error", "outcome"), [("fail", "LookupError", "FAILED"), ("hang", "CallTimeout", "UNKNOWN")]
)
async def test_a_failed_call_says_its_outcome(method: str, error: str, outcome: str) -> None:
    async with TestCluster([Worker], silos=2, telemetry=ALL) as cluster:
        with pytest.raises((LookupError, CallTimeout)):
            await getattr(cluster.silos[0].get_grain(Worker, "a"), method)()
        await cluster.advance(10)
        client = one(spans_of(cluster, f"worker/{method}"), "client", f"worker/{method}")
        assert (client.error, client.facts["grange.outcome"]) == (error, outcome)


async def test_a_call_without_a_silo_was_not_executed() -> None:
    async with TestCluster([Worker], silos=1, telemetry=ALL) as cluster:
        (silo,) = cluster.silos
        await silo.catalog.drain()
        with pytest.raises(SiloUnavailable):
            await silo.get_grain(Worker, "a").hang()
        client = one(spans_of(cluster, "worker/hang"), "client", "worker/hang")
        assert client.facts["grange.outcome"] == "NOT_EXECUTED"
        assert int(client.facts["grange.refusals"]) >= 1


async def test_a_cancelled_call_ends_its_span() -> None:
    async with TestCluster([Worker], silos=2, telemetry=ALL) as cluster:
        call = asyncio.ensure_future(cluster.silos[0].get_grain(Worker, "a").slow())
        await cluster.advance(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        client = one(spans_of(cluster, "worker/slow"), "client", "worker/slow")
        assert (client.error, client.facts["grange.outcome"]) == ("CancelledError", "UNKNOWN")
        assert client.seconds == pytest.approx(1)
        await cluster.advance(10)
        assert one(spans_of(cluster, "worker/slow"), "server", "worker/slow").error == ""


async def test_a_generator_that_is_left_in_the_middle_harms_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Tracers that attach a context in a generator and detach it elsewhere fail here."""
    async with TestCluster([Worker, Stored], silos=2, telemetry=ALL) as cluster:
        await cluster.get_grain(Worker, "a").leave_a_generator()
        await cluster.advance(1)
        spans = spans_of(cluster, "leave_a_generator")
        turn = one(spans, "server", "worker/leave_a_generator")
        assert one(spans, "client", "stored/add").parent == turn.span
        assert "detach" not in caplog.text


async def test_log_lines_of_a_sampled_turn_have_its_trace() -> None:
    async with TestCluster([Worker], silos=1, telemetry=ALL) as cluster:
        trace = await cluster.get_grain(Worker, "a").trace()
        turn = one(spans_of(cluster, "worker/trace"), "server", "worker/trace")
        assert trace == (turn.trace, turn.span)
        assert current_trace.get() is None


async def test_a_silo_answers_about_the_traces_that_it_keeps() -> None:
    async with TestCluster([Worker], silos=1, telemetry=Telemetry(sample=0.0)) as cluster:
        worker = cluster.get_grain(Worker, "a")
        for _ in range(3):
            with pytest.raises(LookupError):
                await worker.fail()
        answer = await ask(cluster, TRACES, msgspec.msgpack.encode(After()))
        assert (answer.on, answer.sampling) == (True, 0.0)
        assert [(root.kept, root.span.error) for root in answer.roots] == [("error", "LookupError")] * 3
        newest = await ask(cluster, TRACES, msgspec.msgpack.encode(After(answer.roots[1].number)))
        assert newest.roots == answer.roots[:1]
        trace = await ask(cluster, TRACE, msgspec.msgpack.encode(answer.roots[0].span.trace))
        assert trace.spans == (answer.roots[0].span,)
        for hostile in ("", "0x", "g" * 32, "\N{ARABIC-INDIC DIGIT THREE}" * 32, "f" * 100_000):
            assert (await ask(cluster, TRACE, msgspec.msgpack.encode(hostile))).spans == ()


async def test_a_slow_call_is_kept_although_its_trace_is_not_sampled() -> None:
    """Also the time that it waited for its turn counts. Nothing is slow before figures were taken."""
    async with TestCluster([Worker], silos=1, telemetry=NONE) as cluster:
        worker, (silo,) = cluster.get_grain(Worker, "a"), cluster.silos
        await asyncio.gather(worker.slow(), worker.where())
        for _ in range(200):
            await worker.where()
        silo.inspection.figures.snapshot()
        assert kept(silo).roots(0, 10) == []
        await asyncio.gather(worker.slow(), worker.where())
        (root,) = kept(silo).roots(0, 10)
        assert (root.kept, root.span.name, root.span.error) == ("slow", "worker/where", "")
        assert (round(root.span.seconds), round(root.span.wait)) == (5, 5)


async def test_an_activation_that_is_cancelled_while_it_ends_has_ended_its_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tear_down = lifecycle._tear_down

    async def cancelled(*parts: Any) -> None:
        await tear_down(*parts)
        raise asyncio.CancelledError

    monkeypatch.setattr(lifecycle, "_tear_down", cancelled)
    async with TestCluster([Broken], silos=1, telemetry=ALL) as cluster:
        with pytest.raises(LookupError):
            await cluster.silos[0].get_grain(Broken, "a").touch()
        await cluster.advance(1)
        span = one(spans_of(cluster, "broken"), "activation", "activate broken")
        assert span.error == "LookupError"


async def test_two_runs_with_one_seed_have_the_same_traces() -> None:
    async def run(telemetry: Telemetry | None) -> tuple[list[tuple[str, str, str]], int]:
        async with TestCluster([Worker, Stored], silos=2, seed=7, telemetry=telemetry) as cluster:
            for number in range(5):
                await cluster.get_grain(Worker, f"{number}").call(f"{number}")
            spans = spans_of(cluster) if telemetry is not None else []
            return [(span.trace, span.span, span.name) for span in spans], cluster.count()

    assert await run(ALL) == await run(ALL)
    assert (await run(None))[1] == (await run(ALL))[1]


async def test_spans_of_the_application_are_children_of_the_turn_and_parents_of_its_calls() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    seen: list[tuple[int, int | None, int]] = []

    class Shop(Grain):
        async def sell(self) -> tuple[str, str] | None:
            with tracer.start_as_current_span("price") as span:
                parent = getattr(span, "parent", None)
                context = span.get_span_context()
                seen.append((context.trace_id, None if parent is None else parent.span_id, context.span_id))
                await self.get_grain(Stored, "x").add()
            return current_trace.get()

    async with TestCluster([Shop, Stored], silos=2, telemetry=NONE) as cluster:
        with tracer.start_as_current_span("web request") as request:
            trace = await cluster.get_grain(Shop, "a").sell()
        above = request.get_span_context()
        assert trace is not None
        ((number, parent, inner),) = seen
        assert number == above.trace_id == int(trace[0], 16)
        assert parent == int(trace[1], 16)
        call = one(spans_of(cluster, "shop/sell"), "client", "stored/add")
        assert int(call.parent, 16) == inner
