"""Too many connections and slow peers, on both roads (S6, F36). `test_arrivals.py` has the rules."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from grange.errors import ConnectionLost, HandshakeRefused, SiloUnavailable
from grange.proto.codec import encode_frame, encode_greeting
from grange.transport import grpc_options
from grange.transport.arrivals import Arrivals
from grange.transport.provider import Connection
from tests.hostile import http2
from tests.transport.net import FakeSilo, Inbox, Net, request

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=["grpc", "tcp"])
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Net]:
    made = Net(request.param)
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))


async def connect(net: Net, silo: FakeSilo) -> Connection:
    return await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), Inbox())


def arrivals(silo: FakeSilo) -> Arrivals:
    assert silo.listener is not None
    return silo.listener.arrivals


async def until(silo: FakeSilo, **counts: int) -> None:
    async with asyncio.timeout(20):
        while any(getattr(arrivals(silo), name) != count for name, count in counts.items()):
            await asyncio.sleep(0.01)


async def silent(net: Net, silo: FakeSilo) -> Stream:
    """A handshake without a Hello."""
    reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
    if net.kind == "grpc":
        writer.write(http2.PREFACE + http2.settings() + http2.call("/grange.v1.Silo/Connect", 1))
    return reader, writer


async def end(stream: Stream, word: bytes) -> None:
    """Wait until the silo has said this word."""
    said = b""
    async with asyncio.timeout(20):
        while word not in said:
            data = await stream[0].read(65536)
            assert data, said
            said += data
    stream[1].close()


async def test_a_connection_over_the_limit_is_refused_with_a_hint(net: Net) -> None:
    silo = await net.silo(net.transport(connections_per_address=2))
    first, _second = await connect(net, silo), await connect(net, silo)
    with pytest.raises(HandshakeRefused, match=r"127\.0\.0\.1 has 2 connections") as caught:
        await connect(net, silo)
    assert (caught.value.code, caught.value.retry_after) == ("too-many", 1.0)
    assert arrivals(silo).figures.refused == {"address-connections": 1}
    assert first.remote_address == ""
    assert silo.connections[0].remote_address == "127.0.0.1"
    await first.close()
    await until(silo, connections=1)
    await connect(net, silo)


async def test_the_connections_of_a_port_are_limited_in_all(net: Net) -> None:
    silo = await net.silo(net.transport(connections=1))
    await connect(net, silo)
    with pytest.raises((HandshakeRefused, SiloUnavailable)):  # gRPC closes it itself, because it counts connections
        await connect(net, silo)


async def test_a_silent_handshake_makes_room_for_an_honest_one(net: Net) -> None:
    silo = await net.silo(net.transport(handshakes=2, connect_timeout=60))
    first = await silent(net, silo)
    await until(silo, handshakes=1)
    second = await silent(net, silo)
    await until(silo, handshakes=2)
    await connect(net, silo)
    await end(first, b"too-many")
    await until(silo, connections=2, handshakes=1)
    assert arrivals(silo).figures.refused == {"handshakes": 1}
    second[1].close()
    await until(silo, connections=1, handshakes=0)


async def test_a_handshake_that_is_late_is_counted(net: Net) -> None:
    silo = await net.silo(net.transport(connect_timeout=0.2))
    stream = await silent(net, silo)
    await end(stream, b"no Hello came in time")
    await until(silo, connections=0, handshakes=0)
    assert arrivals(silo).figures.refused == {"late": 1}


async def test_a_hello_that_is_refused_is_counted_by_its_code(net: Net) -> None:
    silo = await net.silo(net.transport())
    with pytest.raises(HandshakeRefused):
        await net.transport().connect("127.0.0.1", silo.address.port, net.hello("another"), Inbox())
    await until(silo, connections=0)
    assert arrivals(silo).figures.refused == {"wrong-cluster": 1}


async def test_a_frame_that_trickles_ends_its_connection() -> None:
    net = Net("tcp")
    silo = await net.silo(net.transport(frame_timeout=0.3, keepalive_time=0.1), echo=True)
    _reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
    for data in (encode_greeting(net.hello()), encode_frame([request(1)])):
        writer.write(struct.pack(">I", len(data)) + data)
    writer.write(struct.pack(">I", 1000))
    async with asyncio.timeout(20):
        for _ in range(900):
            if silo.inboxes and silo.inbox.endings:
                break
            writer.write(b"\x00")
            await asyncio.sleep(0.02)
    _unsent, error = await silo.inbox.ended()
    assert isinstance(error, ConnectionLost)
    assert "the rest of a frame" in str(error)
    assert [message.id for message in silo.inbox.messages] == [1]
    writer.close()
    await asyncio.gather(*(transport.close() for transport in net.transports))


async def test_a_peer_that_waits_between_frames_is_not_slow() -> None:
    net = Net("tcp")
    silo, connection, inbox = await net.pair(echo=True, frame_timeout=0.2, keepalive_time=0.1)
    connection.post(request(1))
    await inbox.count(1)
    await asyncio.sleep(0.6)  # three times the limit
    connection.post(request(2, bytes(300_000)))
    await inbox.count(2)
    assert silo.inbox.endings == []
    await asyncio.gather(*(transport.close() for transport in net.transports))


async def test_a_connection_of_grpc_without_a_stream_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_options, "IDLE_LIMIT", 0.3)
    net = Net("grpc")
    silo = await net.silo(net.transport(connect_timeout=0.3))
    for start in (b"", http2.PREFACE + http2.settings()):  # no HTTP/2 at all, and HTTP/2 without a stream
        reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
        writer.write(start)
        async with asyncio.timeout(20):
            while await reader.read(65536):
                pass
        writer.close()
    await asyncio.gather(*(transport.close() for transport in net.transports))
