"""Attacks on the admin port: HTTP that is slow, long or malformed."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from tests.hostile.attacks import Corpus
from tests.hostile.forgeries import CANARY
from tests.hostile.places import Place

corpus = Corpus()

CHUNKED = b"Host: localhost\r\nTransfer-Encoding: chunked\r\n"

REQUESTS = (
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X-Big: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /login HTTP/1.1\r\n" + CHUNKED + b"Connection: close\r\n\r\nFFFFFFFFFFFF\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + CANARY.encode() + b"\r\nConnection: close\r\n\r\n",
    b"GET /?token=" + CANARY.encode() + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"\r\n" * 50_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


@corpus.on("http")
async def requests_that_are_refused(place: Place, _dice: Random) -> None:
    async with contextlib.AsyncExitStack() as opened:
        wires = [await opened.enter_async_context(place.wire()) for _ in REQUESTS]
        for wire, request in zip(wires, REQUESTS, strict=True):
            await wire.send(request)
        await asyncio.gather(*(wire.ended() for wire in wires))


@corpus.on("http")
async def bodies_that_never_come(place: Place, _dice: Random) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    async with contextlib.AsyncExitStack() as opened:
        wires = [await opened.enter_async_context(place.wire()) for _ in range(20)]
        for wire in wires:
            await wire.send(head, b"a=")
        await asyncio.gather(*(wire.ended() for wire in wires))


@corpus.on("http")
async def a_pipeline_that_is_not_read(place: Place, _dice: Random) -> None:
    async with place.wire() as wire:
        for _ in range(50):
            wire.writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        wire.abort()
