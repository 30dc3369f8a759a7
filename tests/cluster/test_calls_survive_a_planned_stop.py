"""A planned stop while calls are in flight: a goodbye, the last answers, and only then the connections close."""

from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import cast

import pytest

from grange import Grain, SiloAddress
from grange.errors import HandshakeRefused
from grange.proto.faults import Faults
from grange.proto.message import GOODBYE, Rejection
from grange.runtime.calls.link import Link
from grange.runtime.requests.deadlines import Deadlines
from grange.testing.cluster import TestCluster
from grange.transport.provider import Connection
from tests.transport.net import Inbox


class Adder(Grain):
    def __init__(self) -> None:
        self.total = 0

    async def add(self) -> int:
        self.total += 1
        return self.total


class Relay(Grain):
    """Calls from silo to silo."""

    async def add(self, key: str) -> int:
        return await self.get_grain(Adder, key).add()


async def test_no_call_in_flight_to_a_stopping_silo_is_lost() -> None:
    """The client's connection is slow, so many of its requests arrive after the silo's last turn."""
    async with TestCluster(grains=[Adder, Relay], silos=3) as cluster:
        cluster.network.fate = lambda source, _target, _message: (0.05,) if source == "client" else (0.0,)
        ended = asyncio.Event()
        calls = 0

        async def call(number: int) -> None:
            nonlocal calls
            while not ended.is_set():
                relay = cluster.get_grain(Relay, f"relay-{number}")
                await asyncio.gather(cluster.get_grain(Adder, f"adder-{number}").add(), relay.add(f"other-{number}"))
                calls += 2

        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(call(number)) for number in range(60)]
            await cluster.advance(1)
            for silo in (cluster.silos[0], cluster.silos[1]):
                await cluster.stop(silo)
                await cluster.advance(1)
            ended.set()
        assert len(callers) == 60
        assert calls > 1000


async def test_a_stop_does_not_wait_for_peers_that_do_not_get_the_goodbye() -> None:
    """The client is cut off, so its connection never ends by itself. The silo stops without waiting for it."""
    async with TestCluster(grains=[Adder], silos=2) as cluster:
        await asyncio.gather(*(cluster.get_grain(Adder, str(number)).add() for number in range(20)))
        silo = cluster.silos[0]
        cluster.network.partition("client", silo.address.endpoint)
        cluster.network.partition("client", silo.gateway)
        before = asyncio.get_running_loop().time()
        await cluster.stop(silo)
        assert asyncio.get_running_loop().time() - before < 20


async def test_a_client_that_connects_to_a_leaving_silo_is_sent_to_another() -> None:
    """The handshake is refused with a code after which a client tries another gateway."""
    async with TestCluster(grains=[Adder], silos=2) as cluster:
        running = cluster.silos[0]._running
        running.ports.client_listener.drain()
        transport = cluster.new_transport("late")
        with pytest.raises(HandshakeRefused, match="is leaving") as caught:
            await transport.connect("127.0.0.1", running.ports.gateway_port, cluster.client._hello, Inbox())
        assert caught.value.code == "leaving"


PEER = SiloAddress("127.0.0.1", 1, 1)


async def test_a_goodbye_belongs_to_no_request() -> None:
    """A peer that does not know it ignores it, because no request has the number 0."""
    goodbyes: list[Rejection] = []
    link = Link(PEER, Deadlines(), Faults(), count(1), lambda _, goodbye: goodbyes.append(goodbye))
    link.connection = cast("Connection", SimpleNamespace(last_received=0.0))  # a goodbye needs no more of it
    link.receive([GOODBYE])
    assert goodbyes == [GOODBYE]
    answered = link.retire(replaced=False)
    assert answered.is_set()
    assert link.retire(replaced=False) is answered
