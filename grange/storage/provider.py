"""The storage contract: one record per (grain, state name), guarded by an etag and by the death of its writer.

A record's payload is JSON text in UTF-8: the databases store it as JSON, so that people and SQL can read it. A provider
never parses it. `schema` is the version of the state's type, stored beside the payload.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import msgspec

from grange.databases.findings import StoreFinding
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.sets import ChangeSet, Committed, ReminderRow, Stamp


class StateRecord(msgspec.Struct, frozen=True):
    """The result of a read. `payload` None: no record; `etag` None: never written (or deleted on clear).

    `stamp` is that of the last change of the record; None: that change had none.
    """

    payload: bytes | None
    etag: str | None
    schema: int = 1
    stamp: Stamp | None = None
    claim: int | None = None
    """The newest claim of this record (`ClaimStorage`); None: it was never claimed."""


class RecordName(msgspec.Struct, frozen=True, order=True):
    """The key of a stored record inside one grain type, as lists are ordered: by grain key, then by state name."""

    key: str
    state: str


class GrainStorage(Protocol):
    """A database of grain state. Called by `GuardedStorage`; each operation is for one record, and atomic.

    Etags are opaque to callers; each successful write or clear yields one that this record never had before. A payload
    comes back byte for byte: the order of members and the text of numbers are part of the value.

    Each outcome has its own error. `StorageUnavailable`: the database cannot be reached or did not answer a read; a
    change was certainly not applied. `WriteOutcomeUnknown`: the change was sent and its answer was lost; it may have
    been applied, or may still be applied later. `StorageError`: any other refusal, for example of a payload over the
    limit or a name with NUL characters (see `record.py`). Driver exceptions never escape.
    """

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """The stored record, or StateRecord(None, None) when there is none."""
        ...

    async def write(
        self,
        grain_id: GrainId,
        state: str,
        payload: bytes,
        etag: str | None,
        schema: int = 1,
        stamp: Stamp | None = None,
    ) -> str:
        """Store `payload` if the record's etag is still `etag` (None: there must be no record).

        Returns the new etag. The record then carries `stamp`. If it carries this stamp already, the same change has
        been applied before: nothing is changed, and its etag is returned again. So it is safe to repeat a stamped
        change whose answer was lost.

        Raises `InconsistentStateError` with both etags when the etag is another one, and with `fenced` when the
        stamp's writer has been fenced; the record is then unchanged.
        """
        ...

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """Remove the payload if the etag is still `etag`. Returns the etag to use next (None: no row is left).

        A clear of a record that was never written (etag None) succeeds and stores nothing. Otherwise as `write`.
        """
        ...

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """Refuse all changes stamped by these silos from now on. Repeating it is harmless.

        Fencing a generation fences all earlier ones of its endpoint. After this has returned, no change of a fenced
        silo is applied, not even one that was sent before: the check of the writer and the change are one atomic step.
        Recorded deaths are kept for at least a week, also across restarts if the storage is durable. Raises
        StorageUnavailable; some of the silos may then be fenced, and the caller repeats the call.
        """
        ...


@runtime_checkable
class FenceRecords(Protocol):
    """A storage that tells which deaths it has recorded. Those of grange do; a silo asks at its start if it can."""

    async def fenced_generation(self, endpoint: str) -> int:
        """The latest generation of this endpoint that `fence` was called with; 0: none. Changes nothing.

        Raises `StorageUnavailable` when the database does not answer.
        """
        ...


@runtime_checkable
class SetStorage(Protocol):
    """A storage that applies change sets. Those of grange do. A storage without it keeps plain state only."""

    async def commit(self, changes: ChangeSet) -> Committed:
        """Apply every item of the set, or none. The check of all items and their change are one atomic step.

        A set whose stamp all its records (or, without records, its inbox rows and reminders) carry already has been
        applied before: nothing is changed, and the etags are returned again.

        Raises `InconsistentStateError` that names an item that does not hold: an etag, a claim, an id that has an
        answer, a reminder's etag, or with `fenced` the recorded death of any writer. Raises `UniqueValueError` when
        another record has a unique value, and `StorageError` for items that the store does not keep. Nothing is
        changed then. `StorageUnavailable` and `WriteOutcomeUnknown` are as in `GrainStorage.write`, for the whole set.
        """
        ...

    async def received(self, grain_id: GrainId, id: str) -> bytes | None:
        """The kept answer of a call with this id. None: there is none, or it has expired."""
        ...


@runtime_checkable
class ClaimStorage(Protocol):
    """A storage that lets the newest reader of a record be its only writer. Those of grange do."""

    async def claim(self, grain_id: GrainId, state: str, claim: int, writer: SiloAddress | None = None) -> StateRecord:
        """Read a record and set its claim, in one round trip. From now on a write with another claim is refused.

        `claim` is a random number of 63 bits that no other activation has. The etag stays. A record that does not exist
        cannot be claimed: the first write must find no record, and sets its claim. Repeating it is harmless. A claim
        needs no wait for the disk: if a crash of the database loses it, the writes that name it are refused.

        Raises `InconsistentStateError` with `fenced` when the death of `writer` is recorded, and as `read` does.
        """
        ...


@runtime_checkable
class QueryStorage(Protocol):
    """A storage that lists its records and finds them by indexed fields. Those of grange do."""

    async def list_records(
        self, grain_type: str, prefix: str = "", after: RecordName | None = None, limit: int = 100
    ) -> list[RecordName]:
        """The next records that hold a value, whose grain key begins with `prefix`, in order of code points.

        Fewer than `limit`: there are no more. Records that are written meanwhile may be missing.
        """
        ...

    async def find(self, query: Query) -> list[str]:
        """The grain keys of the records that match."""
        ...


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which records of a grain type and state name to find: all that have these values in indexed fields.

    Without `order_by` the keys come in order of code points, and `after` (a key) continues a list. With `order_by`, an
    indexed field, they come by its value, equal values by key; records without this field are left out, and `offset`
    continues a list.
    """

    grain_type: str
    state: str
    where: Mapping[str, str | float] = {}
    order_by: str | None = None
    descending: bool = False
    after: str | None = None
    offset: int = 0
    limit: int = 100


@runtime_checkable
class ReminderStorage(Protocol):
    """A storage that keeps reminders; `SetStorage.commit` changes them. Those of grange do."""

    async def now(self) -> int:
        """The clock of the store in microseconds of Unix time. One clock for all silos says when a reminder is due."""
        ...

    async def reminders_of(self, grain_id: GrainId) -> list[ReminderRow]:
        """All reminders of one grain, ordered by name."""
        ...

    async def reminders_due(self, slots: Collection[int], until: int, limit: int) -> list[ReminderRow]:
        """The reminders of these slots that are due at `until` (microseconds of Unix time) or before.

        They come by due time; of more than `limit` the earliest.
        """
        ...

    async def reminders_parked(self, slots: Collection[int], limit: int) -> list[ReminderRow]:
        """The reminders of these slots that are never due (`due` None), ordered by grain and name."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A storage around another one: it has the methods of all protocols, and serves those that the other one has."""

    def offers(self, protocol: type[Any]) -> bool:
        """Whether it serves this protocol."""
        ...


P = TypeVar("P")


def offered(storage: GrainStorage, protocol: type[P]) -> P | None:
    """The storage as one of this protocol; None if it does not serve it."""
    serves = storage.offers(protocol) if isinstance(storage, Selective) else isinstance(storage, protocol)
    return cast("P", storage) if serves else None


class StorageFactory(Protocol):
    """A class that opens a storage from a URL; entry points of the group `grange.storage` name one."""

    @classmethod
    def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AbstractAsyncContextManager[GrainStorage]:
        """Open connections, bring the schema up to date, and close all of it at exit.

        `service` is part of every key, so that several applications share one database. Raises
        `ConfigurationError` for a malformed URL, a setting that is wrong (a password, a right) or a schema newer than
        this grange, and
        `StorageUnavailable` when the database cannot be reached at start. No message shows the URL's secrets.
        """
        ...


@runtime_checkable
class TriedStorageFactory(Protocol):
    """A StorageFactory that can find out, at a silo's start and for `grange doctor`, whether a silo could work."""

    @classmethod
    async def try_out(cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> list[StoreFinding]:
        """Do what a silo does, and leave nothing behind. Returns findings about what works, and what is restricted.

        Raises `ConfigurationError` when a setting must change before a silo can work, and `StorageError`.
        """
        ...
