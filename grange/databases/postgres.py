"""Access to Postgres: a pool of connections, bounded operations, migrations, typed errors, and its safety check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import TypeAlias

import asyncpg

from grange.aio.awake import AwakeTimer
from grange.databases.errors import AnswerLost, DatabaseError, DatabaseUnavailable, is_reset
from grange.databases.findings import StoreFinding, judge_postgres
from grange.databases.migrations import ADVISORY_LOCK, CREATE_SCHEMA_TABLE, SCHEMA_TABLE, plan, shipped_migrations
from grange.databases.urls import malformed, parse_url
from grange.errors import ConfigurationError

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

FORM = "postgresql://user:password@host[:port]/database"

MIGRATION_TIMEOUT = 60.0
"""Seconds to bring the tables up to date; another silo may be doing it and hold the lock."""

CHECK_TIMEOUT = 5.0
"""Seconds for the connection and the questions of `check_postgres`."""

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

_REFUSED_LOGIN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)

# The server answered that it undid the statement. The cause may pass: the server is full, or the statement timed out.
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

# The connection ended: the server starts, stops or fails over. The outcome of a change that was under way is unknown.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,  # the server ended the connection just as a statement began
)


class PostgresLink:
    """A pool of connections to one Postgres, with bounded operations and typed errors."""

    def __init__(self, pool: Pool, place: str = "") -> None:
        self._pool = pool
        self._name = f"Postgres at {place}" if place else "Postgres"

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, connections: int, connect_timeout: float, settings: Mapping[str, str] = _NO_SETTINGS
    ) -> AsyncGenerator[PostgresLink]:
        """A pool of at most `connections`, closed at exit. Connects when a connection is first needed.

        `connect_timeout` is in seconds; `settings` are session parameters. Raises ConfigurationError for a malformed
        URL. No session reset is sent when a connection goes back: no code of grange changes a session, and the reset
        that asyncpg sends would double the round trips.
        """
        parsed = parse_url(url, FORM)
        pool = await asyncpg.create_pool(
            url,
            # With a minimum, a task of asyncpg reconnects in competition with operations.
            min_size=0,
            max_size=connections,
            timeout=connect_timeout,
            server_settings=dict(settings),
            reset=_no_reset,
        )
        try:
            yield cls(pool, parsed.target("the default host"))
        finally:
            # Close in order if the server answers, which keeps errors out of its log. Terminate in any case.
            with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with asyncio.timeout(connect_timeout):
                    await pool.close()
            pool.terminate()

    async def connect(self) -> None:
        """Connect once. Raises ConfigurationError when the server refuses the login, and DatabaseError."""
        try:
            with self._errors():
                await self._pool.release(await self._acquire(opening=True))
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, _REFUSED_LOGIN):
                text = f"{self._name} refused the login that its URL names: {error.__cause__}"
                raise ConfigurationError(text) from None
            raise

    async def migrate(self, component: str) -> None:
        """See the function `migrate`."""
        async with self.connection(MIGRATION_TIMEOUT, opening=True) as connection:
            await migrate(connection, component)

    @asynccontextmanager
    async def connection(self, seconds: float, *, opening: bool = False) -> AsyncGenerator[Connection]:
        """A connection of the pool; the wait for it and its use are bounded together. Raises DatabaseError.

        When the time is over, the connection is terminated. That ends every wait on it, also the wait for a roll-back
        or a cancel request, which a server that hangs never answers. With `opening` it also raises ConfigurationError
        for an option in the URL that the driver refuses.
        """
        connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | None = None
        is_over = False
        acquiring = asyncio.timeout(None)

        def expire() -> None:
            nonlocal is_over
            is_over = True
            if connection is None:
                acquiring.reschedule(0)  # at once
            else:
                _break(connection)

        with self._errors():
            limit = AwakeTimer(seconds, expire)
            try:
                async with acquiring:
                    connection = await self._acquire(opening)
                if is_over:
                    raise TimeoutError
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                if connection is not None:
                    _break(connection)
                raise
            except (OSError, RuntimeError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                is_defect = isinstance(error, RuntimeError) and not is_reset(error)
                if is_over and not is_defect:
                    raise TimeoutError from error
                raise
            finally:
                limit.stop()
                if connection is not None:
                    await self._pool.release(connection)

    async def _acquire(self, opening: bool) -> asyncpg.pool.PoolConnectionProxy[asyncpg.Record]:
        """A connection of the pool. The driver reads the URL, and the files that it names, for each new connection."""
        try:
            return await self._pool.acquire()
        except OSError:
            raise  # also ssl.SSLCertVerificationError, which is a ValueError too
        except ValueError:
            # The driver's message is not shown: it may hold the password.
            reason = "the Postgres driver refuses one of its options"
            if opening:
                raise malformed(FORM, reason) from None
            raise DatabaseUnavailable(f"{self._name} is not available: {reason}, or a file that it names") from None

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Turn the driver's errors into DatabaseError. A cancellation that such an error has replaced is restored."""
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        try:
            with self._database_errors():
                yield
        except DatabaseError as error:
            # The roll-back of a transaction fails on a broken connection. Its error replaces the CancelledError.
            if task.cancelling() > cancellations:
                raise asyncio.CancelledError from error
            raise

    @contextmanager
    def _database_errors(self) -> Generator[None]:
        try:
            yield
        except TimeoutError as error:
            raise AnswerLost(f"{self._name} did not answer in time") from error
        except _NOT_APPLIED as error:
            raise DatabaseUnavailable(f"{self._name} is not available: {error}") from error
        except _LOST as error:
            raise AnswerLost(f"{self._name} is not available: {error}") from error
        except RuntimeError as error:
            if not is_reset(error):
                raise
            raise AnswerLost(f"{self._name} is not available: the connection was reset ({error})") from error
        except asyncpg.InterfaceError as error:
            # A value that the protocol cannot carry, or a connection or pool that was closed during the operation.
            kind = DatabaseError if isinstance(error, ValueError) else AnswerLost
            raise kind(f"the driver of {self._name} refused: {error}") from error
        except asyncpg.PostgresError as error:
            raise DatabaseError(f"{self._name} refused: {error}") from error


def _break(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
    """End every wait on a connection. The pool replaces it."""
    with suppress(asyncpg.InterfaceError):  # the pool has detached a connection that was lost or broken before
        connection.terminate()


async def _no_reset(connection: Connection) -> None:
    """No code of grange changes a session, so there is nothing to reset."""


async def migrate(connection: Connection, component: str) -> None:
    """Bring the tables of a component, such as "storage", up to date. Safe when several processes start at once.

    Takes an advisory lock, and only if something is missing. Raises ConfigurationError when the database is newer than
    this grange, and the driver's errors.
    """
    known = shipped_migrations(f"grange.{component}", "postgres")
    if not plan(component, known, await _applied(connection, component)):
        return
    async with connection.transaction():
        await connection.execute(f"SET LOCAL statement_timeout = {MIGRATION_TIMEOUT * 1000:.0f}")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        await connection.execute(CREATE_SCHEMA_TABLE)
        for migration in plan(component, known, await _applied(connection, component)):
            await connection.execute(migration.sql)
            row = (component, migration.version, migration.name)
            await connection.execute(f"INSERT INTO {SCHEMA_TABLE} (component, version, name) VALUES ($1, $2, $3)", *row)


async def _applied(connection: Connection, component: str) -> list[int]:
    if await connection.fetchval("SELECT to_regclass($1)", SCHEMA_TABLE) is None:
        return []
    rows = await connection.fetch(f"SELECT version FROM {SCHEMA_TABLE} WHERE component = $1", component)
    return [row[0] for row in rows]


_SETTINGS = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END AS in_recovery,
    current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
    current_setting('server_version') AS version, to_regclass($1) IS NOT NULL AS has_schema
"""


async def check_postgres(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Opens a connection of its own, and changes nothing."""
    link_context = PostgresLink.open(url, 1, CHECK_TIMEOUT)
    async with link_context as link, link.connection(CHECK_TIMEOUT, opening=True) as connection:
        row = await connection.fetchrow(_SETTINGS, SCHEMA_TABLE)
        assert row is not None  # a SELECT without FROM has one row
        names = ("in_recovery", "synchronous_commit", "fsync", "version")
        settings = {name: str(row[name]) for name in names}
        query = f"SELECT component, version FROM {SCHEMA_TABLE}"
        applied = await connection.fetch(query) if row["has_schema"] else []
    return judge_postgres(settings, ((row["component"], row["version"]) for row in applied))
