"""The change set: what one commit changes in a store, whole or not at all. Pure.

A set holds writes of records, checks of records that were only read, results of calls (the inbox) and changes of
reminders. Every store of grange applies a set in one atomic step, fenced by the deaths of its writers
(`provider.py`, `SetStorage`). The idea: streams, transactions and journals are more kinds of items in the same set.
"""

from __future__ import annotations

import msgspec

from grange.proto.ids import GrainId, SiloAddress

SLOT_BITS = 10
SLOTS = 1 << SLOT_BITS
"""The hash ring is cut into this many equal arcs. A reminder lies in the arc of its grain."""


def slot_of(grain_id: GrainId) -> int:
    """The arc of the hash ring that holds this grain: 0 to SLOTS - 1."""
    return grain_id.ring_hash >> (64 - SLOT_BITS)


class Stamp(msgspec.Struct, frozen=True):
    """Identifies one change: the writer's silo, generation included, and the number of this change in that silo.

    No two changes have the same stamp, so it identifies a change that was sent and never answered. It is stored beside
    the payload.
    """

    writer: SiloAddress
    number: int


class IndexEntry(msgspec.Struct, frozen=True):
    """The value of one indexed field of a state. Texts and numbers are ordered among themselves, not with each other.

    With `unique`, a store refuses a second record of the same grain type and state name with this value.
    """

    field: str
    value: str | float
    unique: bool = False


class JournalEvent(msgspec.Struct, frozen=True):
    """An event of a journaled state. Room for event sourcing: no store keeps events yet, and each refuses them."""

    kind: str
    payload: bytes
    schema: int = 1


class Write(msgspec.Struct, frozen=True):
    """Store the payload of one record, or clear it (payload None), if its etag is still `etag`.

    `etag` None: there must be no record. `claim` is the claim that the record must carry, see `ClaimStorage`; None: it
    is not compared. `stamp` None: the stamp of the set. `index` replaces all index entries of the record.
    """

    grain_id: GrainId
    state: str
    payload: bytes | None
    etag: str | None
    schema: int = 1
    claim: int | None = None
    stamp: Stamp | None = None
    index: tuple[IndexEntry, ...] = ()
    events: tuple[JournalEvent, ...] = ()


class Check(msgspec.Struct, frozen=True):
    """A record that must still have this etag, and this claim unless None. `etag` None: there must be no record."""

    grain_id: GrainId
    state: str
    etag: str | None
    claim: int | None = None


class Received(msgspec.Struct, frozen=True):
    """The kept answer of a call with an idempotency key. The set is refused if the grain has an answer for `id`.

    `result` is JSON text. It is kept for `keep` seconds by the clock of the store; later it counts as absent.
    """

    grain_id: GrainId
    id: str
    result: bytes
    keep: float


class ReminderRow(msgspec.Struct, frozen=True):
    """A stored reminder. `slot` is that of its grain (`slot_of`).

    `due` is the next due time in microseconds of Unix time; None: it is never due. `entry` is JSON text with all else
    (schedule, payload, policy); stores do not parse it. `etag` is drawn by the silo that writes the row, and never
    twice, so a row that was removed and made again is never taken for the earlier one.
    """

    grain_id: GrainId
    name: str
    slot: int
    due: int | None
    entry: bytes
    etag: str


class ReminderChange(msgspec.Struct, frozen=True):
    """Replace the row of one reminder, if its etag is still `held` (None: there must be no row).

    `row` None removes it. A row that has the etag of `row` already shows that the change has been applied before.
    """

    grain_id: GrainId
    name: str
    held: str | None
    row: ReminderRow | None


class Append(msgspec.Struct, frozen=True):
    """An entry of a log. Room for streams: no store keeps logs yet, and each refuses them."""

    log: str
    partition: int
    key: str
    kind: str
    payload: bytes
    schema: int = 1
    headers: bytes | None = None


class ChangeSet(msgspec.Struct, frozen=True):
    """Changes that a store applies whole or not at all. At most one item for each record, id and reminder.

    `stamp` identifies the set, so it is safe to send it again after a lost answer. None: the change of a tool, which
    no death fences.
    """

    stamp: Stamp | None
    writes: tuple[Write, ...] = ()
    checks: tuple[Check, ...] = ()
    received: tuple[Received, ...] = ()
    reminders: tuple[ReminderChange, ...] = ()
    appends: tuple[Append, ...] = ()

    def stamp_of(self, write: Write) -> Stamp | None:
        """The stamp that the record carries after this write."""
        return self.stamp if write.stamp is None else write.stamp

    @property
    def writers(self) -> frozenset[SiloAddress]:
        """The silos whose recorded death refuses the set."""
        stamps = (self.stamp, *(write.stamp for write in self.writes))
        return frozenset(stamp.writer for stamp in stamps if stamp is not None)


class Committed(msgspec.Struct, frozen=True):
    """The outcome of a commit: the new etags, in the order of `writes`. None: no row is left."""

    etags: tuple[str | None, ...]
