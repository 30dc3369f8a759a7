"""A planned stop while calls are on their way: a goodbye, the last answers, and only then the doors close."""

from __future__ import annotations

import asyncio

import pytest

from grange import Grain, SiloAddress
from grange.errors import HandshakeRefused
from grange.proto.message import GOODBYE
from grange.runtime.calls.sender import Link
from grange.testing.cluster import TestCluster
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


async def test_no_call_on_its_way_to_a_silo_that_stops_is_lost() -> None:
    """The client's line is slow, so many of its requests arrive after the silo has done its last work."""
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


async def test_a_stop_does_not_wait_for_those_who_do_not_hear_the_goodbye() -> None:
    """The client is cut off, so its connection never ends by itself; the silo stops all the same."""
    async with TestCluster(grains=[Adder], silos=2) as cluster:
        await asyncio.gather(*(cluster.get_grain(Adder, str(number)).add() for number in range(20)))
        silo = cluster.silos[0]
        cluster.network.partition("client", silo.address.endpoint)
        cluster.network.partition("client", silo.gateway)
        before = asyncio.get_running_loop().time()
        await cluster.stop(silo)
        assert asyncio.get_running_loop().time() - before < 20


async def test_who_comes_while_a_silo_leaves_is_sent_elsewhere() -> None:
    """The door says so with a code that a client takes for `try again`."""
    async with TestCluster(grains=[Adder], silos=2) as cluster:
        running = cluster.silos[0]._running
        running._client_listener.shut()
        transport = cluster.new_transport("late")
        with pytest.raises(HandshakeRefused, match="is leaving") as caught:
            await transport.connect("127.0.0.1", running.gateway_port, cluster.client._hello, Inbox())
        assert caught.value.code == "leaving"


ANYBODY = SiloAddress("127.0.0.1", 1, 1)


def test_a_goodbye_is_of_no_request() -> None:
    """It is heard once, and a peer that does not know it ignores it: no request has the number 0."""
    heard: list[asyncio.Event] = []
    link = Link(ANYBODY, None, lambda _, answered: heard.append(answered))  # type: ignore[arg-type]
    link.receive(GOODBYE)
    link.receive(GOODBYE)
    assert [answered.is_set() for answered in heard] == [True]
