"""Sessions of Postgres: whether a connection pooler is between, and the driver's errors as errors of databases.

Used by `postgres.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, TypeAlias

import asyncpg

from grange.aio.awake import AwakeTimeout
from grange.aio.uninterrupted import uninterrupted
from grange.databases.credentials import CredentialSource
from grange.databases.errors import (
    AnswerLost,
    DatabaseBusy,
    DatabaseError,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    is_reset,
)
from grange.databases.postgres_refusals import Login, is_startup_refusal, refusal
from grange.databases.urls import Credentials, malformed

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

FORM = "postgresql://user:password@host[:port]/database"

NAME: Mapping[str, str] = MappingProxyType({"application_name": "grange"})

READ_COMMITTED = "read committed"
ISOLATION = "default_transaction_isolation"
TIMEOUT = "statement_timeout"

OPENING_GRACE = 0.5
"""Seconds that a cancelled start gives a connection to open before it cancels it."""

# The raw values: `current_setting` would show 1800 milliseconds as "1800ms", and 2000 as "2s".
_SESSION = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"

# The server answered that it undid the statement. The cause may pass: the server is full, or the statement timed out.
_NOT_APPLIED = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
)

# The server undid the statement in favour of another session's.
_BUSY = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

# The connection ended: the server starts, stops or fails over. The outcome of a change that was under way is unknown.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InternalClientError,  # the server ended the connection just as a statement began
)


class FirstSession:
    """Opens one session as the pool will, and finds out whether a connection pooler is between."""

    def __init__(self, source: CredentialSource, name: str, login: Login, seconds: float) -> None:
        self.connect = Connector(source, name)
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
        if found[TIMEOUT] == settings[TIMEOUT]:
            return False
        if found[ISOLATION] != READ_COMMITTED:
            raise DatabaseMisconfigured(
                f"{self.name}, a connection pooler, opens sessions with the isolation {found[ISOLATION]}; "
                f"ALTER ROLE {self._login.user} SET {ISOLATION} = '{READ_COMMITTED}'"
            )
        return True

    async def _without_settings(self, refusal: DatabaseMisconfigured) -> dict[str, str]:
        try:
            return await self._settings_of_session(NAME)
        except AnswerLost as error:
            if isinstance(error.__cause__, OSError | asyncpg.ConnectionDoesNotExistError):
                text = f"{refusal}. Without the parameter the connection failed, too: {error.__cause__}"
                raise DatabaseMisconfigured(text) from error
            raise

    async def _settings_of_session(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The isolation and the time-out of a session, read in a transaction, as every change is made in one.

        Statements have no names: behind a pooler another client may have used the same name in this session.
        """
        with typed_errors(self.name, self._login):
            limit = AwakeTimeout(self._seconds)
            async with limit, self._session(settings) as connection, connection.transaction():
                rows = await connection.fetch(_SESSION, [TIMEOUT, ISOLATION])
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
            return await self.connect(timeout=self._seconds, server_settings=dict(settings), statement_cache_size=0)
        except OSError:
            raise
        except ValueError:
            raise malformed(FORM, "the Postgres driver refuses one of its options") from None
        except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
            text = f"{self.name} refuses an option of its URL: {error}; correct or remove the option"
            raise DatabaseMisconfigured(text) from error


class Connector:
    """Opens sessions, each with the credentials that the source has at that time."""

    def __init__(self, source: CredentialSource, name: str) -> None:
        self._source = source
        self._name = name

    async def __call__(self, *args: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """As `asyncpg.connect` with the source's URL. A pool passes the URL, which is that of the source, too."""
        if not self._source.changes:
            return await connect(self._source.url, **options)

        async def attempt(found: Credentials) -> asyncpg.Connection[asyncpg.Record]:
            login = {"user": found.username, "password": found.password}
            return await connect(self._source.url, **{**options, **login})

        return await self._source.log_in(self._name, attempt, _is_login_refusal)


def _is_login_refusal(error: Exception) -> bool:
    return isinstance(error, asyncpg.InvalidAuthorizationSpecificationError)  # also a wrong password


async def connect(*args: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
    """As `asyncpg.connect`, but a cancellation logs nothing."""
    opening = asyncio.ensure_future(asyncpg.connection.connect(*args, **options))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await uninterrupted(_discard(opening))
        raise


async def _discard(opening: asyncio.Future[asyncpg.Connection[asyncpg.Record]]) -> None:
    """End a connection that is being opened. asyncpg logs an error if it is cancelled in its first exchange."""
    await asyncio.wait((opening,), timeout=OPENING_GRACE)
    opening.cancel()
    await asyncio.wait((opening,))
    if not opening.cancelled() and opening.exception() is None:
        opening.result().terminate()


@contextmanager
def typed_errors(name: str, login: Login) -> Generator[None]:
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
    if isinstance(error, _BUSY):
        return DatabaseBusy(f"{name} is not available: {error}")
    if isinstance(error, _NOT_APPLIED):
        return DatabaseUnavailable(f"{name} is not available: {error}")
    if isinstance(error, _LOST):
        return AnswerLost(f"{name} is not available: {error}")
    return DatabaseError(f"{name} refused: {error}")


async def learn_array_types(connection: Connection) -> None:
    """Let the driver ask for the array types that grange uses, in one transaction.

    Around its question the driver switches JIT compilation off and on, by settings of the session. Outside of a
    transaction a pooler spreads these steps over several sessions: the question takes more than a second, and JIT
    stays off in a session of other clients.
    """
    async with connection.transaction():
        await connection.fetch("SELECT $1::text[], $2::bigint[], $3::integer[], $4::float8[]", [], [], [], [])
