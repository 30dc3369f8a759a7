"""What strangers send to a gateway costs them, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from grange import Grain
from grange.proto.handshake import Hello, Role
from grange.proto.ids import GrainId
from grange.proto.message import Message, Request
from grange.testing import TestCluster
from grange.transport.memory import MemoryTransport
from grange.transport.provider import Connection


class Echo(Grain):
    async def get(self) -> str:
        return self.key


class Received:
    """A stranger's end: notes what comes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: Exception | None = None

    def receive(self, message: Message) -> None:
        self.messages.append(message)

    def lost(self, unsent: Sequence[Message], error: Exception | None) -> None:
        self.error = error


@pytest.fixture
async def cluster() -> AsyncIterator[TestCluster]:
    async with TestCluster([Echo], silos=1) as cluster:
        yield cluster


@pytest.fixture
async def stranger(cluster: TestCluster) -> AsyncIterator[tuple[Connection, Received]]:
    """A connection that says whatever a test wants it to say."""
    transport, received = MemoryTransport(cluster.network, "stranger"), Received()
    host, _, port = cluster.silos[0].gateway.rpartition(":")
    yield await transport.connect(host, int(port), Hello("default", Role.CLIENT, "stranger"), received), received
    await transport.close()


async def test_request_ids_used_twice_cost_the_connection_and_no_admission(
    cluster: TestCluster, stranger: tuple[Connection, Received]
) -> None:
    """Requests that can never be told apart must not count as in progress for ever: the silo would refuse everybody."""
    connection, received = stranger
    for number in range(100):
        connection.post(Request(7, GrainId("echo", str(number)), "get", b"\x90", timeout_ms=1000))
    await cluster.advance(5)
    assert cluster.silos[0].management.state().requests == 0
    assert "id 7" in str(received.error)
    assert await cluster.get_grain(Echo, "a").get() == "a"
