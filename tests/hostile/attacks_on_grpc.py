"""Attacks on ports of gRPC: by a client of gRPC that does not keep our protocol, and by frames of HTTP/2 alone."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import grpc
import grpc.aio

from grange.errors import HandshakeRefused
from grange.proto import packed
from grange.proto.codec import decode_greeting
from tests.hostile import http2
from tests.hostile.attacks import Corpus
from tests.hostile.forgeries import CANARY, bad_greetings, bombs, forged, greeting, mutated
from tests.hostile.places import PATIENCE, Place

corpus = Corpus()

CONNECT = "/grange.v1.Silo/Connect"
ASK = "/grange.v1.Probe/Ask"
RESETS = 20_000


async def told(place: Place, *frames: bytes) -> grpc.StatusCode:
    """Open a stream, send frames, and read to its end."""
    async with place.channel() as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(CONNECT)
        call = method()
        try:
            async with asyncio.timeout(PATIENCE):
                with contextlib.suppress(asyncio.InvalidStateError):  # ended already
                    for data in frames:
                        await call.write(data)
                    await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@corpus.on("grpc")
async def wrong_methods(place: Place, dice: Random) -> None:
    async with place.channel() as channel:
        paths = (
            ASK, CONNECT, "/grange.v1.Silo/Other", "/x/y", "/", "/grpc.reflection.v1.ServerReflection/Info",
            "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", f"/{'x' * 3000}/y",
        )  # fmt: skip
        for path in paths:
            unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            for data in (b"", dice.randbytes(200), b"\xff" * 60_000):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await unary(data, timeout=2)


@corpus.on("grpc")
async def big_metadata(place: Place, _dice: Random) -> None:
    """More than HPACK tables and header lists may hold."""
    async with place.channel() as channel:
        for metadata in ([("x-big", "a" * 100_000)], [(f"x-{n}", "a" * 100) for n in range(1000)]):
            unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CONNECT)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await unary(b"", timeout=5, metadata=tuple(metadata))
    part = b"".join(http2.header(f"x-{number}", "a" * 500) for number in range(30))
    async with place.wire() as wire:  # a header list without an end
        first = http2.frame(http2.HEADERS, http2.request_headers(CONNECT), stream=1)
        await wire.send(http2.PREFACE, http2.settings(), first)
        for _ in range(200):
            if not await wire.send(http2.frame(http2.CONTINUATION, part, stream=1)):
                break
        wire.abort()


@corpus.on("grpc")
async def greetings_that_are_refused(place: Place, _dice: Random) -> None:
    if place.name == "probe":
        return
    for first in bad_greetings(place):
        async with place.channel() as channel:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(CONNECT)
            call = method()
            async with asyncio.timeout(PATIENCE):
                await call.write(first)
                data = await call.read()
            assert isinstance(data, bytes)
            assert isinstance(decode_greeting(data, 100_000), HandshakeRefused)


@corpus.on("grpc")
async def frames_after_the_greeting(place: Place, dice: Random) -> None:
    """Bombs, forged frames, noise, a second Hello."""
    hello = greeting(place)
    for bomb in bombs(place):
        await told(place, hello, bomb)
    for messages in forged(dice):
        await told(place, hello, packed.encode_frame(messages))
    for data in (*mutated(dice, 50), hello, b"", bytes(6 * 2**20), CANARY.encode()):
        await told(place, hello, data)
    await told(place, hello, *(b"" for _ in range(1000)))


@corpus.on("grpc")
async def streams_without_a_greeting(place: Place, _dice: Random) -> None:
    """Half handshakes: more streams than a connection may have, each silent."""
    async with place.wire() as wire:
        await wire.send(http2.PREFACE, http2.settings())
        await wire.send(*(http2.call(CONNECT, stream) for stream in range(1, 301, 2)))
        await asyncio.sleep(0)
        await wire.send(*(http2.message(b"", stream, announced=2**20) for stream in range(1, 101, 2)))
        async with asyncio.timeout(PATIENCE):  # until the silo ends the streams
            while data := await wire.reader.read(65536):
                if b"too-many" in data or b"no Hello came" in data:
                    break


@corpus.on("grpc")
async def only_the_preface(place: Place, _dice: Random) -> None:
    async with contextlib.AsyncExitStack() as opened:
        wires = [await opened.enter_async_context(place.wire()) for _ in range(50)]
        for wire in wires:
            await wire.send(http2.PREFACE[:-5])
        await asyncio.gather(*(wire.ended() for wire in wires))


@corpus.on("grpc")
async def rapid_reset(place: Place, _dice: Random) -> None:
    """CVE-2023-44487: streams that are reset as soon as they are open."""
    async with place.wire() as wire:
        await wire.send(http2.PREFACE, http2.settings())
        for first in range(1, 2 * RESETS, 200):
            streams = range(first, first + 200, 2)
            if not await wire.send(*(http2.call(CONNECT, each) + http2.reset(each) for each in streams)):
                break
            wire.reader._buffer.clear()  # type: ignore[attr-defined]


@corpus.on("grpc")
async def floods_of_control_frames(place: Place, _dice: Random) -> None:
    for flood in (
        http2.frame(http2.PING, bytes(8)), http2.settings(_4=65535), http2.settings(),
        http2.frame(http2.DATA, stream=1), http2.frame(http2.WINDOW_UPDATE, b"\x00\x00\x00\x01"),
    ):  # fmt: skip
        async with place.wire() as wire:
            await wire.send(http2.PREFACE, http2.settings())
            for _ in range(100):
                if not await wire.send(flood * 200):
                    break
            wire.abort()


@corpus.on("grpc")
async def a_window_that_never_opens(place: Place, _dice: Random) -> None:
    """A slow reader: it greets, and takes not a byte of the answer."""
    async with place.wire() as wire:
        await wire.send(http2.PREFACE, http2.settings(_4=0), http2.call(CONNECT, 1))
        await wire.send(http2.message(greeting(place), 1))
        for number in range(100):
            if not await wire.send(http2.frame(http2.PING, number.to_bytes(8, "big"))):
                break
        wire.abort()
