"""The standard health service of gRPC on a silo's ports: Check and Watch, as any gRPC client asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from grange.errors import HandshakeRefused
from grange.proto.handshake import Hello, Welcome
from grange.security.certificate import Certificate
from grange.transport import grpc_health
from grange.transport.grpc import GrpcTransport
from grange.transport.grpc_health import service_of
from grange.transport.provider import Connection, Listener, Receiver

SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


def named(name: str) -> bytes:
    """A HealthCheckRequest."""
    return b"\x0a" + bytes([len(name)]) + name.encode() if name else b""


def admit(_: Hello, _certificate: Certificate | None) -> Welcome:
    raise HandshakeRefused("no silo", code="starting")


def accept(_: Connection) -> Receiver:
    raise AssertionError


@asynccontextmanager
async def port() -> AsyncGenerator[tuple[Listener, grpc.aio.Channel]]:
    transport = GrpcTransport()
    listener = await transport.listen("127.0.0.1", 0, admit, accept)
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}")
    try:
        yield listener, channel
    finally:
        async with asyncio.timeout(5):  # a stream of Watch does not hold up the end
            await transport.close()
        await channel.close()


async def check(channel: grpc.aio.Channel, request: bytes) -> bytes:
    return await channel.unary_unary("/grpc.health.v1.Health/Check")(request)


def watch(channel: grpc.aio.Channel, request: bytes) -> grpc.aio.UnaryStreamCall:
    return channel.unary_stream("/grpc.health.v1.Health/Watch")(request)


@pytest.mark.parametrize("name", ["", "grange.v1.Silo"])
async def test_check_says_whether_the_silo_serves(name: str) -> None:
    async with port() as (listener, channel):
        assert await check(channel, named(name)) == NOT_SERVING  # the silo has not started yet
        listener.answer_health(lambda: True, lambda _: True)
        assert await check(channel, named(name)) == SERVING


async def test_a_check_of_an_unknown_service_is_not_found() -> None:
    async with port() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel, named("shop.Cart"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "request_", [b"\x0a", b"\x0a\x05abc", b"\x12\x01a", b"\x0a\x02\xff\xfe", b"\x0a\x7f" + b"a" * 127]
)
async def test_a_malformed_check_is_refused(request_: bytes) -> None:
    async with port() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(channel, request_)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_watch_sends_each_change() -> None:
    async with port() as (listener, channel):
        stream = watch(channel, named("grange.v1.Silo"))
        assert await stream.read() == NOT_SERVING
        listener.answer_health(lambda: True, lambda _: True)
        assert await stream.read() == SERVING
        listener.answer_health(lambda: False, lambda _: True)
        assert await stream.read() == NOT_SERVING
        unknown = watch(channel, named("shop.Cart"))
        assert await unknown.read() == SERVICE_UNKNOWN


async def test_too_many_watches_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_health, "MAX_WATCHES", 1)
    async with port() as (_, channel):
        assert await watch(channel, b"").read() == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch(channel, b"").read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_name_of_a_request() -> None:
    assert service_of(b"") == ""
    assert service_of(named("grange.v1.Silo")) == "grange.v1.Silo"
