"""One client may take so much of a silo and no more, and others are not affected (S6, F28)."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from grange import CallNotExecuted, Grain, Overloaded
from grange.errors import HandshakeRefused
from grange.observability.flood_events import IdentityLimited
from grange.proto.handshake import Hello, Role
from grange.silo.silo import Silo
from grange.testing.cluster import TestCluster
from grange.transport.memory import MemoryTransport
from tests.transport.net import Inbox


class Till(Grain):
    async def on_activate(self) -> None:
        self.ran = 0

    async def add(self) -> int:
        self.ran += 1
        return self.ran

    async def take(self, data: bytes) -> int:
        return len(data)


class Shop(Grain):
    async def sell(self, times: int) -> int:
        return max(await asyncio.gather(*(self.get_grain(Till, f"till-{n}").add() for n in range(times))))


def refusals(silo: Silo, method: int = 0) -> Counter[str]:
    """The refused requests for a method of the tills, by reason."""
    return Counter(silo.catalog.hosted["till"].figures.methods[method].refused)


async def at_once(till: Till, number: int) -> list[int | BaseException]:
    return await asyncio.gather(*(till.add() for _ in range(number)), return_exceptions=True)


async def test_requests_over_the_rate_are_refused_before_they_run() -> None:
    """CLI-05: certainly not executed, with the time after which to try again, and counted apart."""
    async with TestCluster([Till], silos=1, runtime={"identity_requests": 20}) as cluster:
        till = cluster.get_grain(Till, "a")
        outcomes = await at_once(till, 100)
        refused = [each for each in outcomes if isinstance(each, Overloaded)]
        assert 60 <= len(refused) <= 95
        assert all(isinstance(each, CallNotExecuted) and 0 < each.retry_after <= 1 for each in refused)
        assert "more a second than identity_requests" in str(refused[0])
        await asyncio.sleep(1.0)
        assert await till.add() == 100 - len(refused) + 1  # those that were refused did not run
        (silo,) = cluster.silos
        assert refusals(silo)["over_rate"] == len(refused)
        assert silo._here("").ports.events.counts[IdentityLimited.NAME] >= len(refused)


async def test_one_request_at_a_time_is_limited_as_many_at_once() -> None:
    async with TestCluster([Till], silos=1, runtime={"identity_requests": 10}) as cluster:
        till, outcomes = cluster.get_grain(Till, "a"), list[int | BaseException]()
        for _ in range(30):
            outcomes += await at_once(till, 1)
        assert sum(isinstance(each, Overloaded) for each in outcomes) >= 19


async def test_bytes_over_the_rate_are_refused() -> None:
    async with TestCluster([Till], silos=1, runtime={"identity_bytes": 10_000}) as cluster:
        till = cluster.get_grain(Till, "a")
        assert await till.take(bytes(30_000)) == 30_000  # a large one is possible
        with pytest.raises(Overloaded) as caught:
            await till.take(b"")
        assert 1.0 < caught.value.retry_after <= 3.0
        await asyncio.sleep(caught.value.retry_after)
        assert await till.take(b"") == 0


async def test_calls_between_grains_are_not_limited() -> None:
    async with TestCluster([Till, Shop], silos=2, runtime={"identity_requests": 5}) as cluster:
        assert await cluster.get_grain(Shop, "shop").sell(200) == 1


async def test_a_limited_client_still_sees_the_cluster() -> None:
    """S7: its questions about the cluster have room of their own."""
    async with TestCluster([Till], silos=1, runtime={"identity_requests": 5}) as cluster:
        await at_once(cluster.get_grain(Till, "a"), 50)
        await cluster.client.wait_for([silo.address for silo in cluster.silos])
        assert len(cluster.client.view.active) == 1


async def test_the_connections_of_one_identity_are_limited() -> None:
    async with TestCluster([Till], silos=1, runtime={"identity_connections": 3}) as cluster:
        (silo,) = cluster.silos
        assert await cluster.get_grain(Till, "a").add() == 1  # by an identity of its own
        host, _, port = silo.gateway.rpartition(":")
        transport = MemoryTransport(cluster.network, "stranger")
        hello = Hello("default", Role.CLIENT, "stranger")
        opened = [await transport.connect(host, int(port), hello, Inbox()) for _ in range(3)]
        with pytest.raises(HandshakeRefused, match="identity_connections allows") as caught:
            await transport.connect(host, int(port), hello, Inbox())
        assert (caught.value.code, caught.value.retry_after) == ("too-many", 5.0)
        await opened[0].close()
        await transport.connect(host, int(port), hello, Inbox())
        assert await cluster.get_grain(Till, "a").add() == 2
        await transport.close()


async def test_a_client_at_its_limit_has_its_connection_replaced() -> None:
    """S8: the one in its place is not one too many, else the first would be cut later."""
    async with TestCluster([Till], silos=1, runtime={"identity_connections": 2}) as cluster:
        till = cluster.get_grain(Till, "a")
        (silo,) = cluster.silos
        for number in range(1, 4):
            assert await till.add() == number
            before = silo._running.hosting.client_inbound.connected
            for incoming in before:
                incoming.ask_to_renew("another one")
            await asyncio.sleep(5.0)
            assert not set(before) & set(silo._running.hosting.client_inbound.connected)
        assert silo._here("").ports.events.counts[IdentityLimited.NAME] == 0
