"""Access to Postgres: a pool of connections, bounded operations, migrations, typed errors, and its safety check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import TypeAlias

import asyncpg

from grange.aio.awake import AwakeTimeout, AwakeTimer
from grange.databases.errors import (
    AnswerLost,
    DatabaseError,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    at_start,
    is_reset,
)
from grange.databases.findings import StoreFinding, judge_postgres, judge_upgrade
from grange.databases.migrations import ADVISORY_LOCK, CREATE_SCHEMA_TABLE, SCHEMA_TABLE, plan, shipped_migrations
from grange.databases.postgres_refusals import UNKNOWN, Login, is_startup_refusal, refusal
from grange.databases.urls import malformed, parse_url

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

Trial: TypeAlias = "Callable[[PostgresLink], Awaitable[list[StoreFinding]]]"
"""Does what a silo does with its tables. Returns findings about what does not work and is not always needed."""

FORM = "postgresql://user:password@host[:port]/database"

MIGRATION_TIMEOUT = 60.0
"""Seconds to bring the tables up to date; another silo may be doing it and hold the lock."""

CHECK_TIMEOUT = 5.0
"""Seconds for the connection and the questions of `check_postgres`."""

STATEMENT_CACHE = 100
"""Prepared statements that one connection keeps. 0 behind a pooler, which gives each transaction another session."""

_NAME: Mapping[str, str] = MappingProxyType({"application_name": "grange"})

_READ_COMMITTED = "read committed"
_ISOLATION = "default_transaction_isolation"
_TIMEOUT = "statement_timeout"

# The raw values: `current_setting` would show 1800 milliseconds as "1800ms", and 2000 as "2s".
_SESSION = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"

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

    def __init__(self, pool: Pool, name: str = "Postgres", login: Login = UNKNOWN, pooled: bool = False) -> None:
        self._pool = pool
        self._name = name
        self._login = login
        self.pooled = pooled
        """Whether a connection pooler is between: then sessions keep no setting of grange."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, connections: int, connect_timeout: float, statement_timeout: float
    ) -> AsyncGenerator[PostgresLink]:
        """A pool of at most `connections`, closed at exit. Connects once, to find out whether a pooler is between.

        Both time-outs are in seconds; the server ends a statement after `statement_timeout`, unless there is a pooler.
        Raises ConfigurationError with the remedy when a setting is wrong, and DatabaseError. No session reset is sent
        when a connection goes back: no code of grange changes a session, and asyncpg's reset would double the trips.
        """
        parsed = parse_url(url, FORM)
        login = Login(parsed.username or "the user", parsed.path[1:] or "the database")
        first = _FirstSession(url, f"Postgres at {parsed.target('the default host')}", login, connect_timeout)
        settings = {**_NAME, _TIMEOUT: f"{statement_timeout * 1000:.0f}", _ISOLATION: _READ_COMMITTED}
        with at_start():
            pooled = await first.is_pooled(settings)
        pool = await asyncpg.create_pool(
            url,
            # With a minimum, a task of asyncpg reconnects in competition with operations.
            min_size=0,
            max_size=connections,
            timeout=connect_timeout,
            server_settings=dict(_NAME if pooled else settings),
            statement_cache_size=0 if pooled else STATEMENT_CACHE,
            init=_learn_array_types if pooled else None,
            reset=_no_reset,
        )
        try:
            yield cls(pool, first.name, login, pooled)
        finally:
            # Close in order if the server answers, which keeps errors out of its log. Terminate in any case.
            with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with asyncio.timeout(connect_timeout):
                    await pool.close()
            pool.terminate()

    async def migrate(self, component: str) -> None:
        """See the function `migrate`. Raises ConfigurationError when a right is missing, and DatabaseError."""
        with at_start():
            try:
                async with self.connection(MIGRATION_TIMEOUT) as connection:
                    await migrate(connection, component)
            except DatabaseMisconfigured as error:
                raise DatabaseMisconfigured(f"the {component} tables cannot be opened or made: {error}") from error

    async def try_out(self, component: str, trial: Trial) -> list[StoreFinding]:
        """Run a trial on the tables of a component, in a transaction that is rolled back: nothing stays.

        Missing tables are made first, so a missing right to make them is found. Tables that the next start upgrades are
        not tried, only the right to upgrade them: an upgrade may rewrite a whole table. Raises what the trial raises,
        ConfigurationError when a setting is wrong, and DatabaseError.
        """
        with at_start():
            async with self.connection(MIGRATION_TIMEOUT) as connection:
                if await _needs_upgrade(connection, component):
                    return [judge_upgrade(component, self._login.user, await connection.fetchval(_MAY_UPGRADE))]
                transaction = connection.transaction()
                await transaction.start()
                try:
                    link = _TrialLink(self, connection)
                    await link.migrate(component)
                    return await trial(link)
                finally:
                    await transaction.rollback()

    @asynccontextmanager
    async def connection(self, seconds: float) -> AsyncGenerator[Connection]:
        """A connection of the pool; the wait for it and its use are bounded together. Raises DatabaseError.

        When the time is over, the connection is terminated. That ends every wait on it, also the wait for a roll-back
        or a cancel request, which a server that hangs never answers.
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

        with _typed_errors(self._name, self._login):
            limit = AwakeTimer(seconds, expire)
            try:
                async with acquiring:
                    connection = await self._acquire()
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

    async def _acquire(self) -> asyncpg.pool.PoolConnectionProxy[asyncpg.Record]:
        """A connection of the pool. The driver reads the URL, and the files that it names, for each new connection."""
        try:
            return await self._pool.acquire()
        except OSError:
            raise  # also ssl.SSLCertVerificationError, which is a ValueError too
        except ValueError:
            # The driver's message is not shown: it may hold the password.
            reason = "the Postgres driver refuses one of its options, or a file that it names"
            raise DatabaseUnavailable(f"{self._name} is not available: {reason}") from None


class _TrialLink(PostgresLink):
    """Runs every operation in one transaction that will be rolled back."""

    def __init__(self, link: PostgresLink, connection: Connection) -> None:
        super().__init__(link._pool, link._name, link._login, link.pooled)
        self._connection = connection

    @asynccontextmanager
    async def connection(self, seconds: float) -> AsyncGenerator[Connection]:
        """See `PostgresLink`. A savepoint surrounds each operation: a refused one does not spoil the next."""
        with _typed_errors(self._name, self._login):
            async with self._connection.transaction():
                yield self._connection


class _FirstSession:
    """Opens one session as the pool will, and finds out whether a connection pooler is between."""

    def __init__(self, url: str, name: str, login: Login, seconds: float) -> None:
        self._url = url
        self._login = login
        self._seconds = seconds
        self.name = name

    async def is_pooled(self, settings: Mapping[str, str]) -> bool:
        """Whether a pooler refuses these settings of a session, or ignores them.

        Raises DatabaseError, and ConfigurationError for an option in the URL that the driver refuses.
        """
        try:
            found = await self._settings_of_session(settings)
        except DatabaseMisconfigured as error:
            if not is_startup_refusal(str(error)):
                raise
            found = await self._without_settings(error)
        if found[_TIMEOUT] == settings[_TIMEOUT]:
            return False
        if found[_ISOLATION] != _READ_COMMITTED:
            raise DatabaseMisconfigured(
                f"{self.name}, a connection pooler, opens sessions with the isolation {found[_ISOLATION]}; "
                f"ALTER ROLE {self._login.user} SET {_ISOLATION} = '{_READ_COMMITTED}'"
            )
        return True

    async def _without_settings(self, refusal: DatabaseMisconfigured) -> dict[str, str]:
        try:
            return await self._settings_of_session(_NAME)
        except AnswerLost as error:
            if isinstance(error.__cause__, OSError | asyncpg.ConnectionDoesNotExistError):
                text = f"{refusal}. Without the parameter the connection failed, too: {error.__cause__}"
                raise DatabaseMisconfigured(text) from error
            raise

    async def _settings_of_session(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The isolation and the time-out of a session, read in a transaction, as every change is made in one.

        Statements have no names: behind a pooler another client may have used the same name in this session.
        """
        with _typed_errors(self.name, self._login):
            limit = AwakeTimeout(self._seconds)
            async with limit, self._session(settings) as connection, connection.transaction():
                rows = await connection.fetch(_SESSION, [_TIMEOUT, _ISOLATION])
        return {row["name"]: row["setting"] for row in rows}

    @asynccontextmanager
    async def _session(self, settings: Mapping[str, str]) -> AsyncGenerator[Connection]:
        connection = await self._connect(settings)
        try:
            yield connection
            await connection.close()
        finally:
            connection.terminate()

    async def _connect(self, settings: Mapping[str, str]) -> asyncpg.Connection[asyncpg.Record]:
        try:
            return await asyncpg.connection.connect(
                self._url, timeout=self._seconds, server_settings=dict(settings), statement_cache_size=0
            )
        except OSError:
            raise
        except ValueError:
            raise malformed(FORM, "the Postgres driver refuses one of its options") from None
        except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
            text = f"{self.name} refuses an option of its URL: {error}; correct or remove the option"
            raise DatabaseMisconfigured(text) from error


@contextmanager
def _typed_errors(name: str, login: Login) -> Generator[None]:
    """Turn the driver's errors into DatabaseError. A cancellation that such an error has replaced is restored."""
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    try:
        with _database_errors(name, login):
            yield
    except DatabaseError as error:
        # The roll-back of a transaction fails on a broken connection. Its error replaces the CancelledError.
        if task.cancelling() > cancellations:
            raise asyncio.CancelledError from error
        raise


@contextmanager
def _database_errors(name: str, login: Login) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise AnswerLost(f"{name} did not answer in time") from error
    except asyncpg.PostgresError as error:
        raise _database_error(error, name, login) from error
    except _LOST as error:
        if "rejected SSL upgrade" in str(error):
            text = f"{name} has no TLS, and its URL demands it; remove sslmode from the URL, or set ssl = on"
            raise DatabaseMisconfigured(text) from error
        raise AnswerLost(f"{name} is not available: {error}") from error
    except RuntimeError as error:
        if not is_reset(error):
            raise
        raise AnswerLost(f"{name} is not available: the connection was reset ({error})") from error
    except asyncpg.InterfaceError as error:
        # A value that the protocol cannot carry, or a connection or pool that was closed during the operation.
        kind = DatabaseError if isinstance(error, ValueError) else AnswerLost
        raise kind(f"the driver of {name} refused: {error}") from error


def _database_error(error: asyncpg.PostgresError, name: str, login: Login) -> DatabaseError:
    words = refusal(error.sqlstate or "", str(error), login)
    if words is not None:
        return DatabaseMisconfigured(f"{name}: {words}")
    if isinstance(error, _NOT_APPLIED):
        return DatabaseUnavailable(f"{name} is not available: {error}")
    if isinstance(error, _LOST):
        return AnswerLost(f"{name} is not available: {error}")
    return DatabaseError(f"{name} refused: {error}")


def _break(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
    """End every wait on a connection. The pool replaces it."""
    with suppress(asyncpg.InterfaceError):  # the pool has detached a connection that was lost or broken before
        connection.terminate()


async def _learn_array_types(connection: Connection) -> None:
    """Let the driver ask for the array types that grange uses, in one transaction.

    Around its question the driver switches JIT compilation off and on, by settings of the session. Outside of a
    transaction a pooler spreads these steps over several sessions: the question takes more than a second, and JIT
    stays off in a session of other clients.
    """
    async with connection.transaction():
        await connection.fetch("SELECT $1::text[], $2::bigint[], $3::integer[]", [], [], [])


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


async def _needs_upgrade(connection: Connection, component: str) -> bool:
    """Whether the tables exist and are older than this grange's."""
    applied = await _applied(connection, component)
    return bool(applied and plan(component, shipped_migrations(f"grange.{component}", "postgres"), applied))


_MAY_UPGRADE = """
SELECT has_schema_privilege(current_schema(), 'CREATE')
   AND coalesce(bool_and(pg_has_role(tableowner, 'USAGE')), true)
FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'grange\\_%'
"""

_SETTING_NAMES = ("in_recovery", "synchronous_commit", "fsync", "read_only", "statement_timeout", "version")
_SETTINGS = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END AS in_recovery,
    current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
    current_setting('default_transaction_read_only') AS read_only,
    current_setting('statement_timeout') AS statement_timeout,
    current_setting('server_version') AS version, to_regclass($1) IS NOT NULL AS has_schema
"""


async def check_postgres(url: str) -> list[StoreFinding]:
    """See `StoreCheck`. Opens a connection of its own, and changes nothing."""
    link_context = PostgresLink.open(url, 1, CHECK_TIMEOUT, CHECK_TIMEOUT)
    async with link_context as link, link.connection(CHECK_TIMEOUT) as connection:
        row = await connection.fetchrow(_SETTINGS, SCHEMA_TABLE)
        assert row is not None  # a SELECT without FROM has one row
        settings = {name: str(row[name]) for name in _SETTING_NAMES}
        query = f"SELECT component, version FROM {SCHEMA_TABLE}"
        applied = await connection.fetch(query) if row["has_schema"] else []
    pooler = {"pooler": "on" if link.pooled else "off"}
    return judge_postgres(settings | pooler, ((row["component"], row["version"]) for row in applied))
