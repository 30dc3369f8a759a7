"""The storage contract: one record per (grain, state name), guarded by an etag.

A record's payload is JSON text in UTF-8: the databases store it as such so that people and SQL can read it. A
provider never looks inside. `schema` is the version of the state's type, stored beside the payload.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from grange.proto.ids import GrainId
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions


class StateRecord(msgspec.Struct, frozen=True):
    """What a read returns. `payload` None: no record; `etag` None: never written (or deleted on clear)."""

    payload: bytes | None
    etag: str | None
    schema: int = 1


class GrainStorage(Protocol):
    """A database of grain state. Called by `PersistentState`; each operation is for one record, and atomic.

    Etags are opaque to callers; each successful write or clear yields one that this record never had
    before. Payloads come back equal as JSON values, not as bytes: Postgres' jsonb sorts the members of
    objects, drops white space and writes 1e2 as 100. All operations raise `StorageUnavailable` when the
    database cannot be reached or does not answer in time (a write that raises it may have been applied) and
    `StorageError` for anything else that is refused: a payload over the limit, a name or payload with NUL
    characters (see `record.py`). Driver exceptions never escape.
    """

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """The stored record, or StateRecord(None, None) when there is none."""
        ...

    async def write(self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1) -> str:
        """Store `payload` if the record's etag is still `etag` (None: there must be no record).

        Returns the new etag.

        Raises `InconsistentStateError` with both etags when it is not; the record is then unchanged.
        """
        ...

    async def clear(self, grain_id: GrainId, state: str, etag: str | None) -> str | None:
        """Remove the payload if the etag is still `etag`. Returns the etag to use next (None: no row is
        left).

        Clearing what was never written (etag None) succeeds and stores nothing. Raises
        `InconsistentStateError` as `write` does.
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
