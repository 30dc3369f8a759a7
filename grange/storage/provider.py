"""The storage contract: one record per (grain, state name), guarded by an etag and by the death of its writer.

A record's payload is JSON text in UTF-8: the databases store it as JSON, so that people and SQL can read it. A provider
never parses it. `schema` is the version of the state's type, stored beside the payload.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import msgspec

from grange.databases.findings import StoreFinding
from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions


class Stamp(msgspec.Struct, frozen=True):
    """Identifies one change: the writer's silo, generation included, and the number of this change in that silo.

    No two changes have the same stamp, so it identifies a change that was sent and never answered. It is stored beside
    the payload.
    """

    writer: SiloAddress
    number: int


class StateRecord(msgspec.Struct, frozen=True):
    """The result of a read. `payload` None: no record; `etag` None: never written (or deleted on clear).

    `stamp` is that of the last change of the record; None: that change had none.
    """

    payload: bytes | None
    etag: str | None
    schema: int = 1
    stamp: Stamp | None = None


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
