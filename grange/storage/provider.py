"""The storage contract: one record per (grain, state name), guarded by an etag and by the death of its writer.

A record's payload is JSON text in UTF-8: the databases store it as such so that people and SQL can read it. A
provider never looks inside. `schema` is the version of the state's type, stored beside the payload.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from grange.proto.ids import GrainId, SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions


class Stamp(msgspec.Struct, frozen=True):
    """Which change by whom: the writer's silo, generation included, and the number of this change in that silo.

    No two changes have the same stamp, so a change that was sent and never answered is known by it. It is stored
    beside the payload.
    """

    writer: SiloAddress
    number: int


class StateRecord(msgspec.Struct, frozen=True):
    """What a read returns. `payload` None: no record; `etag` None: never written (or deleted on clear).

    `stamp` is that of the change that made the record what it is; None: written without one.
    """

    payload: bytes | None
    etag: str | None
    schema: int = 1
    stamp: Stamp | None = None


class GrainStorage(Protocol):
    """A database of grain state. Called by `GuardedStorage`; each operation is for one record, and atomic.

    Etags are opaque to callers; each successful write or clear yields one that this record never had
    before. Payloads come back equal as JSON values, not as bytes: Postgres' jsonb sorts the members of
    objects, drops white space and writes 1e2 as 100.

    Outcomes are kept apart. `StorageUnavailable`: the database cannot be reached or did not answer a read; the
    change was certainly not applied. `WriteOutcomeUnknown`: the change had left and its answer was lost; it may
    have been applied, or may be yet. `StorageError`: anything else that is refused, such as a payload over the
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

        Returns the new etag. The record then carries `stamp`; if it does already, this very change has been
        applied before: nothing is changed, and its etag is returned once more. So repeating a stamped change whose
        answer was lost is safe.

        Raises `InconsistentStateError` with both etags when the etag is another one, and with `fenced` when the
        stamp's writer has been fenced; the record is then unchanged.
        """
        ...

    async def clear(self, grain_id: GrainId, state: str, etag: str | None, stamp: Stamp | None = None) -> str | None:
        """Remove the payload if the etag is still `etag`. Returns the etag to use next (None: no row is
        left).

        Clearing what was never written (etag None) succeeds and stores nothing. Otherwise as `write`.
        """
        ...

    async def fence(self, silos: Collection[SiloAddress]) -> None:
        """Refuse all changes stamped by these silos from now on. Repeating it is harmless.

        A generation that is fenced takes all earlier ones of its endpoint with it. Once this has returned, no change
        of a fenced silo is applied any more, also none that had been sent before: the check of the writer and the
        change are one step. Records of deaths are kept for a week at least, also across restarts if the storage
        is durable. Raises StorageUnavailable; some of the silos may then be fenced, and the call is to be repeated.
        """
        ...


class StorageFactory(Protocol):
    """What an entry point of the group `grange.storage` names: a class that opens itself from a URL."""

    @classmethod
    def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AbstractAsyncContextManager[GrainStorage]:
        """Open connections, bring the schema up to date, and close all of it at exit.

        `service` is part of every key, so that several applications share one database. Raises
        `ConfigurationError` for a malformed URL, a refused password or a schema newer than this grange, and
        `StorageUnavailable` when the database cannot be reached at start. No message shows the URL's secrets.
        """
        ...
