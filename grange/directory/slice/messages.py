"""Questions and answers between slices, as msgspec MessagePack arrays. Part of the wire contract: add fields
at the end.

Each question carries the version of the asker's view. An owner that has not seen that view gets it first, so
that it never decides under an older view than the asker's; its reply carries its own version, so that the
asker can catch up.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from grange.directory.slice.partition import Refusal
from grange.directory.slice.ranges import RangeSet
from grange.errors import SiloUnavailable
from grange.membership.model.hash_ring import Range
from grange.proto.ids import GrainAddress, GrainId, SiloAddress

REGISTER = "directory.register"
LOOKUP = "directory.lookup"
UNREGISTER = "directory.unregister"
RECOVER = "directory.recover"
LOST = "directory.lost"
TAKE = "directory.take"
TAKEN = "directory.taken"
CHECK = "directory.check"
PRESENT = "directory.present"
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
    """An owner's decision under its view `version`, or why there is none; `wait` seconds before asking again."""

    version: int
    refusal: Refusal | None = None
    entry: Entry | None = None
    wait: float = 0.0


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """A dead silo whose grains are held, for so many more seconds."""

    host: str
    port: int
    generation: int
    seconds: float

    @property
    def silo(self) -> SiloAddress:
        """The dead silo."""
        return SiloAddress(self.host, self.port, self.generation)


Pairs = tuple[tuple[int, int], ...]
"""Ranges as they travel: first and last hash, because the end of the ring itself needs 65 bits."""


class Recover(msgspec.Struct, frozen=True, array_like=True):
    """What do you run in these ranges? Pairs of first and last hash. Answered by `Recovered`."""

    version: int
    ranges: Pairs


class Recovered(msgspec.Struct, frozen=True, array_like=True):
    """What the answering silo runs in the ranges asked for, except in `rest`: ask again for those.

    `behind` says that it has not seen the asker's view and could not get it, so it told nothing. `holds` are the holds
    it knows of; the asker may have joined after the deaths.
    """

    version: int
    entries: tuple[Entry, ...] = ()
    rest: Pairs = ()
    behind: bool = False
    holds: tuple[Hold, ...] = ()


class Take(msgspec.Struct, frozen=True, array_like=True):
    """Hand over these ranges, which you owned until the view of this version. Answered by `Handed`."""

    version: int
    ranges: Pairs


class Handed(msgspec.Struct, frozen=True, array_like=True):
    """The entries of the ranges asked for, except in `rest`: ask again for those; and except in `missing`: there is no
    snapshot of those, recover them otherwise.

    `behind` as in `Recovered`. In `doubtful` ranges an absent grain may run on one of the silos in `holds`.
    """

    version: int
    entries: tuple[Entry, ...] = ()
    rest: Pairs = ()
    missing: Pairs = ()
    behind: bool = False
    holds: tuple[Hold, ...] = ()
    doubtful: Pairs = ()


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """What was handed over of these ranges has arrived, or is not needed. Answered by nothing."""

    version: int
    ranges: Pairs


class Lost(msgspec.Struct, frozen=True, array_like=True):
    """These activations of yours are not their grains' one: another is registered. Answered by nothing, once they have
    ended, or could not soon.

    `doubted` are registered, but another one ran beside them: what they remember of their state may be out of date.
    """

    entries: tuple[Entry, ...]
    doubted: tuple[Entry, ...] = ()


class Check(msgspec.Struct, frozen=True, array_like=True):
    """We run these activations, registered with you under the view of this version. Answered by `Checked`."""

    version: int
    entries: tuple[Entry, ...]


class Checked(msgspec.Struct, frozen=True, array_like=True):
    """Which of the activations asked for (by index) the directory does not have: with what it has in their place.

    Means nothing unless `version` is that of the question.
    """

    version: int
    findings: tuple[tuple[int, Entry | None], ...] = ()


class Present(msgspec.Struct, frozen=True, array_like=True):
    """Are these activations of yours there, in whatever phase? Answered by `Absent`."""

    entries: tuple[Entry, ...]


class Absent(msgspec.Struct, frozen=True, array_like=True):
    """These (by index) are not; activation numbers never come again, so they never will be."""

    entries: tuple[int, ...] = ()


Message = TypeVar(
    "Message",
    Register,
    Lookup,
    Unregister,
    Reply,
    Recover,
    Recovered,
    Lost,
    Take,
    Handed,
    Taken,
    Check,
    Checked,
    Present,
    Absent,
)


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


def to_pairs(ranges: RangeSet) -> Pairs:
    """Ranges as they travel."""
    return tuple((part.start, part.end - 1) for part in ranges.ranges)


def to_ranges(pairs: Pairs) -> RangeSet:
    """The inverse of `to_pairs`."""
    return RangeSet(Range(first, last + 1) for first, last in pairs)
