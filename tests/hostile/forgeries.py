"""Greetings and frames that an attacker forges, for both roads."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec

from grange.proto import codec, packed
from grange.proto.codec import encode_greeting
from grange.proto.handshake import Hello, Role
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.message import GOODBYE, Cancel, Message, Reason, Rejection, Request, Response, Status
from tests.hostile.places import Place

CANARY = "canary-7f3a91"
"""A secret that attackers send. It must never be in a log."""

DEEP = 100_000
"""Levels of a nested value: far more than any decoder may follow."""

HUGE = 0xFFFFFFF0


def hello(place: Place, **fields: object) -> Hello:
    """A Hello that the port admits, with these changes."""
    role = Role.SILO if place.role == "silo" else Role.CLIENT
    made = Hello("default", role, "attacker", SiloAddress("127.0.0.1", 1, 1) if role is Role.SILO else None, packed=1)
    return msgspec.structs.replace(made, **fields)


def greeting(place: Place, **fields: object) -> bytes:
    return encode_greeting(hello(place, **fields))


def bad_greetings(place: Place) -> Iterator[bytes]:
    """First frames that are refused: replayed, foreign, too large, and no greetings at all."""
    here = SiloAddress(place.host, place.port, 1)
    yield greeting(place, target=here)  # kept from an earlier run of the silo
    yield greeting(place, target=SiloAddress("10.9.8.7", 11111, 5))
    yield greeting(place, cluster="another")
    yield greeting(place, cluster="x" * 30_000)
    yield greeting(place, role=Role.CLIENT if place.role == "silo" else Role.SILO, address=here)
    yield greeting(place, protocol_min=99, protocol_max=99)
    yield greeting(place, token=CANARY * 1000)
    yield greeting(place, client_key=bytes(10_000))
    yield greeting(place, name="\x1b[2J" * 1000, target=here)
    yield b""
    yield b"\xff" * 1000
    yield b"\x0a" + b"\xff\xff\xff\xff\x07"  # a Hello of 2 GiB, of which nothing comes
    yield codec.encode_frame([Request(1, GrainId("victim", "a"), "ping", b"\x90")])
    yield packed.encode_frame([Response(1, b"\xc0")])


def nested(depth: int = DEEP) -> bytes:
    """MessagePack: a list in a list in a list."""
    return b"\x91" * depth + b"\xc0"


def bombs(place: Place) -> Iterator[bytes]:
    """Packed frames that would take much more memory, or stack, than they have bytes."""
    request = Request(1, GrainId("victim", "a"), "echo", b"\x91" + nested())
    yield packed.encode_frame([request])
    yield nested()
    yield b"\xdd\xff\xff\xff\xff"  # a list of 4 G items
    yield b"\xdf\xff\xff\xff\xff" * 1000  # mappings of 4 G items
    yield b"\x91\xc6\xff\xff\xff\xff"  # 4 GiB of bytes
    yield packed.encode_frame(
        [Request(n, GrainId("victim", "a"), "echo", b"\xdd\x7f\xff\xff\xff") for n in range(1, 500)]
    )
    yield b"\x91" * 4 + b"\x90" * 1_000_000
    yield packed.encode_frame([Request(1, GrainId("victim", "a"), "echo", b"\x91\xdc\xff\xff" + b"\x90" * 65_535)])


def forged(dice: Random) -> Iterator[list[Message]]:
    """Messages that nothing asked for, or that no honest peer sends."""
    victim = GrainId("victim", "a")
    yield [Response(number, b"\xc0") for number in range(1000)]
    yield [Rejection(number, Reason.OVERLOADED, CANARY) for number in range(1000)]
    yield [GOODBYE] * 100
    yield [Cancel(number, interrupt=True) for number in range(1000)]
    yield [Status(number, CANARY * 100) for number in range(100)]
    yield [Request(7, victim, "ping", b"\x90"), Request(7, victim, "ping", b"\x90")]
    yield [Request(n, GrainId("grange.system", name), "ask", b"\x90") for n, name in enumerate(SERVICES, 1)]
    yield [Request(n, GrainId(CANARY, str(n)), CANARY, b"\x90") for n in range(1, 500)]
    yield [Request(n, GrainId("victim", "\x00" * 100), "__init__", dice.randbytes(100)) for n in range(1, 100)]
    yield [Request(1, victim, "ping", b"\x90", chain=dice.randbytes(1000), context=nested(5000))]
    yield [Request(1, victim, "ping", b"\x90", principal=b"\xa5admin" * 2, traceparent="0" * 5000)]


SERVICES = ("membership.table", "directory", "management.act", "shutdown", "migration", CANARY)
"""Names of services, some of them real ones that clients may not ask."""


def mutated(dice: Random, number: int) -> Iterator[bytes]:
    """Packed frames of which some bytes have changed."""
    good = packed.encode_frame([Request(n, GrainId("victim", "a"), "ping", b"\x90") for n in range(1, 30)])
    for _ in range(number):
        bad = bytearray(good)
        for _ in range(dice.randint(1, 6)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        yield bytes(bad)
