"""State in Postgres: one row per record in `grange_state`, the payload as jsonb so that SQL can query it.

Changes that wait for each other are stored by one statement (`changes.py`); statements are prepared once per
connection by the driver. The connections of `open` skip
the session reset that asyncpg sends at every release, since nothing here changes a session; it would double
the round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias

import asyncpg

from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.proto.migrations import (
    ADVISORY_LOCK,
    CREATE_SCHEMA_TABLE,
    SCHEMA_TABLE,
    plan,
    shipped_migrations,
)
from grange.storage.changes import Change, Name
from grange.storage.database import DatabaseStorage
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.urls import has_valid_hosts, shown_hosts

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

COMPONENT = "storage"

_MIGRATION_SECONDS = 60.0

_KEY = "service = $1 AND grain_type = $2 AND grain_key = $3 AND state = $4"

_READ = f"SELECT payload::text, etag, schema FROM grange_state WHERE {_KEY}"

# Parameters of both: the service, and one array each of types, keys, state names, payloads, schemas (and etags).
# Payloads pass as text, so that a jsonb codec set on a caller's own pool is not involved.
_INSERT = """
INSERT INTO grange_state (service, grain_type, grain_key, state, payload, etag, schema)
SELECT $1, change.grain_type, change.grain_key, change.state, change.payload::jsonb, 1, change.schema
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::int[])
  AS change (grain_type, grain_key, state, payload, schema)
ON CONFLICT DO NOTHING RETURNING grain_type, grain_key, state, etag
"""

_UPDATE = """
UPDATE grange_state AS held
SET payload = change.payload::jsonb, etag = held.etag + 1, schema = coalesce(change.schema, held.schema)
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::bigint[])
  AS change (grain_type, grain_key, state, payload, schema, etag)
WHERE held.service = $1 AND held.grain_type = change.grain_type AND held.grain_key = change.grain_key
  AND held.state = change.state AND held.etag = change.etag
RETURNING held.grain_type, held.grain_key, held.state, held.etag
"""

# Statements at a time; more of them would store smaller batches.
_LANES = 4

# What passes by itself: the server starts, stops, fails over, is full, or a statement ran out of time.
_UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,  # the server said goodbye on a connection just as a statement began
)

_REFUSED_LOGIN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class PostgresStorage(DatabaseStorage):
    """Records in Postgres, through a pool that belongs to the caller and is left open.

    The tables must exist: `open` makes them, for a pool of your own call `migrate(connection)` first.
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
        payload, etag, schema = rows[0]
        return StateRecord(None if payload is None else payload.encode(), str(etag), schema)

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        stored: dict[Name, int] = {}
        for sql, some in (
            (_INSERT, [change for change in batch if change.etag == 0]),
            (_UPDATE, [change for change in batch if change.etag != 0]),
        ):
            if some:
                stored |= await self._store_alike(sql, some)
        return stored

    async def _store_alike(self, sql: str, batch: Sequence[Change]) -> dict[Name, int]:
        names = zip(*(change.name for change in batch), strict=True)
        columns = [*map(list, names), [c.payload for c in batch], [c.schema for c in batch]]
        if sql is _UPDATE:
            columns.append([change.etag for change in batch])
        try:
            with _typed_errors():
                rows = await self._fetch(sql, self._service, *columns)
        except StorageError as error:
            if len(batch) > 1 and not isinstance(error, StorageUnavailable):
                return await self._store_singly(sql, batch)
            # Not raised: the other statement of this batch may have been stored, and keeps its outcome.
            for change in batch:
                change.fail(error)
            return {}
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def _store_singly(self, sql: str, batch: Sequence[Change]) -> dict[Name, int]:
        """Nothing of a refused statement was stored: find out which change it was, and store the others."""
        stored: dict[Name, int] = {}
        for change in batch:
            stored |= await self._store_alike(sql, [change])
        return stored

    async def _fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        async with asyncio.timeout(self._options.operation_timeout):
            connection = await self._pool.acquire()
            try:
                return await connection.fetch(sql, *parameters)
            except (TimeoutError, asyncio.CancelledError):
                # Not handed back: its server may never answer the cancel request that a release waits for.
                connection.terminate()
                raise
            finally:
                await self._pool.release(connection)


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
def _typed_errors(prefix: str = "") -> Generator[None]:
    """Turn the driver's errors into grange's."""
    try:
        yield
    except TimeoutError:
        raise StorageUnavailable(f"{prefix}Postgres did not answer in time") from None
    except (*_UNAVAILABLE, *_REFUSED_LOGIN) as error:
        raise StorageUnavailable(f"{prefix}Postgres is not available: {error}") from error
    except asyncpg.InterfaceError as error:
        # A value that the protocol cannot carry; else a connection or pool that was closed under our hands.
        kind = StorageError if isinstance(error, ValueError) else StorageUnavailable
        raise kind(f"{prefix}the Postgres driver refused: {error}") from error
    except asyncpg.PostgresError as error:
        raise StorageError(f"{prefix}Postgres refused: {error}") from error
