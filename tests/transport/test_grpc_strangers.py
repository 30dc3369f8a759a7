"""Foreign peers: each gets a clean refusal, and no other connection is affected (F34 to F36, S6)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType

import grpc
import grpc.aio
import pytest

from grange.errors import ConnectionLost, HandshakeRefused, SiloUnavailable
from grange.proto import codec, packed
from grange.proto.codec import decode_greeting, encode_frame, encode_greeting
from grange.proto.message import Cancel
from grange.transport.provider import Transport
from tests.transport.net import FakeSilo, Inbox, Net, request

METHOD = "/grange.v1.Silo/Connect"
Stranger = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    made = Net("grpc")
    yield made
    await asyncio.gather(*(transport.close() for transport in made.transports))


@pytest.fixture
async def silo(net: Net) -> FakeSilo:
    return await net.silo(net.transport(connect_timeout=0.5), echo=True)


async def still_serves(net: Net, silo: FakeSilo) -> None:
    """The silo takes a new connection and answers on it."""
    inbox = Inbox()
    connection = await net.transport().connect("127.0.0.1", silo.address.port, net.hello(), inbox)
    connection.post(request(99))
    assert [message.id for message in await inbox.count(1)] == [99]
    await connection.close()


async def connect_to(stranger: Stranger, transport: Transport, net: Net) -> None:
    """Connect to a port where a foreign server answers."""
    tasks: list[asyncio.Task[None]] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            if not over.is_set():  # on a busy machine a connection may arrive after the attempt has ended
                await stranger(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await transport.connect("127.0.0.1", port, net.hello(), Inbox())
    finally:
        over.set()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def http_1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    await reader.read()


async def random_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(random.Random(7).randbytes(10_000))
    await writer.drain()
    await reader.read()


async def closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.mark.parametrize("stranger", [silent, http_1, random_bytes, closes_at_once])
async def test_connecting_to_something_else_fails_in_time(net: Net, stranger: Stranger) -> None:
    with pytest.raises(SiloUnavailable, match=r"127\.0\.0\.1"):
        await connect_to(stranger, net.transport(connect_timeout=0.5), net)


async def test_cancelling_a_connect_to_a_silent_peer_returns_at_once(net: Net) -> None:
    attempt = asyncio.ensure_future(connect_to(silent, net.transport(connect_timeout=60), net))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(attempt, 0.2)


@contextlib.asynccontextmanager
async def other_server(method: str, answer: bytes) -> AsyncIterator[int]:
    """A gRPC server that is not a silo; yields its port."""

    async def behave(_requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.read()
        await context.write(answer)

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(behave)
    service, name = method.strip("/").split("/")
    server = grpc.aio.server(handlers=[grpc.method_handlers_generic_handler(service, {name: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("method", "answer", "code"),
    [
        ("/other.Service/Method", b"", "not-grange"),
        (METHOD, b"\xff\xff", "malformed"),
        (METHOD, encode_frame([Cancel(1)]), "malformed"),
        (METHOD, encode_greeting(Net("grpc").hello()), "malformed"),
    ],
)
async def test_another_grpc_server_is_recognised(net: Net, method: str, answer: bytes, code: str) -> None:
    async with other_server(method, answer) as port:
        with pytest.raises(HandshakeRefused) as caught:
            await net.transport().connect("127.0.0.1", port, net.hello(), Inbox())
    assert caught.value.code == code


class Raw:
    """A gRPC client that does not keep the protocol of grange."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(METHOD)
        self.call = method()

    async def __aenter__(self) -> Raw:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def greet(self, net: Net, packed: bool = False) -> None:
        await self.call.write(encode_greeting(net.hello(packed=int(packed))))
        assert isinstance(await self.call.read(), bytes)

    async def drain(self) -> grpc.StatusCode:
        """Read to the end; return the status."""
        try:
            while await self.call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@pytest.mark.parametrize("first", [b"", b"\xff\xff\xff", b"not protobuf at all", encode_frame([request(1)])])
async def test_a_first_frame_without_a_greeting_is_refused(net: Net, silo: FakeSilo, first: bytes) -> None:
    async with Raw(silo.address.port) as raw:
        await raw.call.write(first)
        data = await raw.call.read()
        assert isinstance(data, bytes)
        refusal = decode_greeting(data, 10_000)
        assert isinstance(refusal, HandshakeRefused)
        assert refusal.code == "malformed"
        assert await raw.call.read() is grpc.aio.EOF
    assert silo.connections == []
    await still_serves(net, silo)


async def test_a_caller_without_a_greeting_is_refused_in_time(net: Net, silo: FakeSilo) -> None:
    """Slowloris attack: an open stream without a Hello ends after the connect time-out."""
    async with Raw(silo.address.port) as raw:
        data = await raw.call.read()
        assert isinstance(data, bytes)
        assert "in time" in str(decode_greeting(data, 10_000))


@pytest.mark.parametrize("frames", [codec, packed], ids=["protobuf", "packed"])
async def test_garbage_after_the_greeting_ends_that_connection_only(
    net: Net, silo: FakeSilo, frames: ModuleType
) -> None:
    dice = random.Random(11)
    endings: set[grpc.StatusCode] = set()
    good = frames.encode_frame([request(number) for number in range(20)])
    for _ in range(30):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 6)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        async with Raw(silo.address.port) as raw:
            await raw.greet(net, packed=frames is packed)
            await raw.call.write(bytes(bad))
            await raw.call.done_writing()
            endings.add(await raw.drain())
    assert endings <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert grpc.StatusCode.INVALID_ARGUMENT in endings
    for inbox in silo.inboxes:
        await inbox.ended()
        assert len(inbox.endings) == 1
    await still_serves(net, silo)


@pytest.mark.parametrize("is_packed", [False, True])
async def test_a_peer_learns_that_its_frame_was_invalid(net: Net, silo: FakeSilo, is_packed: bool) -> None:
    async with Raw(silo.address.port) as raw:
        await raw.greet(net, is_packed)
        await raw.call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError, match="invalid frame") as caught:
            await raw.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_frame_over_the_limit_ends_that_connection_only(net: Net, silo: FakeSilo) -> None:
    async with Raw(silo.address.port) as raw:
        await raw.greet(net)
        await raw.call.write(bytes(6 * 2**20))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw.call.read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # A message that gRPC refused looks like the end of the stream until the close arrives; `lost` reports either once.
    _unsent, error = await silo.inbox.ended()
    assert error is None or isinstance(error, ConnectionLost)
    assert len(silo.inbox.endings) == 1
    await still_serves(net, silo)


async def test_a_peer_that_never_reads_is_no_longer_read(net: Net) -> None:
    """Back-pressure reaches it as HTTP/2 flow control, and the memory of this side stays bounded."""
    silo = await net.silo(net.transport(queue_messages=8), echo=True)
    payload = bytes(256 * 1024)
    async with Raw(silo.address.port) as raw:
        await raw.greet(net)
        written = 0
        while written < 4000:  # one gigabyte: far more than all buffers hold
            try:
                await asyncio.wait_for(raw.call.write(encode_frame([request(written, payload)])), 1.0)
            except TimeoutError:
                break
            written += 1
    assert written < 400
    await silo.inbox.ended()
    await still_serves(net, silo)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500]
)
async def test_random_bytes_on_the_socket_affect_no_other_connection(net: Net, silo: FakeSilo, data: bytes) -> None:
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", silo.address.port)
        writer.write(data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
    await still_serves(net, silo)
