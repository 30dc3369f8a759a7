"""Bad messages to a gateway harm their sender only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from grange import CallTimeout, Grain, response_timeout
from grange.proto.handshake import Hello, Role
from grange.proto.ids import GrainId
from grange.proto.message import Cancel, Message, Request
from grange.testing import TestCluster
from grange.transport.memory import MemoryTransport
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection


class Echo(Grain):
    async def get(self) -> str:
        return self.key


class Broken(Grain):
    async def on_activate(self) -> None:
        await asyncio.sleep(1)
        raise ValueError("no such luck")

    async def get(self) -> str:
        return self.key


class Slow(Grain):
    @response_timeout(8)
    async def work(self) -> str:
        await asyncio.sleep(20)
        return self.key


class Received:
    """The stranger's end of a connection. Records the messages that arrive."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: Exception | None = None

    def receive(self, messages: Iterable[Message]) -> None:
        self.messages.extend(messages)

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        self.error = error


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster([Echo, Broken], silos=1) as cluster:
        yield cluster


@pytest.fixture
async def stranger(cluster: TestCluster) -> AsyncIterator[tuple[Connection, Received]]:
    """A connection over which a test sends any message."""
    transport, received = MemoryTransport(cluster.network, "stranger"), Received()
    yield await connect(cluster, transport, received), received
    await transport.close()


async def connect(cluster: TestCluster, transport: MemoryTransport, received: Received) -> Connection:
    host, _, port = cluster.silos[0].gateway.rpartition(":")
    return await transport.connect(host, int(port), Hello("default", Role.CLIENT, "stranger"), received)


async def test_a_request_id_used_twice_closes_the_connection_and_takes_no_admission(
    cluster: TestCluster, stranger: tuple[Connection, Received]
) -> None:
    """Requests with one id must not count as in progress for ever, or the silo would refuse all others in the end."""
    connection, received = stranger
    for number in range(100):
        connection.post(Request(7, GrainId("broken", str(number)), "get", b"\x90", timeout_ms=1000))
    await cluster.advance(5)
    assert cluster.silos[0].management.state().requests == 0
    assert "id 7" in str(received.error)
    assert await cluster.get_grain(Echo, "a").get() == "a"


async def test_a_request_that_is_cancelled_before_it_is_relayed_is_answered_and_takes_no_admission(
    cluster: TestCluster, stranger: tuple[Connection, Received]
) -> None:
    connection, received = stranger
    for number in range(1, 6):
        connection.post(Request(number, GrainId("nowhere", "a"), "get", b"\x90", timeout_ms=1000))
        connection.post(Cancel(number))
    await cluster.advance(5)
    assert [message.id for message in received.messages] == [1, 2, 3, 4, 5]
    assert cluster.silos[0].management.state().requests == 0


async def test_a_peer_that_takes_no_answers_does_not_harm_the_callers_behind_it(cluster: TestCluster) -> None:
    """Even the shortest answer cannot be sent to it. The callers that wait in the same mailbox get their answers."""
    transport, received = MemoryTransport(cluster.network, "mute", TransportOptions(payload_limit=1)), Received()
    connection = await connect(cluster, transport, received)
    connection.post(Request(1, GrainId("broken", "a"), "get", b"\x90"))
    await cluster.advance(0.5)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ValueError, match="no such luck"):
        await cluster.get_grain(Broken, "a").get()
    assert asyncio.get_running_loop().time() - began < 5
    assert "takes no answers" in str(received.error)
    await transport.close()


async def test_a_peer_that_takes_no_messages_does_not_harm_the_status_and_goodbye_of_others() -> None:
    """The peer misses the status of its request and the goodbye. Others get theirs, and the silo stops in order."""
    async with TestCluster([Slow], silos=1) as cluster:
        transport, received = MemoryTransport(cluster.network, "mute", TransportOptions(payload_limit=1)), Received()
        connection = await connect(cluster, transport, received)
        await connect(cluster, transport, Received())  # it sends no request, and stays connected until the goodbye
        connection.post(Request(1, GrainId("slow", "a"), "work", b"\x90", timeout_ms=8000))
        await cluster.advance(4)
        with pytest.raises(CallTimeout, match="running for"):
            await cluster.get_grain(Slow, "b").work()
        await cluster.stop(cluster.silos[0])
        assert [message for message in received.messages if message.id in (0, 1)] == []
        await transport.close()
