"""Foreign peers on a plain socket: each gets a clean refusal, and no other connection is affected (F34 to F36, S6)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from grange.errors import ConnectionLost, GrangeError, HandshakeRefused, SiloUnavailable
from grange.proto.codec import decode_greeting, encode_frame, encode_greeting
from grange.proto.message import Cancel
from grange.transport.tcp_socket import ALIVE, END, PING
from tests.transport.net import FakeSilo, Inbox, Net, request

Stranger = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    made = Net("tcp")
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))


@pytest.fixture
async def silo(net: Net) -> FakeSilo:
    return await net.silo(net.transport(connect_timeout=0.5), echo=True)


def framed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def mark(length: int) -> bytes:
    return struct.pack(">I", length)


async def still_serves(net: Net, silo: FakeSilo) -> None:
    """The silo takes a new connection and answers on it."""
    inbox = Inbox()
    connection = await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), inbox)
    connection.post(request(99))
    assert [message.id for message in await inbox.count(1)] == [99]
    await connection.close()


class Raw:
    """A socket to a silo, without the protocol of grange."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def read(self) -> bytes:
        """The next frame."""
        async with asyncio.timeout(20):
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            return await self.reader.readexactly(length)

    async def mark(self) -> int:
        async with asyncio.timeout(20):
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            return int(length)

    async def greet(self, net: Net) -> None:
        self.write(framed(encode_greeting(net.hello())))
        await self.read()

    async def rest(self) -> bytes:
        """All until the silo closes the socket."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""


@contextlib.asynccontextmanager
async def raw(silo: FakeSilo) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def http_1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()


async def random_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(random.Random(7).randbytes(10_000))
    await reader.read()


async def no_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(encode_frame([Cancel(1)])))
    await reader.read()


async def hello_too(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(encode_greeting(Net("tcp").hello())))
    await reader.read()


async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(mark(END))
    await reader.read()


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.mark.parametrize("stranger", [silent, http_1, random_bytes, no_greeting, hello_too, ends, closes_at_once])
async def test_connecting_to_something_else_fails_in_time(net: Net, stranger: Stranger) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await stranger(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises((SiloUnavailable, HandshakeRefused), match=rf"127\.0\.0\.1:{port}") as caught:
            await net.transport(connect_timeout=0.5).connect("127.0.0.1", port, net.hello(), Inbox())
        refused = isinstance(caught.value, HandshakeRefused)
        assert refused == (stranger in (http_1, random_bytes, no_greeting, hello_too))
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    "first",
    [
        framed(b""),
        framed(b"\xff\xff\xff"),
        framed(b"not protobuf at all"),
        framed(encode_frame([request(1)])),
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
        mark(2**20),
    ],
)
async def test_a_first_frame_without_a_greeting_is_refused(net: Net, silo: FakeSilo, first: bytes) -> None:
    async with raw(silo) as peer:
        peer.write(first)
        refusal = decode_greeting(await peer.read(), 10_000)
        assert isinstance(refusal, HandshakeRefused)
        assert refusal.code == "malformed"
    assert silo.connections == []
    await still_serves(net, silo)


async def test_a_caller_without_a_greeting_is_refused_in_time(net: Net, silo: FakeSilo) -> None:
    """Slowloris attack: a socket without a Hello ends after the connect time-out, also if bytes trickle."""
    async with raw(silo) as peer:
        peer.write(b"\x00")
        assert "in time" in str(decode_greeting(await peer.read(), 10_000))
        assert await peer.rest() == b""


async def test_a_refused_peer_that_stays_is_cut_after_the_connect_timeout(net: Net, silo: FakeSilo) -> None:
    async with raw(silo) as peer:
        peer.write(framed(b"\xff"))
        await peer.read()
        assert await peer.rest() == b""


async def test_garbage_after_the_greeting_ends_that_connection_only(net: Net, silo: FakeSilo) -> None:
    dice = random.Random(11)
    good = framed(encode_frame([request(number) for number in range(20)])) * 3
    for _ in range(100):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 6)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        async with raw(silo) as peer:
            await peer.greet(net)
            peer.write(bytes(bad), mark(END))
            peer.writer.write_eof()
            await peer.rest()
    for inbox in silo.inboxes:
        await inbox.ended()
        assert len(inbox.endings) == 1
    assert any(isinstance(inbox.endings[0][1], ConnectionLost) for inbox in silo.inboxes)
    await still_serves(net, silo)


async def test_a_frame_over_the_limit_ends_that_connection_only(net: Net, silo: FakeSilo) -> None:
    async with raw(silo) as peer:
        await peer.greet(net)
        peer.write(mark(6 * 2**20), bytes(100))
        await peer.rest()
    _unsent, error = await silo.inbox.ended()
    assert isinstance(error, ConnectionLost)
    assert "over the limit of 5,242,880" in str(error)
    await still_serves(net, silo)


async def test_a_peer_that_breaks_off_is_not_at_an_orderly_end(net: Net, silo: FakeSilo) -> None:
    """The system closes the sockets of a killed process as if it had closed them: only the mark tells."""
    async with raw(silo) as peer:
        await peer.greet(net)
        peer.write(framed(encode_frame([request(1)])))
        await peer.read()
    _unsent, error = await silo.inbox.ended()
    assert isinstance(error, ConnectionLost)


async def test_the_mark_of_the_end_brings_the_last_answers_and_a_mark(net: Net, silo: FakeSilo) -> None:
    async with raw(silo) as peer:
        await peer.greet(net)
        peer.write(framed(encode_frame([request(1)])), mark(END))
        await peer.read()
        assert await peer.mark() == END
    _unsent, error = await silo.inbox.ended()
    assert error is None


async def test_a_request_after_the_mark_of_the_silo_is_not_delivered(net: Net, silo: FakeSilo) -> None:
    """Its answer could not be sent any more."""
    async with raw(silo) as peer:
        await peer.greet(net)
        closing = asyncio.create_task(silo.connection.close())
        assert await peer.mark() == END
        peer.write(framed(encode_frame([request(1)])))
    await closing
    assert silo.inbox.endings == [([], None)]
    assert silo.inbox.messages == []


async def test_pings_are_answered_once_for_each_read_and_other_marks_are_no_requests(net: Net, silo: FakeSilo) -> None:
    async with raw(silo) as peer:
        await peer.greet(net)
        peer.write(mark(ALIVE))
        peer.write(mark(PING))
        assert await peer.mark() == ALIVE
        peer.write(mark(PING) * 10_000, mark(END))
        answers = await peer.rest()
        assert answers.endswith(mark(END))
        assert 0 < answers.count(mark(ALIVE)) < 1000
    await still_serves(net, silo)


async def test_a_peer_that_never_reads_is_no_longer_read(net: Net) -> None:
    """Back-pressure reaches it through the system's buffers, and the memory of this side stays bounded."""
    silo = await net.silo(net.transport(queue_messages=8), echo=True)
    payload = framed(encode_frame([request(1, bytes(256 * 1024))]))
    async with raw(silo) as peer:
        peer.write(framed(encode_greeting(net.hello())))
        written = 0
        while written < 4000:  # one gigabyte: far more than all buffers hold
            peer.write(payload)
            try:
                await asyncio.wait_for(peer.writer.drain(), 1.0)
            except (TimeoutError, ConnectionError):
                break
            written += 1
        assert silo.connection.unwritten < 16 * 2**20
        peer.writer.transport.abort()
    assert written < 400
    await silo.inbox.ended()
    await still_serves(net, silo)


async def test_random_bytes_affect_no_other_connection(net: Net, silo: FakeSilo) -> None:
    dice = random.Random(3)
    for size in (1, 3, 4, 5, 100, 100_000):
        async with raw(silo) as peer:
            peer.write(dice.randbytes(size))
            peer.writer.write_eof()
            await peer.rest()
    await still_serves(net, silo)


async def test_no_error_of_the_network_leaves_the_transport(net: Net) -> None:
    for host in ("no-such-host.invalid", "x" * 300, "256.1.1.1"):
        with pytest.raises(GrangeError):
            await net.transport(connect_timeout=2).connect(host, 1, net.hello(), Inbox())
