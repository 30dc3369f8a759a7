"""State in Postgres: one row per record in `grange_state`, the payload as jsonb so that SQL can query it.

Each operation is one statement, prepared once per connection by the driver. The connections of `open` skip
the session reset that asyncpg sends at every release, since nothing here changes a session; it would double
the round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import asyncpg

from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.proto.ids import GrainId
from grange.proto.migrations import (
    ADVISORY_LOCK,
    CREATE_SCHEMA_TABLE,
    SCHEMA_TABLE,
    plan,
    shipped_migrations,
)
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import check_name, check_payload, check_service, etag_number, inconsistent
from grange.storage.urls import has_valid_hosts

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

COMPONENT = "storage"

_MIGRATION_SECONDS = 60.0

_KEY = "service = $1 AND grain_type = $2 AND grain_key = $3 AND state = $4"

_READ = f"SELECT payload::text, etag, schema FROM grange_state WHERE {_KEY}"

# Payloads pass as text, so that a jsonb codec set on a caller's own pool is not involved.
_INSERT = """
INSERT INTO grange_state (service, grain_type, grain_key, state, payload, etag, schema)
VALUES ($1, $2, $3, $4, $5::text::jsonb, 1, $6)
ON CONFLICT DO NOTHING RETURNING etag
"""

_UPDATE = f"""
UPDATE grange_state SET payload = $5::text::jsonb, etag = etag + 1, schema = $6
WHERE {_KEY} AND etag = $7 RETURNING etag
"""

_CLEAR = f"UPDATE grange_state SET payload = NULL, etag = etag + 1 WHERE {_KEY} AND etag = $5 RETURNING etag"

# What passes by itself: the server starts, stops, fails over, is full, or a statement ran out of time.
_UNAVAILABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleSessionTimeoutError,
)

_REFUSED_LOGIN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class PostgresStorage:
    """Records in Postgres, through a pool that belongs to the caller and is left open.

    The tables must exist: `open` makes them, for a pool of your own call `migrate(connection)` first.
    """

    def __init__(self, pool: Pool, service: str, options: StorageOptions = DEFAULT_OPTIONS) -> None:
        self._pool = pool
        self._service = check_service(service)
        self._options = options

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[PostgresStorage]:
        """Connect to `postgresql://user:password@host[:port]/database` and bring its tables up to date."""
        async with _opened_pool(url, options) as pool:
            with _typed_errors("migration of the state tables"):
                async with pool.acquire() as connection:
                    await migrate(connection)
            yield cls(pool, service, options)

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        row = await self._row("read", _READ, grain_id, state)
        if row is None:
            return StateRecord(None, None)
        payload, etag, schema = row
        return StateRecord(None if payload is None else payload.encode(), str(etag), schema)

    async def write(self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1) -> str:
        """See `GrainStorage.write`."""
        text = check_payload(grain_id, state, payload, self._options.payload_limit)
        if etag is None:
            row = await self._row("write", _INSERT, grain_id, state, text, schema)
        else:
            row = await self._row("write", _UPDATE, grain_id, state, text, schema, etag_number(etag))
        return str(row[0]) if row is not None else await self._refuse(grain_id, state, etag)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None) -> str | None:
        """See `GrainStorage.clear`."""
        if etag is None:
            held = await self.read(grain_id, state)
            if held.etag is not None:
                raise inconsistent(grain_id, state, stored=held.etag, given=None)
            return None
        row = await self._row("clear", _CLEAR, grain_id, state, etag_number(etag))
        return str(row[0]) if row is not None else await self._refuse(grain_id, state, etag)

    async def _refuse(self, grain_id: GrainId, state: str, given: str | None) -> str:
        held = await self.read(grain_id, state)
        raise inconsistent(grain_id, state, stored=held.etag, given=given)

    async def _row(self, verb: str, sql: str, grain_id: GrainId, state: str, *rest: Any) -> Any:
        check_name(self._service, grain_id, state)
        with _typed_errors(f"{verb} of state {state!r} of {grain_id}"):
            async with asyncio.timeout(self._options.operation_timeout):
                connection = await self._pool.acquire()
                try:
                    row = await connection.fetchrow(sql, self._service, grain_id.type, grain_id.key, state, *rest)
                except (TimeoutError, asyncio.CancelledError):
                    # Not handed back: its server may never answer the cancel request that a release waits for.
                    connection.terminate()
                    raise
                finally:
                    await self._pool.release(connection)
        return row


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
        with _typed_errors("connection at start"):
            await _connect_once(pool)
        yield pool
    finally:
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
def _typed_errors(what: str) -> Generator[None]:
    """Turn the driver's errors into grange's."""
    try:
        yield
    except TimeoutError:
        raise StorageUnavailable(f"Postgres did not answer in time: {what}") from None
    except (*_UNAVAILABLE, *_REFUSED_LOGIN) as error:
        raise StorageUnavailable(f"Postgres is not available for the {what}: {error}") from error
    except asyncpg.InterfaceError as error:
        # A value that the protocol cannot carry; else a connection or pool that was closed under our hands.
        kind = StorageError if isinstance(error, ValueError) else StorageUnavailable
        raise kind(f"the Postgres driver refused the {what}: {error}") from error
    except (asyncpg.PostgresError, asyncpg.InternalClientError) as error:
        raise StorageError(f"Postgres refused the {what}: {error}") from error
