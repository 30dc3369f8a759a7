"""State in Postgres: one row per record in `grange_state`, the payload as jsonb so that SQL can query it.

Changes that wait for each other are stored by one statement (`changes.py`); the driver prepares a statement once per
connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg

from grange.databases.errors import DatabaseMisconfigured
from grange.databases.findings import StoreFinding
from grange.databases.postgres import Pool, PostgresLink
from grange.databases.postgres_session import Connection
from grange.errors import StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.stores.changes import Change, Name, Sending
from grange.storage.stores.database import DEATHS_KEPT, DatabaseStorage, storage_errors
from grange.storage.trial import trial_grain, try_storage

_KEY = "service = $1 AND grain_type = $2 AND grain_key = $3 AND state = $4"

_READ = f"SELECT payload::text, etag, schema, writer, write_number FROM grange_state WHERE {_KEY}"

# Parameters: the service, the writer's endpoint and generation, and one array each of the changes' numbers, types,
# keys, state names, payloads, schemas and etags. Payloads pass as text, so that a jsonb codec set on a caller's own
# pool is not involved. The functions are in `migrations/postgres/0002_fences.sql`.
_STORE = "SELECT * FROM grange_store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

_RECORDED = """
SELECT silo.endpoint, silo.generation FROM unnest($2::text[], $3::bigint[]) AS silo (endpoint, generation)
JOIN grange_dead_silos AS dead
  ON dead.service = $1 AND dead.endpoint = silo.endpoint AND dead.generation >= silo.generation
"""
_RECORD_DEATH = "SELECT grange_fence($1, $2, $3)"
_DEAD_GENERATION = "SELECT generation FROM grange_dead_silos WHERE service = $1 AND endpoint = $2"
_DELETE_OLD_DEATHS = (
    f"DELETE FROM grange_dead_silos WHERE service = $1 AND recorded < now() - interval '{DEATHS_KEPT} seconds'"
)

# Statements at a time. With more lanes each batch would be smaller.
_LANES = 4


class PostgresStorage(DatabaseStorage):
    """Records in Postgres, through a pool that belongs to the caller and is left open.

    `open` makes the tables. For a pool of your own, call `grange.databases.postgres.migrate(connection, "storage")`
    first, and let its sessions default to the isolation "read committed": otherwise a dead silo may write.
    """

    def __init__(self, pool: Pool | PostgresLink, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._link = pool if isinstance(pool, PostgresLink) else PostgresLink(pool)
        super().__init__(service, options, _LANES)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[PostgresStorage]:
        """Connect to `postgresql://user:password@host[:port]/database` and bring its tables up to date."""
        async with _link(url, options.connections, options) as link:
            with storage_errors("migration of the state tables: "):
                await link.migrate("storage")
            storage = cls(link, service, options)
            try:
                yield storage
            finally:
                await storage.flush()

    @classmethod
    async def try_out(cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> list[StoreFinding]:
        """See `TriedStorageFactory`."""

        async def trial(link: PostgresLink) -> list[StoreFinding]:
            return await try_storage(cls(link, service, options), *trial_grain())

        async with _link(url, 1, options) as link:
            with storage_errors():
                return await link.try_out("storage", trial)

    async def _read(self, name: Name) -> StateRecord:
        with storage_errors():
            rows = await self._fetch(_READ, self._service, *name)
        if not rows:
            return StateRecord(None, None)
        payload, etag, schema, writer, number = rows[0]
        stamp = stamp_of(writer, number)
        return StateRecord(None if payload is None else payload.encode(), str(etag), schema, stamp)

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        sending = Sending()
        try:
            with storage_errors(sending=sending):
                rows = await self._send(batch, sending)
        except StorageError as error:
            if len(batch) > 1 and not isinstance(error, StorageUnavailable | WriteOutcomeUnknown):
                return await self._store_singly(batch)
            raise
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def _store_singly(self, batch: Sequence[Change]) -> dict[Name, int]:
        """Store each change alone: nothing of a refused statement was stored, and only one change may be the reason."""
        stored: dict[Name, int] = {}
        for change in batch:
            try:
                stored |= await self._store([change])
            except StorageError as error:
                # Not raised: the other changes have their own outcomes.
                change.fail(error)
        return stored

    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        names = [silo.endpoint for silo in silos], [silo.generation for silo in silos]
        with storage_errors():
            async with self._connection() as connection:
                recorded = {(row[0], row[1]) for row in await connection.fetch(_RECORDED, self._service, *names)}
                new = [silo for silo in silos if (silo.endpoint, silo.generation) not in recorded]
                for silo in new:
                    await connection.fetch(_RECORD_DEATH, self._service, silo.endpoint, silo.generation)
            with suppress(DatabaseMisconfigured):  # another silo's user may have the right to delete
                async with self._connection() as connection:
                    await connection.fetch(_DELETE_OLD_DEATHS, self._service)

    async def _dead_generation(self, endpoint: str) -> int:
        with storage_errors():
            rows = await self._fetch(_DEAD_GENERATION, self._service, endpoint)
        return rows[0]["generation"] if rows else 0

    async def _send(self, batch: Sequence[Change], sending: Sending) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            wanted = sending.begin(batch)
            return await connection.fetch(_STORE, self._service, *_columns(wanted)) if wanted else []

    async def _fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            return await connection.fetch(sql, *parameters)

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        return self._link.connection(self._options.operation_timeout)


@asynccontextmanager
async def _link(url: str, connections: int, options: StorageOptions) -> AsyncGenerator[PostgresLink]:
    """A link. Its sessions are "read committed": `grange_store` sees what was committed while it waited for a lock."""
    async with AsyncExitStack() as stack:
        with storage_errors("connection at start: "):
            opened = PostgresLink.open(url, connections, options.connect_timeout, options.operation_timeout)
            link = await stack.enter_async_context(opened)
        yield link


def _columns(batch: Sequence[Change]) -> list[Any]:
    """The parameters of `_STORE` after the service. All changes of a batch have one writer."""
    writer = batch[0].writer
    return [
        *((None, None) if writer is None else (writer.endpoint, writer.generation)),
        [None if change.stamp is None else change.stamp.number for change in batch],
        *map(list, zip(*(change.name for change in batch), strict=True)),
        [change.payload for change in batch],
        [change.schema for change in batch],
        [change.etag for change in batch],
    ]
