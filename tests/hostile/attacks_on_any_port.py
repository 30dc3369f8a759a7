"""Attacks that need no protocol: noise, other protocols, silence, and many connections."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
from random import Random

from tests.hostile import http2
from tests.hostile.attacks import Corpus
from tests.hostile.places import Place, Wire

corpus = Corpus()

MANY = 2000
"""Connections of an attack with very many. Both ends are in this process, so they take two files each."""


@corpus.on("grpc", "socket", "http")
async def noise(place: Place, dice: Random) -> None:
    for size in (0, 1, 3, 4, 5, 9, 24, 100, 5_000, 200_000):
        async with place.wire() as wire:
            await wire.send(dice.randbytes(size))
            with contextlib.suppress(OSError, NotImplementedError):  # TLS has no half close
                wire.writer.write_eof()
            await wire.ended()


@corpus.on("grpc", "socket", "http")
async def zeros(place: Place, _dice: Random) -> None:
    async with place.wire() as wire:
        await wire.send(bytes(1_000_000))
        with contextlib.suppress(OSError, NotImplementedError):
            wire.writer.write_eof()
        await wire.ended()


@corpus.on("grpc", "socket")
async def http_1(place: Place, _dice: Random) -> None:
    for request in (b"GET / HTTP/1.1\r\nHost: grange\r\n\r\n", b"POST /x HTTP/1.0\r\nContent-Length: 9999999\r\n\r\n"):
        async with place.wire() as wire:
            await wire.send(request)
            await wire.ended()


@corpus.on("grpc", "socket", "http")
async def the_other_protocol(place: Place, _dice: Random) -> None:
    """TLS to a port without it, and what is not TLS to a port that has it."""
    greetings = [http2.PREFACE + http2.settings(), b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x04abcd"]
    for greeting in greetings if place.client_tls is not None else [client_hello()]:
        async with place.wire(tls=False) as wire:
            await wire.send(greeting)
            await wire.ended()


@corpus.on("grpc", "socket", "http", needs_tls=True)
async def half_tls_handshakes(place: Place, dice: Random) -> None:
    hello = client_hello()
    parts = [hello[:1], hello[:5], hello[: len(hello) // 2], hello, hello[:20] + dice.randbytes(len(hello))]
    async with contextlib.AsyncExitStack() as opened:
        wires = [await opened.enter_async_context(place.wire(tls=False)) for _ in range(50)]
        for number, wire in enumerate(wires):
            await wire.send(parts[number % len(parts)])
        await asyncio.gather(*(wire.ended() for wire in wires))


@corpus.on("grpc", "socket", "http")
async def silence(place: Place, _dice: Random) -> None:
    """Connections that say nothing are ended."""
    async with contextlib.AsyncExitStack() as opened:
        wires = [await opened.enter_async_context(place.wire(tls=False)) for _ in range(100)]
        await asyncio.gather(*(wire.ended() for wire in wires))


@corpus.on("grpc", "socket", "http")
async def one_byte_at_a_time(place: Place, _dice: Random) -> None:
    """A slow writer: the greeting never becomes whole."""
    start = {"grpc": http2.PREFACE, "socket": b"\x00\x00\x01\x00", "http": b"GET / HTTP/1.1\r\nX-Slow: "}[
        place.protocol
    ]
    async with place.wire(tls=False) as wire:
        ending = asyncio.ensure_future(wire.ended())
        for byte in start[:-1]:
            await wire.send(bytes((byte,)))
        while not ending.done():
            await wire.send(b"a" if place.protocol != "grpc" else b"")
            await asyncio.wait({ending}, timeout=0.05)
        await ending


@corpus.on("grpc", "socket", "http")
async def opened_and_closed(place: Place, _dice: Random) -> None:
    for _ in range(20):
        wires = await asyncio.gather(*(place.open(tls=False) for _ in range(25)))
        for wire in wires:
            wire.abort()


@corpus.on("grpc", "socket", "http")
async def thousands_of_connections(place: Place, _dice: Random) -> None:
    files, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(MANY, files // 5)
    opened: list[Wire] = []
    try:
        for _ in range(number // 50):
            tried = await asyncio.gather(*(place.open(tls=False) for _ in range(50)), return_exceptions=True)
            opened += [wire for wire in tried if isinstance(wire, Wire)]
        await asyncio.gather(*(wire.ended() for wire in opened))
    finally:
        for wire in opened:
            wire.abort()


def client_hello() -> bytes:
    """The first record of TLS."""
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
