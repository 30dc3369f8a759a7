"""A client's request at a silo that does not host its grain: relayed, and answered with the exact outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grange import (
    ActivationFailed,
    CallNotExecuted,
    CallTimeout,
    ConnectionLost,
    Grain,
    InvalidCall,
    NoSuchGrain,
    SiloStopped,
    SiloUnavailable,
    one_way,
    response_timeout,
)
from grange.client.client import Client
from grange.placement.provider import PlacementContext
from grange.proto.ids import SiloAddress
from grange.proto.message import Message, Reason, Request
from grange.runtime.calls.link import Pending
from grange.runtime.calls.wire_call import WireCall
from grange.runtime.requests.refusal import Refused
from grange.silo.gateway import Gateway
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster
from grange.transport.memory import MemoryTransport


class Cart(Grain):
    def __init__(self) -> None:
        self.runs = 0

    async def where(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]

    async def run(self, seconds: float = 0) -> int:
        self.runs += 1
        await asyncio.sleep(seconds)
        return self.runs

    @one_way
    async def hit(self) -> None:
        self.runs += 1

    async def fail(self) -> None:
        raise LookupError("no such thing")

    @response_timeout(0.1009)
    async def be_late(self) -> None:
        await asyncio.sleep(1)

    async def echo(self, text: str) -> str:
        return text

    @response_timeout(2)
    async def brief(self) -> None: ...


async def through(cluster: TestCluster, gateway: Silo) -> Client:
    """A client that sends every call to this silo. The test closes it."""
    client = Client([gateway.gateway], transport=MemoryTransport(cluster.network, f"client of {gateway.gateway}"))
    await client.__aenter__()
    only = client._gateways  # type: ignore[attr-defined]
    host, _, port = gateway.gateway.rpartition(":")
    only.known = lambda _, _wanted=0: SiloAddress(host, int(port), gateway.address.generation)
    return client


async def a_cart_away_from(cluster: TestCluster, client: Client, gateway: Silo) -> Any:
    """A cart that is active on another silo than the gateway."""
    for number in range(100):
        cart = client.get_grain(Cart, f"cart-{number}")
        if await cart.where() != str(gateway.address):
            return cart
    raise AssertionError("all carts live on one silo")


async def test_requests_are_relayed_once() -> None:
    """Results, errors and one-way calls pass through; each runs exactly once."""
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            assert await cart.run() == 1
            await cart.hit()
            await cluster.advance(1)
            assert await cart.run() == 3
            with pytest.raises(LookupError, match="no such thing"):
                await cart.fail()
            with pytest.raises(InvalidCall, match="argument 'text'"):
                await cart.echo(5)
            assert cluster.where(cart) is not gateway
        finally:
            await client.__aexit__(None, None, None)


async def test_a_silo_that_dies_with_the_request_makes_it_unknown() -> None:
    """The client's own connection is open; the gateway tells it at once that the outcome is unknown."""
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            call = asyncio.create_task(cart.run(20))
            await cluster.advance(1)
            host = cluster.where(cart)
            assert host is not None
            before = asyncio.get_running_loop().time()
            await cluster.kill(host)
            with pytest.raises(ConnectionLost):
                await call
            assert asyncio.get_running_loop().time() - before < 0.1
        finally:
            await client.__aexit__(None, None, None)


async def test_a_grain_type_without_a_host_is_no_such_grain() -> None:
    class Unhosted(Grain):
        async def run(self) -> None: ...

    async with TestCluster([Cart]) as cluster:
        with pytest.raises(NoSuchGrain, match="'unhosted'"):
            await cluster.get_grain(Unhosted, "a").run()


class Lost:
    """A placement that always fails."""

    name = "lost"
    computed = False

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def choose(self, context: PlacementContext) -> SiloAddress:
        if self.error is not None:
            raise self.error
        return SiloAddress("nowhere", 1, 1)


class Placed(Grain, placement="lost"):
    @response_timeout(3)
    async def run(self) -> None: ...


async def test_a_placement_that_chooses_nonsense_is_not_executed() -> None:
    """The client gets the error within its time-out, without waiting for it."""
    async with TestCluster([Placed], placement=[Lost(None)]) as cluster:
        with pytest.raises(ActivationFailed, match="which is none of its candidates"):
            await cluster.get_grain(Placed, "a").run()


async def test_an_error_of_a_placement_is_answered_at_once() -> None:
    """A placement strategy of the author raises: the call was certainly not executed."""
    async with TestCluster([Placed], placement=[Lost(LookupError("the placement failed"))]) as cluster:
        before = asyncio.get_running_loop().time()
        with pytest.raises(ActivationFailed, match="the placement failed"):
            await cluster.get_grain(Placed, "a").run()
        assert asyncio.get_running_loop().time() - before < 1


async def test_a_closing_gateway_sends_clients_elsewhere() -> None:
    async with TestCluster([Cart]) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            await gateway._running.hosting.gateway.drain()  # type: ignore[attr-defined]
            with pytest.raises(SiloUnavailable, match=r"the gateway of .* is closing"):
                await client.get_grain(Cart, "a").brief()
        finally:
            await client.__aexit__(None, None, None)


async def test_a_gateway_waits_for_relayed_requests_and_then_knows_no_outcome() -> None:
    """Its drain waits for their answers; its close tells the clients that the outcome is unknown."""
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        entry = gateway._running.hosting.gateway  # type: ignore[attr-defined]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            short, long = asyncio.create_task(cart.run(5)), asyncio.create_task(cart.run(50))
            await cluster.advance(1)
            draining = asyncio.create_task(entry.drain())
            await cluster.advance(10)
            assert await short == 1
            assert not draining.done()
            await entry.close()
            await draining
            with pytest.raises(SiloStopped, match=r"the gateway of .* stopped while it relayed the call"):
                await long
        finally:
            await client.__aexit__(None, None, None)


async def test_a_time_out_that_the_gateway_sees_first_is_a_time_out() -> None:
    """Both look every 20 ms. The request carries whole milliseconds, so the gateway's deadline is somewhat earlier."""
    async with TestCluster([Cart], silos=2) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            for _ in range(60):
                with pytest.raises(CallTimeout, match=r"cart/.*\.be_late timed out"):
                    await cart.be_late()
                await cluster.advance(2.0007)
        finally:
            await client.__aexit__(None, None, None)


async def test_a_usual_request_is_relayed_without_a_task() -> None:
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        entry = gateway._running.hosting.gateway  # type: ignore[attr-defined]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            call = asyncio.create_task(cart.run(5))
            await cluster.advance(1)
            assert (len(entry._posted), len(entry._tasks)) == (1, 0)
            assert await call == 1
            assert not entry._posted
        finally:
            await client.__aexit__(None, None, None)


async def test_a_request_that_is_too_big_for_the_next_line_is_not_executed() -> None:
    """The gateway accepts the size, the hosting silo does not: the client gets the limit."""
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            host = cluster.where(cart)
            assert host is not None
            connection: Any = gateway._running.links.peers.current(host.address)  # type: ignore[attr-defined]
            connection._outbox._payload_limit = 100
            with pytest.raises(Exception, match="100") as caught:
                await cart.echo("x" * 1000)
            assert type(caught.value).__name__ == "PayloadTooLarge"
        finally:
            await client.__aexit__(None, None, None)


@pytest.mark.parametrize("how", ["cancelled", "disconnected"])
async def test_a_caller_that_gives_up_cancels_its_relayed_request(how: str) -> None:
    """The request waits in a mailbox of another silo and is dropped there, as without a gateway."""
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        cart = await a_cart_away_from(cluster, client, gateway)
        running = asyncio.create_task(cluster.get_grain(Cart, cart.key).run(20))
        await cluster.advance(1)
        waiting = asyncio.create_task(cart.run())
        await cluster.advance(1)
        if how == "cancelled":
            waiting.cancel()
        else:
            await client.__aexit__(None, None, None)
        await asyncio.gather(waiting, return_exceptions=True)
        assert await running == 1
        assert await cluster.get_grain(Cart, cart.key).run() == 2
        assert all(silo.management.state().requests == 0 for silo in cluster.silos)
        if how == "cancelled":
            await client.__aexit__(None, None, None)


class Mover(Grain, placement="random"):
    async def where(self) -> str:
        return str(self._grange.owner.deps.address)  # type: ignore[attr-defined]

    async def finish(self) -> None:
        self.deactivate_when_idle()


async def test_the_gateway_itself_follows_a_grain_that_moved() -> None:
    """The silo that hosted the grain before refuses; the gateway repeats the call, and the client sends one request."""
    async with TestCluster([Mover], silos=4) as cluster:
        gateway, other = cluster.silos[:2]
        client = await through(cluster, gateway)
        moved = 0
        for number in range(20):
            mover, elsewhere = client.get_grain(Mover, str(number)), other.get_grain(Mover, str(number))
            before = await mover.where()
            await elsewhere.finish()
            await cluster.advance(1)
            now = await elsewhere.where()
            sent: list[Message] = []

            def count(source: str, _: str, message: Message, sent: list[Message] = sent) -> tuple[float]:
                if source.startswith("client of") and isinstance(message, Request) and message.method == "where":
                    sent.append(message)
                return (0.0,)

            cluster.network.fate = count
            assert await mover.where() == now
            cluster.network.fate = None
            assert len(sent) == 1
            moved += before != now
        assert moved
        await client.__aexit__(None, None, None)


async def test_a_request_whose_client_goes_in_the_moment_of_a_refusal_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with TestCluster([Cart], silos=3) as cluster:
        gateway = cluster.silos[0]
        client = await through(cluster, gateway)
        try:
            cart = await a_cart_away_from(cluster, client, gateway)
            relayed: list[WireCall] = []
            deliver = Gateway.deliver

            def record(self: Gateway, call: WireCall) -> None:
                relayed.append(call)
                deliver(self, call)

            monkeypatch.setattr(Gateway, "deliver", record)
            call = asyncio.create_task(cart.run(1))
            while not relayed:
                await asyncio.sleep(0)
            posted = relayed[0].carrier
            assert isinstance(posted, Pending)
            posted.answer.set_exception(Refused(Reason.NOT_HERE, "moved"))
            relayed[0].abandon()
            with pytest.raises(CallNotExecuted, match="stopped waiting"):
                await call
            assert relayed[0].carrier is posted
        finally:
            await client.__aexit__(None, None, None)
