"""Questions and answers between slices, as msgspec MessagePack arrays. Part of the wire contract: add fields
at the end.

Each question carries the version of the asker's view. An owner that has not seen that view gets it first, so
that it never decides under an older view than the asker's; its reply carries its own version, so that the
asker can catch up.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from grange.directory.partition import Refusal
from grange.directory.ranges import RangeSet
from grange.errors import SiloUnavailable
from grange.membership.ring import Range
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

REGISTER = "directory.register"
LOOKUP = "directory.lookup"
UNREGISTER = "directory.unregister"
RECOVER = "directory.recover"
LOST = "directory.lost"
"""The system targets of this room."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `GrainAddress`; the activation as 16 bytes, because MessagePack integers end at 64 bits."""

    type: str
    key: str
    host: str
    port: int
    generation: int
    activation: bytes
    version: int


class Register(msgspec.Struct, frozen=True, array_like=True):
    """`GrainDirectory.register`; answered by `Reply` with the winner."""

    version: int
    address: Entry
    previous: Entry | None = None


class Lookup(msgspec.Struct, frozen=True, array_like=True):
    """`GrainDirectory.lookup`; answered by `Reply`."""

    version: int
    type: str
    key: str


class Unregister(msgspec.Struct, frozen=True, array_like=True):
    """`GrainDirectory.unregister`; answered by `Reply` without an entry."""

    version: int
    address: Entry


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """An owner's decision under its view `version`, or why there is none."""

    version: int
    refusal: Refusal | None = None
    entry: Entry | None = None


class Recover(msgspec.Struct, frozen=True, array_like=True):
    """What do you run in these ranges? Pairs of first and last hash. Answered by `Recovered`."""

    version: int
    ranges: tuple[tuple[int, int], ...]


class Recovered(msgspec.Struct, frozen=True, array_like=True):
    """What the answering silo runs in the ranges asked for, except in `rest`: ask again for those.

    `behind` says that it has not seen the asker's view and could not get it, so it told nothing.
    """

    version: int
    entries: tuple[Entry, ...] = ()
    rest: tuple[tuple[int, int], ...] = ()
    behind: bool = False


class Lost(msgspec.Struct, frozen=True, array_like=True):
    """These activations of yours are not their grains' one: another is registered. Answered by nothing."""

    entries: tuple[Entry, ...]


Message = TypeVar("Message", Register, Lookup, Unregister, Reply, Recover, Recovered, Lost)


def encode(message: msgspec.Struct) -> bytes:
    """A message as bytes."""
    return msgspec.msgpack.encode(message)


def decode(kind: type[Message], data: bytes) -> Message:
    """The inverse of `encode`. Raises SiloUnavailable when the other side speaks another protocol."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise SiloUnavailable(f"not a {kind.__name__} of this version of grange's directory: {error}") from error


def to_entry(address: GrainAddress) -> Entry:
    """An address as it travels."""
    grain_id, silo = address.grain_id, address.silo
    activation = address.activation.to_bytes(16, "big")
    return Entry(grain_id.type, grain_id.key, silo.host, silo.port, silo.generation, activation, address.version)


def to_address(entry: Entry) -> GrainAddress:
    """The inverse of `to_entry`."""
    return GrainAddress(
        GrainId(entry.type, entry.key),
        SiloAddress(entry.host, entry.port, entry.generation),
        int.from_bytes(entry.activation, "big"),
        entry.version,
    )


def to_pairs(ranges: RangeSet) -> tuple[tuple[int, int], ...]:
    """Ranges as they travel: first and last hash, because the end of the ring itself needs 65 bits."""
    return tuple((part.start, part.end - 1) for part in ranges.ranges)


def to_ranges(pairs: tuple[tuple[int, int], ...]) -> RangeSet:
    """The inverse of `to_pairs`."""
    return RangeSet(Range(first, last + 1) for first, last in pairs)
