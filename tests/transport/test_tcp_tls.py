"""TLS inside a socket of the faster road: its records stay whole with any input, and while a second thread sends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from grange.errors import ConnectionLost, SiloUnavailable
from grange.proto.message import Response
from grange.transport.tcp import TcpTransport
from grange.transport.tcp_connection import TcpConnection
from grange.transport.tcp_tls import RECORD, TlsFrameSocket, TlsStream
from grange.transport.tls import Tls
from grange.transport.tls_faults import NOT_TLS
from tests.transport.net import Inbox, Net, request
from tests.transport.pairs import Pairs


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    made = Net("tcp+tls")
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))


def streams() -> tuple[TlsStream, TlsStream]:
    """The two ends, without a network."""
    pairs = Pairs()
    return TlsStream(pairs.client().client_context, "silo.test.grange"), TlsStream(pairs.silo().server_context, None)


def shake_hands(here: TlsStream, there: TlsStream) -> None:
    here.begin()
    while not (here.is_open and there.is_open):
        there.feed(here.sealed())
        here.feed(there.sealed())


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 1_000_000])
def test_what_is_written_arrives_whole(size: int) -> None:
    here, there = streams()
    shake_hands(here, there)
    sent = random.Random(size).randbytes(size)
    here.write(sent)
    assert there.feed(here.sealed()) == sent


def test_what_is_written_before_the_handshake_follows_it() -> None:
    here, there = streams()
    here.write(b"hello")
    here.begin()
    heard = b""
    while not heard:
        heard += there.feed(here.sealed())
        here.feed(there.sealed())
    assert heard == b"hello"


def test_a_record_may_arrive_byte_by_byte() -> None:
    here, there = streams()
    here.begin()
    for _ in range(4):
        for side, other in ((here, there), (there, here)):
            for byte in side.sealed():
                other.feed(bytes([byte]))
    assert here.is_open
    assert there.is_open
    here.write(b"x" * 100)
    assert b"".join(there.feed(bytes([byte])) for byte in here.sealed()) == b"x" * 100


@pytest.mark.parametrize("at", [5, 20, -1])
def test_a_changed_record_is_an_error_and_never_data(at: int) -> None:
    here, there = streams()
    shake_hands(here, there)
    here.write(b"x" * 100)
    record = bytearray(here.sealed())
    record[at] ^= 1
    with pytest.raises(ssl.SSLError):
        there.feed(bytes(record))


def test_what_follows_the_end_of_a_peer_is_not_kept() -> None:
    """Else a peer that says that it ends, and goes on, fills the memory."""
    here, there = streams()
    shake_hands(here, there)
    here.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        here._tls.unwrap()
    assert there.feed(here.sealed()) == b"last"
    assert there.has_ended
    for _ in range(10):
        assert there.feed(b"x" * 100_000) == b""
    assert there._incoming.pending == 0


async def test_noise_closes_the_socket_and_nothing_else(net: Net) -> None:
    """S5: noise that begins as TLS does, of each length; the port goes on."""
    silo = await net.silo(net.transport(), echo=True)
    chance = random.Random(1)
    for length in (1, 4, 5, 64, 2000, 70_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
        writer.write(b"\x16" + chance.randbytes(length))
        writer.write_eof()
        async with asyncio.timeout(20):
            while await reader.read(65536):
                pass
        writer.close()
    assert silo.connections == []
    inbox = Inbox()
    connection = await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), inbox)
    connection.post(request(1))
    await inbox.count(1)
    assert net.pairs is not None
    assert {word for word, _ in net.pairs.refused} <= {"other", "not-tls", "protocol"}


async def test_a_caller_that_says_nothing_is_not_waited_for(net: Net) -> None:
    """The time for the handshake of TLS and the Hello is the connect time-out together."""
    silo = await net.silo(net.transport(connect_timeout=0.2))
    reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
    async with asyncio.timeout(20):
        while await reader.read(100):
            pass
    writer.close()


async def test_signs_of_life_of_another_thread_are_whole_records(net: Net) -> None:
    """As the thread of the keeper sends them while a turn blocks the loop; here while both sides send all the time."""
    silo, connection, inbox = await net.pair(echo=True)
    assert isinstance(connection, TcpConnection)
    assert isinstance(silo.connection, TcpConnection)
    ended = threading.Event()
    sent = 0

    def show_life() -> None:
        nonlocal sent
        while not ended.is_set():
            connection._socket.show_life()
            silo.connection._socket.show_life()  # type: ignore[attr-defined]
            sent += 1

    thread = threading.Thread(target=show_life)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for number in range(3000):
            await connection.ready()
            connection.post(request(number, os.urandom(40)))
        await inbox.count(3000)
        while sent < 100:
            await asyncio.sleep(0)
    finally:
        ended.set()
        await asyncio.to_thread(thread.join)
        sys.setswitchinterval(interval)
    assert inbox.endings == silo.inbox.endings == []
    assert [message.id for message in inbox.messages] == list(range(3000))
    assert all(isinstance(message, Response) for message in inbox.messages)


async def test_no_sign_of_life_overtakes_a_sealed_record(net: Net) -> None:
    """The other thread waits from before a record is sealed until it is sent."""
    _, connection, inbox = await net.pair(echo=True)
    assert isinstance(connection, TcpConnection)
    socket = connection._socket
    assert isinstance(socket, TlsFrameSocket)
    assert socket._stream is not None
    seal, threads = socket._stream.sealed, [threading.Thread(target=socket.show_life)]

    def sealed() -> bytes:
        record = seal()
        if not threads[0].is_alive():
            threads[0].start()
            threads[0].join(0.3)  # it ends in this time only if nothing holds it up
        return record

    socket._stream.sealed = sealed  # type: ignore[method-assign]
    connection.post(request(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    socket._stream.sealed = seal  # type: ignore[method-assign]
    await asyncio.to_thread(threads[0].join)
    connection.post(request(2))
    await inbox.count(2)


async def test_a_slow_reader_and_large_frames(net: Net) -> None:
    """Records wait in the loop's buffer meanwhile, and none is sent ahead of another."""
    silo, connection, inbox = await net.pair(echo=True)
    silo.connection.pause()
    for number in range(12):
        await connection.ready()
        connection.post(request(number, os.urandom(1_000_000)))
    await asyncio.sleep(0)
    silo.connection.resume()
    await inbox.count(12)
    assert [message.id for message in inbox.messages] == list(range(12))


async def test_a_broken_stream_is_a_lost_connection(net: Net) -> None:
    silo, connection, inbox = await net.pair()
    assert isinstance(connection, TcpConnection)
    connection._socket._transport.write(b"\x17\x03\x03\x00\x20" + bytes(32))  # type: ignore[union-attr]
    _, error = await silo.inbox.ended()
    assert isinstance(error, ConnectionLost)
    assert "TLS failed" in str(error)
    assert isinstance((await inbox.ended())[1], ConnectionLost)


async def test_a_peer_that_ends_tls_ends_the_connection(net: Net) -> None:
    silo, connection, _ = await net.pair(echo=True, keepalive_time=3600.0)
    assert isinstance(connection, TcpConnection)
    socket = connection._socket
    assert isinstance(socket, TlsFrameSocket)
    assert socket._stream is not None
    with contextlib.suppress(ssl.SSLWantReadError):
        socket._stream._tls.unwrap()
    ended = socket._stream.sealed()
    socket._over, socket._fault = True, NOT_TLS  # it reads and writes no more: its own TLS has ended
    socket._transport.write(ended + b"x" * 100_000)  # type: ignore[union-attr]
    assert isinstance((await silo.inbox.ended())[1], ConnectionLost)
    connection.kill()


async def test_a_broken_stream_writes_no_more(net: Net) -> None:
    """Neither the loop nor the other thread, which an error would end."""
    silo, connection, _ = await net.pair()
    assert isinstance(connection, TcpConnection)
    assert isinstance(silo.connection, TcpConnection)
    socket = silo.connection._socket
    assert isinstance(socket, TlsFrameSocket)
    socket.data_received(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert "TLS failed" in socket.refusal
    socket.show_life()
    socket.write(b"x")
    assert isinstance((await silo.inbox.ended())[1], ConnectionLost)


@pytest.mark.parametrize("side", ["server_context", "client_context"])
async def test_no_sign_of_life_comes_before_tls(net: Net, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    """The other thread looks at the socket while a turn has blocked the loop, also while TLS is made ready."""
    context, shown = getattr(Tls, side).fget, list[bytes]()

    def with_sign(tls: Tls) -> ssl.SSLContext:
        for transport in net.transports:
            assert isinstance(transport, TcpTransport)
            for each in transport._keeper._sockets:
                shown.append(each._sign_of_life())
                each.show_life()
        found: ssl.SSLContext = context(tls)
        return found

    monkeypatch.setattr(Tls, side, property(with_sign))
    await net.pair()
    assert shown
    assert set(shown) == {b""}


async def test_a_peer_that_closes_during_the_handshake_is_unavailable(net: Net) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(SiloUnavailable, match="ended the handshake of TLS without a reason"):
        await net.transport().connect("127.0.0.1", port, net.hello(), Inbox())
    server.close()
