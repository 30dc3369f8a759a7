"""gRPC and plain sockets beside each other: which of them a connection uses."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from grange.errors import HandshakeRefused, SiloUnavailable
from grange.proto.ids import SiloAddress
from grange.transport import roads
from grange.transport.framed import FramedConnection
from grange.transport.options import TransportOptions
from grange.transport.provider import Connection
from grange.transport.roads import TwoRoads
from grange.transport.tcp_connection import TcpConnection
from tests.transport.net import FakeSilo, Inbox, Net, request


class RoadNet:
    """One silo with a gRPC port and, after `open_road`, a socket; and one client of both roads."""

    def __init__(self) -> None:
        self.net = Net("grpc")
        self.server, self.client = TwoRoads(), TwoRoads(TransportOptions(connect_timeout=1.0))
        self.silo = FakeSilo(SiloAddress("127.0.0.1", 1, 1), echo=True)

    async def open(self) -> None:
        listener = await self.server.listen("127.0.0.1", 0, self.silo.admit, self.silo.accept)
        self.silo.address = SiloAddress("127.0.0.1", listener.port, 1)

    async def open_road(self) -> int:
        return (await self.server.road.listen("127.0.0.1", 0, self.silo.admit, self.silo.accept)).port

    def learn(self, port: int) -> None:
        self.client.road.learn({self.silo.address.endpoint: port})

    async def connect(self) -> Connection:
        inbox = Inbox()
        connection = await self.client.connect("127.0.0.1", self.silo.address.port, self.net.hello(), inbox)
        connection.post(request(1))
        await inbox.count(1)
        return connection


@pytest.fixture
async def net() -> AsyncIterator[RoadNet]:
    made = RoadNet()
    await made.open()
    yield made
    await asyncio.gather(made.client.close(), made.server.close())


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_a_peer_whose_socket_is_known_is_reached_by_it(net: RoadNet) -> None:
    net.learn(await net.open_road())
    assert isinstance(await net.connect(), TcpConnection)


async def test_a_peer_without_a_socket_is_reached_by_grpc(net: RoadNet) -> None:
    await net.open_road()
    assert isinstance(await net.connect(), FramedConnection)
    net.client.road.learn({"127.0.0.1:1": 2})
    assert isinstance(await net.connect(), FramedConnection)


async def test_grpc_takes_over_where_the_socket_is_closed_and_says_so_once(
    net: RoadNet, caplog: pytest.LogCaptureFixture
) -> None:
    net.learn(closed_port())
    with caplog.at_level(logging.WARNING, "grange.transport"):
        for _ in range(3):
            assert isinstance(await net.connect(), FramedConnection)
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "road_closed"]
    assert net.silo.address.endpoint in record.getMessage()


async def test_grpc_takes_over_where_packets_to_the_socket_are_lost(net: RoadNet) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:  # accepts, and never answers
        net.learn(silent.getsockname()[1])
        assert isinstance(await net.connect(), FramedConnection)


async def test_grpc_takes_over_where_another_program_has_the_port(net: RoadNet) -> None:
    other = Net("tcp")
    stranger = await other.silo(other.transport())
    stranger.address = SiloAddress("127.0.0.1", 1, 9)
    net.learn(stranger.address.port or 1)
    assert isinstance(await net.connect(), FramedConnection)
    await asyncio.gather(*(transport.close() for transport in other.transports))


async def test_the_socket_is_tried_again_after_a_while_or_at_another_port(
    net: RoadNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.learn(closed_port())
    assert isinstance(await net.connect(), FramedConnection)
    port = await net.open_road()
    net.learn(port)
    assert isinstance(await net.connect(), TcpConnection)  # the silo has restarted with another port
    net.client.road.avoid("127.0.0.1", net.silo.address.port, "as if it had failed")
    net.learn(port)  # a view of the cluster in which nothing has changed for this silo
    assert isinstance(await net.connect(), FramedConnection)
    monkeypatch.setattr(roads, "AVOID_FOR", 0.0)
    net.client.road.avoid("127.0.0.1", net.silo.address.port, "as if it had failed")
    assert isinstance(await net.connect(), TcpConnection)


async def test_a_dead_peer_is_not_remembered_as_a_closed_road(net: RoadNet, caplog: pytest.LogCaptureFixture) -> None:
    net.learn(await net.open_road())
    await net.server.close()
    with pytest.raises(SiloUnavailable):
        await net.connect()
    net.server = TwoRoads()
    listener = await net.server.listen("127.0.0.1", net.silo.address.port, net.silo.admit, net.silo.accept)
    assert listener.port == net.silo.address.port
    net.learn(await net.open_road())
    assert isinstance(await net.connect(), TcpConnection)
    assert not [each for each in caplog.records if getattr(each, "event", "") == "road_closed"]


async def test_a_refusal_is_that_of_grpc(net: RoadNet) -> None:
    net.learn(await net.open_road())
    with pytest.raises(HandshakeRefused) as caught:
        await net.client.connect("127.0.0.1", net.silo.address.port, net.net.hello(cluster="elsewhere"), Inbox())
    assert caught.value.code == "wrong-cluster"
    assert isinstance(await net.connect(), TcpConnection)
