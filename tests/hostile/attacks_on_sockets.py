"""Attacks on the road of plain sockets, by a peer that knows its frames."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from random import Random

from grange.errors import HandshakeRefused
from grange.proto import packed
from grange.proto.codec import decode_greeting
from grange.proto.handshake import Welcome
from grange.proto.ids import GrainId
from grange.proto.message import Message, Request
from grange.transport.tcp_socket import ALIVE, END, PING
from tests.hostile.attacks import Corpus
from tests.hostile.forgeries import HUGE, bad_greetings, bombs, forged, greeting, mutated
from tests.hostile.places import Place, Wire

corpus = Corpus()

FLOOD = 20_000


async def admitted(wire: Wire, place: Place) -> None:
    await wire.frame(greeting(place))
    assert isinstance(decode_greeting(await wire.read_frame(), 100_000), Welcome)


def batched(frames: list[bytes], number: int) -> list[list[bytes]]:
    return [frames[first : first + number] for first in range(0, len(frames), number)]


def mark(length: int) -> bytes:
    return struct.pack(">I", length)


@corpus.on("socket")
async def greetings_that_are_refused(place: Place, _dice: Random) -> None:
    for first in bad_greetings(place):
        async with place.wire() as wire:
            await wire.frame(first)
            with contextlib.suppress(OSError, EOFError):
                assert isinstance(decode_greeting(await wire.read_frame(), 100_000), HandshakeRefused)
            wire.abort()


@corpus.on("socket")
async def half_greetings(place: Place, _dice: Random) -> None:
    data = greeting(place)
    for size in (1, 3, len(data) // 2, len(data) - 1):
        async with place.wire() as wire:
            await wire.send(mark(len(data)), data[:size])
            await wire.ended()


@corpus.on("socket")
async def huge_lengths(place: Place, _dice: Random) -> None:
    for length in (2**24, 2**30, 2**31, HUGE):
        async with place.wire() as wire:
            await wire.send(mark(length), bytes(100_000))
            await wire.ended()
        async with place.wire() as wire:
            await admitted(wire, place)
            await wire.send(mark(length), bytes(100_000))
            await wire.ended()


@corpus.on("socket")
async def two_hellos(place: Place, _dice: Random) -> None:
    async with place.wire() as wire:
        await admitted(wire, place)
        await wire.frame(greeting(place))
        await wire.ended()
    async with place.wire() as wire:  # and both at once
        data = greeting(place)
        await wire.send(mark(len(data)) + data, mark(len(data)) + data)
        await wire.ended()


@corpus.on("socket")
async def bombs_after_the_greeting(place: Place, _dice: Random) -> None:
    for bomb in bombs(place):
        async with place.wire() as wire:
            await admitted(wire, place)
            await wire.frame(bomb)
            await wire.send(mark(END))
            await wire.ended()


@corpus.on("socket")
async def forged_frames(place: Place, dice: Random) -> None:
    async def send(data: bytes) -> None:
        async with place.wire() as wire:
            await admitted(wire, place)
            await wire.frame(data)
            await wire.send(mark(END))
            await wire.ended()

    frames = [*(packed.encode_frame(messages) for messages in forged(dice)), *mutated(dice, 100)]
    for bunch in batched(frames, 20):
        await asyncio.gather(*(send(data) for data in bunch))


@corpus.on("socket")
async def a_frame_that_trickles(place: Place, _dice: Random) -> None:
    """A slow writer: a frame of 4 MiB begins, and no more of it comes than keeps the connection alive."""
    async with place.wire() as wire:
        await admitted(wire, place)
        await wire.send(mark(4 * 2**20), bytes(1000))
        while await wire.send(b"\x00"):
            data = await wire.reader.read(1000)  # signs of life, and at last the end
            if not data:
                return


@corpus.on("socket")
async def a_flood_of_marks(place: Place, _dice: Random) -> None:
    async with place.wire() as wire:
        await admitted(wire, place)
        await wire.send(mark(PING) * FLOOD, mark(ALIVE) * FLOOD, mark(0) * 1000, mark(END))
        await wire.ended()


@corpus.on("socket")
async def a_flood_of_requests_that_is_not_read(place: Place, _dice: Random) -> None:
    """A slow reader: it asks for answers, and reads none."""
    async with place.wire() as wire:
        await admitted(wire, place)
        for first in range(1, FLOOD, 200):
            requests: list[Message] = [
                Request(number, GrainId("victim", str(number % 50)), "echo", b"\x91\xc5\x10\x00" + bytes(4096))
                for number in range(first, first + 200)
            ]
            data = packed.encode_frame(requests)
            wire.writer.write(mark(len(data)) + data)
        wire.abort()
