"""Requests and replies between the silos' directories, as MessagePack arrays. Part of the wire contract.

New fields go at the end. The class names do not travel.

Each request carries the version of the caller's view. An owner with an older view reads the table first. Therefore it
never decides under an older view than the caller's. Its reply carries its own version, so the caller can catch up.
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
PLACE = "directory.place"
"""The system targets of the directory, by the names under which they travel."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `GrainAddress`. The activation id is 16 bytes, because MessagePack integers end at 64 bits."""

    type: str
    key: str
    host: str
    port: int
    generation: int
    activation: bytes
    version: int


class Register(msgspec.Struct, frozen=True, array_like=True):
    """Request of `GrainDirectory.register`. The `Reply` carries the winner."""

    version: int
    address: Entry
    previous: Entry | None = None


class Lookup(msgspec.Struct, frozen=True, array_like=True):
    """Request of `GrainDirectory.lookup`, answered by `Reply`."""

    version: int
    type: str
    key: str


class Unregister(msgspec.Struct, frozen=True, array_like=True):
    """Request of `GrainDirectory.unregister`, answered by a `Reply` without an entry."""

    version: int
    address: Entry


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """An owner's decision under its view `version`, or a refusal. Wait `wait` seconds before repeating the request."""

    version: int
    refusal: Refusal | None = None
    entry: Entry | None = None
    wait: float = 0.0


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """A dead silo whose grains are held for `seconds` more."""

    host: str
    port: int
    generation: int
    seconds: float

    @property
    def silo(self) -> SiloAddress:
        """The dead silo."""
        return SiloAddress(self.host, self.port, self.generation)


Pairs = tuple[tuple[int, int], ...]
"""Ranges on the wire, as first and last hash. The exclusive end of the ring would need 65 bits."""


class Recover(msgspec.Struct, frozen=True, array_like=True):
    """Ask a silo for its registered activations in these ranges. Answered by `Recovered`."""

    version: int
    ranges: Pairs


class Recovered(msgspec.Struct, frozen=True, array_like=True):
    """The answering silo's registered activations in the requested ranges except `rest`. Request `rest` next.

    `behind` means that the silo could not read the caller's view in time, so it reports nothing. `holds` are its
    death holds; the caller may have joined after those deaths.
    """

    version: int
    entries: tuple[Entry, ...] = ()
    rest: Pairs = ()
    behind: bool = False
    holds: tuple[Hold, ...] = ()


class FetchSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """Ask the previous owner for ranges that it lost with the view of this version. Answered by `SnapshotPage`."""

    version: int
    ranges: Pairs


class SnapshotPage(msgspec.Struct, frozen=True, array_like=True):
    """The entries of the requested ranges except `rest` and `missing`.

    Request `rest` next. There is no snapshot of `missing`: recover those ranges from the hosts. `behind` is as in
    `Recovered`. In the ranges `in_doubt`, an absent grain may run on one of the silos in `holds`.
    """

    version: int
    entries: tuple[Entry, ...] = ()
    rest: Pairs = ()
    missing: Pairs = ()
    behind: bool = False
    holds: tuple[Hold, ...] = ()
    in_doubt: Pairs = ()


class SnapshotTaken(msgspec.Struct, frozen=True, array_like=True):
    """Acknowledge that the snapshot of these ranges has arrived, or is not needed. Answered by an empty reply."""

    version: int
    ranges: Pairs


class EndDuplicates(msgspec.Struct, frozen=True, array_like=True):
    """Ask a silo to end these activations. The reply is empty and comes once `losers` have ended, or after 2 s.

    Of the grains of `losers`, another activation is registered. `winners` are registered, but another activation ran
    beside them, so their state in memory may be out of date.
    """

    losers: tuple[Entry, ...]
    winners: tuple[Entry, ...] = ()


class Check(msgspec.Struct, frozen=True, array_like=True):
    """Ask an owner to compare these activations of the caller with its entries. Answered by `Checked`."""

    version: int
    entries: tuple[Entry, ...]


class Checked(msgspec.Struct, frozen=True, array_like=True):
    """The activations (by index) that are not the owner's entry of their grain, each with the entry or None.

    Valid only if `version` is that of the request.
    """

    version: int
    mismatches: tuple[tuple[int, Entry | None], ...] = ()


class Present(msgspec.Struct, frozen=True, array_like=True):
    """Ask a silo whether these activations of its own exist, in any phase. Answered by `Absent`."""

    entries: tuple[Entry, ...]


class Absent(msgspec.Struct, frozen=True, array_like=True):
    """The activations (by index) that do not exist. Activation ids are never reused, so this answer is final."""

    entries: tuple[int, ...] = ()


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Ask a silo that hosts the type to place this grain, which has no activation.

    `context` is the request context of the call, encoded as in a request. Answered by `Placed`.
    """

    type: str
    key: str
    context: bytes
    wanted: int = 0


class Placed(msgspec.Struct, frozen=True, array_like=True):
    """The silo for a new activation, or None and the text of the error that the placement raised.

    `retry_after`: seconds after which its Overloaded may be repeated; 0 for another error.
    """

    silo: SiloAddress | None
    problem: str = ""
    retry_after: float = 0.0


Message = TypeVar(
    "Message",
    Register,
    Lookup,
    Unregister,
    Reply,
    Recover,
    Recovered,
    EndDuplicates,
    FetchSnapshot,
    SnapshotPage,
    SnapshotTaken,
    Check,
    Checked,
    Present,
    Absent,
    Place,
    Placed,
)


def encode(message: msgspec.Struct) -> bytes:
    """Encode a message."""
    return msgspec.msgpack.encode(message)


def decode(kind: type[Message], data: bytes) -> Message:
    """Decode a message. Raises SiloUnavailable if the bytes are not such a message of this protocol version."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise SiloUnavailable(f"not a {kind.__name__} of this version of grange's directory: {error}") from error


def to_entry(address: GrainAddress) -> Entry:
    """The wire form of an address."""
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
    """The wire form of a set of ranges."""
    return tuple((part.start, part.end - 1) for part in ranges.ranges)


def to_ranges(pairs: Pairs) -> RangeSet:
    """The inverse of `to_pairs`."""
    return RangeSet(Range(first, last + 1) for first, last in pairs)
