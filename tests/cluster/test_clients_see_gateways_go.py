"""A client detects when gateways, or all of them, are lost and found, and notifies its listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from grange import Grain, SiloUnavailable
from grange.client import (
    Client,
    ClientOptions,
    ClusterFound,
    ClusterLost,
    ConnectionEvent,
    GatewayFound,
    GatewayLost,
)
from grange.errors import HandshakeRefused
from grange.silo.silo import Silo
from grange.testing import TestCluster


class Hello(Grain):
    async def say(self) -> str:
        return f"hello {self.key}"


class Events:
    """A listener that records its events."""

    def __init__(self) -> None:
        self.events: list[ConnectionEvent] = []
        self._changed = asyncio.Event()

    def __call__(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def first(self, kind: type[ConnectionEvent]) -> float:
        """Wait for an event of this kind. Returns how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(60):
            while not any(isinstance(event, kind) for event in self.events):
                self._changed.clear()
                await self._changed.wait()
        return loop.time() - began

    def gateways(self, kind: type[GatewayFound | GatewayLost]) -> list[str]:
        return [event.gateway for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def watched(cluster: TestCluster) -> AsyncGenerator[tuple[Client, Events]]:
    """An idle client and its events."""
    seen = Events()
    client = Client([silo.gateway for silo in cluster.silos], transport=cluster.new_transport("watcher"))
    client.on_connection_change(seen)
    async with client:
        await client.wait_for({silo.address for silo in cluster.silos})
        assert sorted(seen.gateways(GatewayFound)) == sorted(silo.gateway for silo in cluster.silos)
        assert client.connected
        seen.events.clear()
        yield client, seen
        before = list(seen.events)
    assert seen.events == before, "a client that closes sends no events"
    assert not client.connected


def cut(cluster: TestCluster, silo: Silo) -> None:
    cluster.network.partition("watcher", silo.gateway)


@pytest.mark.parametrize("how", ["killed", "cut off"])
async def test_the_loss_of_the_whole_cluster_is_reported_within_ten_seconds(how: str) -> None:
    """CLI-01, first half: also to a client that makes no call. A call made then waits, and is executed later."""
    async with TestCluster([Hello], silos=3) as cluster, watched(cluster) as (client, seen):
        silos = list(cluster.silos)
        for silo in silos:
            if how == "killed":
                await cluster.kill(silo)
            else:
                cut(cluster, silo)
        assert await seen.first(ClusterLost) <= 10
        assert not client.connected
        assert set(seen.gateways(GatewayLost)) == {silo.gateway for silo in silos}
        call = asyncio.create_task(client.get_grain(Hello, "a").say())
        await cluster.advance(1)
        assert not call.done()
        cluster.heal()
        if how == "killed":
            for silo in silos:
                await cluster._start_silo({"port": silo.address.port, "gateway_port": int(silo.gateway.split(":")[1])})
        assert await seen.first(ClusterFound) <= 10
        assert await call == "hello a"
        assert client.connected
        assert sum(isinstance(event, ClusterLost | ClusterFound) for event in seen.events) == 2


async def test_the_loss_and_return_of_one_gateway_are_reported() -> None:
    """CLI-01, second half: lost within 20 s, found again after its restart."""
    async with TestCluster([Hello], silos=3) as cluster, watched(cluster) as (client, seen):
        silo = cluster.silos[0]
        await asyncio.gather(*(client.get_grain(Hello, str(number)).say() for number in range(30)))
        await cluster.kill(silo)
        assert await seen.first(GatewayLost) <= 1, "the client did not notice that its connection ended"
        assert seen.gateways(GatewayLost) == [silo.gateway]
        assert client.connected
        await cluster.add_silo(port=silo.address.port, gateway_port=int(silo.gateway.rpartition(":")[2]))
        await client.wait_for({each.address for each in cluster.silos})
        assert silo.gateway in seen.gateways(GatewayFound)


async def test_a_gateway_that_was_only_cut_off_is_found_again() -> None:
    """Its silo never left the cluster, so no view shows its return. The client finds out by trying."""
    async with TestCluster([Hello], silos=2) as cluster, watched(cluster) as (_, seen):
        silo = cluster.silos[0]
        cut(cluster, silo)
        assert await seen.first(GatewayLost) <= 20
        cluster.heal()
        assert await seen.first(GatewayFound) <= 10
        assert seen.gateways(GatewayLost) == seen.gateways(GatewayFound) == [silo.gateway]


async def test_a_client_whose_gateway_is_killed_uses_another_within_a_second() -> None:
    """F16: calls in flight there end with a typed error. The next ones, made at once, succeed at another gateway."""
    async with TestCluster([Hello], silos=3) as cluster, watched(cluster) as (client, _):
        loop = asyncio.get_running_loop()
        for _ in range(2):
            await cluster.kill(cluster.silos[0])
            began = loop.time()
            keys = [key for key in map(str, range(30)) if cluster.where(cluster.get_grain(Hello, key))]
            await asyncio.gather(*(client.get_grain(Hello, key).say() for key in keys))
            assert loop.time() - began <= 1


async def test_a_client_whose_hook_asks_for_a_retry_connects_later() -> None:
    """CLI-02: the hook gets the failure and its number. If the hook asks for a retry, the client connects later."""
    async with TestCluster([Hello], silos=1) as cluster:
        silo = cluster.silos[0]
        cut(cluster, silo)
        failures: list[tuple[type[Exception], int]] = []

        async def again(error: Exception, times: int) -> bool:
            failures.append((type(error), times))
            if times == 3:
                cluster.heal()
            return True

        options = ClientOptions(connect_timeout=1)
        transport = cluster.new_transport("watcher")
        async with Client([silo.gateway], options=options, on_connect_failure=again, transport=transport) as client:
            assert await client.get_grain(Hello, "a").say() == "hello a"
        assert failures == [(SiloUnavailable, times) for times in (1, 2, 3)]


async def test_a_client_whose_hook_declines_a_retry_raises() -> None:
    """CLI-02: also for a refusal that a retry would not change."""

    async def no(error: Exception, times: int) -> bool:
        assert times == 1
        return False

    async with TestCluster([Hello], silos=1) as cluster:
        wrong = Client(
            [cluster.silos[0].gateway], cluster="other", on_connect_failure=no, transport=cluster.new_transport("x")
        )
        with pytest.raises(HandshakeRefused):
            await wrong.__aenter__()


async def test_an_error_of_a_listener_harms_neither_the_client_nor_other_listeners(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error is logged, other listeners get the event, and a removed listener gets none."""
    async with TestCluster([Hello], silos=2) as cluster, watched(cluster) as (client, seen):

        def fails(event: ConnectionEvent) -> None:
            raise LookupError("no such apple")

        removed = Events()
        client.on_connection_change(fails)
        client.on_connection_change(removed)()
        last = Events()
        client.on_connection_change(last)
        await cluster.stop(cluster.silos[0])
        assert await last.first(GatewayLost) <= 20
        assert removed.events == []
        assert "no such apple" in caplog.text
        assert seen.events == last.events


async def test_an_async_listener_is_refused_because_it_would_not_be_awaited() -> None:
    async def listener(event: ConnectionEvent) -> None:
        raise AssertionError(event)

    with pytest.raises(TypeError, match="is an async function"):
        Client(["127.0.0.1:1"]).on_connection_change(listener)  # type: ignore[arg-type]
