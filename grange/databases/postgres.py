"""Access to Postgres: a pool of connections, bounded operations, migrations, typed errors, and its safety check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import asyncpg

from grange.aio.awake import AwakeTimer
from grange.databases.credentials import CredentialSource, replacing
from grange.databases.errors import (
    DatabaseMisconfigured,
    DatabaseUnavailable,
    at_start,
    is_reset,
)
from grange.databases.findings import StoreFinding
from grange.databases.judges import judge_postgres, judge_upgrade
from grange.databases.migrations import (
    ADVISORY_LOCK,
    CREATE_SCHEMA_TABLE,
    MIGRATION_TIMEOUT,
    SCHEMA_TABLE,
    SchemaState,
    plan,
    schema_state,
    shipped_migrations,
)
from grange.databases.postgres_refusals import UNKNOWN, Login
from grange.databases.postgres_session import (
    FORM,
    ISOLATION,
    NAME,
    READ_COMMITTED,
    TIMEOUT,
    Connection,
    FirstSession,
    learn_array_types,
    typed_errors,
)
from grange.databases.urls import parse_url

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

Trial: TypeAlias = "Callable[[PostgresLink], Awaitable[list[StoreFinding]]]"
"""Does what a silo does with its tables. Returns findings about what does not work and is not always needed."""

CHECK_TIMEOUT = 5.0
"""Seconds for the connection and the questions of `check_postgres`."""

STATEMENT_CACHE = 100
"""Prepared statements that one connection keeps. 0 behind a pooler, which gives each transaction another session."""


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
        source = CredentialSource(url, FORM)
        login = Login(source.last.username or "the user", parsed.path[1:] or "the database")
        first = FirstSession(source, f"Postgres at {parsed.target('the default host')}", login, connect_timeout)
        settings = {**NAME, TIMEOUT: f"{statement_timeout * 1000:.0f}", ISOLATION: READ_COMMITTED}
        with at_start():
            pooled = await first.is_pooled(settings)
        pool = await asyncpg.create_pool(
            source.url,
            # With a minimum, a task of asyncpg reconnects in competition with operations.
            min_size=0,
            max_size=connections,
            timeout=connect_timeout,
            connect=first.connect,
            server_settings=dict(NAME if pooled else settings),
            statement_cache_size=0 if pooled else STATEMENT_CACHE,
            init=learn_array_types if pooled else None,
            reset=_no_reset,
        )
        try:
            async with replacing(source, first.name, lambda: first.is_pooled(settings), pool.expire_connections):
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

        with typed_errors(self._name, self._login):
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
        with typed_errors(self._name, self._login):
            async with self._connection.transaction():
                yield self._connection


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


async def _needs_upgrade(connection: Connection, component: str) -> bool:
    """Whether the tables exist and are older than this grange's."""
    applied = await _applied(connection, component)
    return bool(applied and plan(component, shipped_migrations(f"grange.{component}", "postgres"), applied))


async def postgres_schema(url: str, component: str) -> SchemaState:
    """See `SchemaReader`. Opens a connection of its own."""
    link_context = PostgresLink.open(url, 1, CHECK_TIMEOUT, CHECK_TIMEOUT)
    async with link_context as link, link.connection(CHECK_TIMEOUT) as connection:
        return schema_state(component, "postgres", await _applied(connection, component))


_MAY_UPGRADE = """
SELECT has_schema_privilege(current_schema(), 'CREATE')
   AND coalesce(bool_and(pg_has_role(tableowner, 'USAGE')), true)
FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'grange\\_%'
"""

_SETTINGNAMES = ("in_recovery", "synchronous_commit", "fsync", "read_only", "statement_timeout", "version")
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
        settings = {name: str(row[name]) for name in _SETTINGNAMES}
        query = f"SELECT component, version FROM {SCHEMA_TABLE}"
        applied = await connection.fetch(query) if row["has_schema"] else []
    pooler = {"pooler": "on" if link.pooled else "off"}
    return judge_postgres(settings | pooler, ((row["component"], row["version"]) for row in applied))
