"""State in Postgres: one row per record in `grange_state`, the payload as jsonb so that SQL can query it.

Changes that wait for each other are stored by one statement (`changes.py`); statements are prepared once per
connection by the driver. The connections of `open` skip the session reset that asyncpg sends at every release, since
nothing here changes a session; it would double the round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias

import asyncpg

from grange.aio.awake import AwakeTimeout
from grange.databases.migrations import (
    ADVISORY_LOCK,
    CREATE_SCHEMA_TABLE,
    SCHEMA_TABLE,
    plan,
    shipped_migrations,
)
from grange.databases.resets import is_reset
from grange.errors import ConfigurationError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import SiloAddress
from grange.storage.changes import Change, Name, Sending
from grange.storage.database import DEATHS_KEPT, DatabaseStorage
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.urls import has_valid_hosts, shown_hosts

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

COMPONENT = "storage"

_MIGRATION_SECONDS = 60.0

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
_FENCE = "SELECT grange_fence($1, $2, $3)"
_FORGET = f"DELETE FROM grange_dead_silos WHERE service = $1 AND recorded < now() - interval '{DEATHS_KEPT} seconds'"

# Statements at a time; more of them would store smaller batches.
_LANES = 4

_REFUSED_LOGIN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)

# What passes by itself: the server is full, or a statement ran out of time. It answered, so the statement was undone.
_NOT_APPLIED = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
    *_REFUSED_LOGIN,
)

# The connection ended: the server starts, stops, fails over. If a change was under way, nobody knows.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,  # the server said goodbye on a connection just as a statement began
)


class PostgresStorage(DatabaseStorage):
    """Records in Postgres, through a pool that belongs to the caller and is left open.

    The tables must exist: `open` makes them, for a pool of your own call `migrate(connection)` first, and have its
    sessions default to the isolation "read committed", or the dead may write.
    """

    def __init__(self, pool: Pool, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._pool = pool
        super().__init__(service, options, _LANES)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[PostgresStorage]:
        """Connect to `postgresql://user:password@host[:port]/database` and bring its tables up to date."""
        async with _opened_pool(url, options) as pool:
            with _typed_errors("migration of the state tables: "):
                async with pool.acquire() as connection:
                    await migrate(connection)
            storage = cls(pool, service, options)
            try:
                yield storage
            finally:
                await storage.flush()

    async def _read(self, name: Name) -> StateRecord:
        with _typed_errors():
            rows = await self._fetch(_READ, self._service, *name)
        if not rows:
            return StateRecord(None, None)
        payload, etag, schema, writer, number = rows[0]
        stamp = stamp_of(writer, number)
        return StateRecord(None if payload is None else payload.encode(), str(etag), schema, stamp)

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        sending = Sending()
        try:
            with _typed_errors(sending=sending):
                rows = await self._send(batch, sending)
        except StorageError as error:
            if len(batch) > 1 and not isinstance(error, StorageUnavailable | WriteOutcomeUnknown):
                return await self._store_singly(batch)
            raise
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def _store_singly(self, batch: Sequence[Change]) -> dict[Name, int]:
        """Nothing of a refused statement was stored: find out which change it was, and store the others."""
        stored: dict[Name, int] = {}
        for change in batch:
            try:
                stored |= await self._store([change])
            except StorageError as error:
                # Not raised: the others have their own outcomes.
                change.fail(error)
        return stored

    async def _bury(self, silos: Sequence[SiloAddress]) -> None:
        names = [silo.endpoint for silo in silos], [silo.generation for silo in silos]
        with _typed_errors():
            recorded = {(row[0], row[1]) for row in await self._fetch(_RECORDED, self._service, *names)}
            for silo in silos:
                if (silo.endpoint, silo.generation) not in recorded:
                    await self._fetch(_FENCE, self._service, silo.endpoint, silo.generation)
            with suppress(asyncpg.InsufficientPrivilegeError):  # a user who may not delete leaves it to others
                await self._fetch(_FORGET, self._service)

    async def _is_dead(self, writer: SiloAddress) -> bool:
        with _typed_errors():
            return bool(await self._fetch(_RECORDED, self._service, [writer.endpoint], [writer.generation]))

    async def _send(self, batch: Sequence[Change], sending: Sending) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            wanted = sending.begin(batch)
            return await connection.fetch(_STORE, self._service, *_columns(wanted)) if wanted else []

    async def _fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            return await connection.fetch(sql, *parameters)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        """A connection of the pool; the wait for it and its use are bounded together."""
        async with AwakeTimeout(self._options.operation_timeout):
            connection = await self._pool.acquire()
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                # Not handed back: its server may never answer the cancel request that a release waits for.
                connection.terminate()
                raise
            finally:
                await self._pool.release(connection)


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


async def migrate(connection: Connection) -> None:
    """Bring the tables up to date under an advisory lock, which is taken only if something is missing.

    Processes that start at once wait for each other. Raises ConfigurationError when the database is newer.
    """
    known = shipped_migrations("grange.storage", "postgres")
    if not plan(COMPONENT, known, await _applied(connection)):
        return
    async with connection.transaction():
        await connection.execute(f"SET LOCAL statement_timeout = {_MIGRATION_SECONDS * 1000:.0f}")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        await connection.execute(CREATE_SCHEMA_TABLE)
        for migration in plan(COMPONENT, known, await _applied(connection)):
            await connection.execute(migration.sql)
            await connection.execute(
                f"INSERT INTO {SCHEMA_TABLE} (component, version, name) VALUES ($1, $2, $3)",
                COMPONENT,
                migration.version,
                migration.name,
            )


async def _applied(connection: Connection) -> list[int]:
    if await connection.fetchval("SELECT to_regclass($1)", SCHEMA_TABLE) is None:
        return []
    rows = await connection.fetch(f"SELECT version FROM {SCHEMA_TABLE} WHERE component = $1", COMPONENT)
    return [row[0] for row in rows]


@asynccontextmanager
async def _opened_pool(url: str, options: StorageOptions) -> AsyncGenerator[Pool]:
    settings = {
        "application_name": "grange",
        "statement_timeout": f"{options.operation_timeout * 1000:.0f}",
        # `grange_store` must see what was committed while it waited for its lock, whatever the database's default is.
        "default_transaction_isolation": "read committed",
    }
    if not has_valid_hosts(url):
        raise _malformed()
    pool = await asyncpg.create_pool(
        url,
        # With a minimum, a task of asyncpg's reconnects in competition with our operations.
        min_size=0,
        max_size=options.connections,
        timeout=options.connect_timeout,
        server_settings=settings,
        reset=_no_reset,
    )
    try:
        with _typed_errors(f"connection to {shown_hosts(url)} at start: "):
            await _connect_once(pool)
        yield pool
    finally:
        # In order if the server listens, so that its log stays clean; in any case closed.
        with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with asyncio.timeout(options.connect_timeout):
                await pool.close()
        pool.terminate()


async def _connect_once(pool: Pool) -> None:
    try:
        await pool.release(await pool.acquire())
    except _REFUSED_LOGIN as error:
        raise ConfigurationError(f"Postgres refused the login that its URL names: {error}") from None
    except ValueError:
        raise _malformed() from None


def _malformed() -> ConfigurationError:
    # Neither the URL nor the driver's message is shown: both may hold the password.
    return ConfigurationError(
        "the Postgres URL is malformed, or the driver refuses one of its options; "
        "expected postgresql://user:password@host[:port]/database"
    )


async def _no_reset(connection: Connection) -> None:
    """Nothing in this file changes a session, so there is nothing to reset."""


@contextmanager
def _typed_errors(prefix: str = "", sending: Sending | None = None) -> Generator[None]:
    """Turn the driver's errors into grange's."""
    lost = sending if sending is not None else Sending()
    try:
        yield
    except TimeoutError:
        raise lost.lost(f"{prefix}Postgres did not answer in time") from None
    except _NOT_APPLIED as error:
        raise StorageUnavailable(f"{prefix}Postgres is not available: {error}") from error
    except _LOST as error:
        raise lost.lost(f"{prefix}Postgres is not available: {error}") from error
    except RuntimeError as error:
        if not is_reset(error):
            raise
        raise lost.lost(f"{prefix}Postgres is not available: the connection was reset ({error})") from error
    except asyncpg.InterfaceError as error:
        # A value that the protocol cannot carry; else a connection or pool that was closed under our hands.
        kind = StorageError if isinstance(error, ValueError) else lost.lost
        raise kind(f"{prefix}the Postgres driver refused: {error}") from error
    except asyncpg.PostgresError as error:
        raise StorageError(f"{prefix}Postgres refused: {error}") from error
