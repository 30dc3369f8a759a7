"""State in Postgres: one row per record in `grange_state`, the payload as JSON so that SQL can query it.

Change sets that wait for each other are applied by one call of a function (`changes.py`, `postgres_sets.py`); the
driver prepares a statement once per connection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

from grange.aio.backoff import Backoff
from grange.databases.errors import DatabaseBusy, DatabaseMisconfigured
from grange.databases.findings import StoreFinding
from grange.databases.postgres import Pool, PostgresLink
from grange.databases.postgres_session import Connection
from grange.errors import StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.sets import Committed, Write
from grange.storage.stores.changes import Name, QueuedSet, Sending
from grange.storage.stores.database import DEATHS_KEPT, storage_error, storage_errors
from grange.storage.stores.postgres_queries import PostgresQueries
from grange.storage.stores.postgres_sets import SINGLE, PostgresBatch, ReminderBatch, batch_of, single
from grange.storage.trial import trial_grain, try_sets, try_storage

_KEY = "service = $1 AND grain_type = $2 AND grain_key = $3 AND state = $4"

_READ = f"SELECT payload::text, etag, schema, writer, write_number, claim FROM grange_state WHERE {_KEY}"

_READ_ALL = """
SELECT payload::text, etag, schema, writer, write_number, claim, held.grain_type, held.grain_key, held.state
FROM unnest($2::text[], $3::text[], $4::text[]) AS wanted (grain_type, grain_key, state)
JOIN grange_state AS held
  ON held.service = $1 AND held.grain_type = wanted.grain_type AND held.grain_key = wanted.grain_key
 AND held.state = wanted.state
"""

_CLAIM = """
SELECT payload, etag, schema, writer, write_number, claim, dead FROM grange_claim($1, $2, $3, $4, $5, $6, $7)
"""

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

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
"""Seconds before a batch is sent again that was undone in favour of another session."""

# Statements at a time. With more lanes each batch would be smaller.
_LANES = 4


class PostgresStorage(PostgresQueries):
    """Records in Postgres, through a pool that belongs to the caller and is left open.

    `open` makes the tables. For a pool of your own, call `grange.databases.postgres.migrate(connection, "storage")`
    first, and let its sessions default to the isolation "read committed": otherwise a dead silo may write.
    """

    def __init__(self, pool: Pool | PostgresLink, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._link = pool if isinstance(pool, PostgresLink) else PostgresLink(pool)
        self._rng = random.Random()  # noqa: S311 two sessions that were in each other's way must not meet again
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
            storage, (grain, writer) = cls(link, service, options), trial_grain()
            await try_sets(storage, grain, writer)
            return await try_storage(storage, grain, writer)

        async with _link(url, 1, options) as link:
            with storage_errors():
                return await link.try_out("storage", trial)

    async def _read(self, name: Name) -> StateRecord:
        rows = await self._fetch(_READ, self._service, *name)
        return _record(rows[0]) if rows else StateRecord(None, None)

    async def _read_all(self, names: Sequence[Name]) -> dict[Name, StateRecord]:
        rows = await self._fetch(_READ_ALL, self._service, *([name[part] for name in names] for part in range(3)))
        return {(row[6], row[7], row[8]): _record(row) for row in rows}

    async def _claim(self, name: Name, claim: int, writer: SiloAddress | None) -> StateRecord | None:
        by = (None, None) if writer is None else (writer.endpoint, writer.generation)
        rows = await self._fetch(_CLAIM, self._service, *name, claim, *by)
        if rows and rows[0][6]:
            return None
        return _record(rows[0]) if rows else StateRecord(None, None)

    async def _store(self, batch: Sequence[QueuedSet]) -> dict[QueuedSet, Committed]:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, self._rng)
        while True:
            try:
                return await self._apply(batch)
            except StorageError as error:
                busy = isinstance(error.__cause__, DatabaseBusy)
                if not busy and isinstance(error, StorageUnavailable | WriteOutcomeUnknown):
                    raise
                parts = _parts(batch, busy)
                if len(parts) > 1:
                    return await self._store_parts(parts)
                if not busy:
                    raise
            # A set whose time is over is not sent again.
            await asyncio.sleep(backoff.pause())

    async def _store_parts(self, parts: Sequence[Sequence[QueuedSet]]) -> dict[QueuedSet, Committed]:
        """Store parts of a batch of which nothing was stored, each on its own; none waits for another one."""
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self._store_part(part), name="grange-storage-part")
        return {}

    async def _store_part(self, part: Sequence[QueuedSet]) -> None:
        try:
            stored = await self._store(part)
        except StorageError as error:
            # Not raised: the other parts have their own outcomes.
            for queued in part:
                queued.fail(error)
        else:
            for queued in part:
                queued.end(stored.get(queued))

    async def _apply(self, batch: Sequence[QueuedSet]) -> dict[QueuedSet, Committed]:
        """Send a batch, again without the sets that do not hold: nothing of it was stored then."""
        if len(batch) == 1 and (write := batch[0].plain) is not None:
            etag = await self._send_one(batch, write)
            if etag is not None:
                return {batch[0]: Committed((str(etag),))}
        left = batch
        while True:
            call, rows = await self._send(left)
            if call.is_busy(rows):
                raise storage_error(DatabaseBusy("another session changes a record that is checked"))
            refused = call.refused(rows)
            if not refused:
                return call.outcomes(rows)
            left = [queued for queued in left if queued not in refused]

    async def _send(self, batch: Sequence[QueuedSet]) -> tuple[PostgresBatch | ReminderBatch, Sequence[Any]]:
        sending = Sending()
        with storage_errors(sending=sending):
            async with self._connection() as connection:
                call = batch_of(self._service, sending.begin(batch))
                return call, await connection.fetch(call.sql, *call.parameters) if call.parameters else []

    async def _send_one(self, batch: Sequence[QueuedSet], write: Write) -> int | None:
        """Send a plain write; None: it was not stored, and `_send` decides about it."""
        sending = Sending()
        with storage_errors(sending=sending):
            async with self._connection() as connection:
                if not sending.begin(batch):
                    return None
                return cast("int | None", await connection.fetchval(SINGLE, *single(self._service, batch[0], write)))

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
        rows = await self._fetch(_DEAD_GENERATION, self._service, endpoint)
        return rows[0][0] if rows else 0

    async def _fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        with storage_errors():
            async with self._connection() as connection:
                return await connection.fetch(sql, *parameters)

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        return self._link.connection(self._options.operation_timeout)


@asynccontextmanager
async def _link(url: str, connections: int, options: StorageOptions) -> AsyncGenerator[PostgresLink]:
    """A link. Its sessions are "read committed": `grange_apply` sees what was committed while it waited for a lock."""
    async with AsyncExitStack() as stack:
        with storage_errors("connection at start: "):
            opened = PostgresLink.open(url, connections, options.connect_timeout, options.operation_timeout)
            link = await stack.enter_async_context(opened)
        yield link


def _parts(batch: Sequence[QueuedSet], busy: bool) -> list[list[QueuedSet]]:
    """Cut a batch, so that one set does not harm others: the one that the database refuses, or one that waits."""
    plain = [queued for queued in batch if queued.plain is not None] if busy else []
    singles = [[queued] for queued in batch if queued.plain is None or not busy]
    return [plain, *singles] if plain else singles


def _record(row: Any) -> StateRecord:
    payload, etag, schema, writer, number, claim = row[:6]
    return StateRecord(
        None if payload is None else payload.encode(), str(etag), schema, stamp_of(writer, number), claim
    )
