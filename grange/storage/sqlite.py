"""State in one SQLite file: the embedded default. Several processes on one machine may share the file.

Writes that are asked for while one is being stored are stored together by the next statement
(`sqlite_batch.py`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiosqlite

from grange.errors import ConfigurationError, StorageError, StorageUnavailable
from grange.proto.ids import GrainId
from grange.proto.migrations import CREATE_SCHEMA_TABLE, SCHEMA_TABLE, Migration, plan, shipped_migrations
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import check_name, check_payload, check_service, etag_number, inconsistent
from grange.storage.sqlite_batch import (
    STORE_BATCH,
    Change,
    batch_rows,
    next_batch,
    tell_failed,
    tell_stored,
)

COMPONENT = "storage"

_READ = """
SELECT CAST(payload AS BLOB), etag, schema FROM grange_state
WHERE service = ? AND grain_type = ? AND grain_key = ? AND state = ?
"""

# The first with STRICT tables; RETURNING is older.
_OLDEST_SQLITE = (3, 37)

_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
    }
)


class SqliteStorage:
    """Records in one SQLite database, through one connection for changes and one for reads.

    The connections belong to the caller and are left open; they must be in autocommit mode
    (`isolation_level=None`), and `reader` defaults to `writer`. Survives `kill -9` of the process and, with
    `synchronous=FULL` as `open` sets it, a power failure.
    """

    def __init__(
        self,
        writer: aiosqlite.Connection,
        service: str,
        options: StorageOptions = DEFAULT_OPTIONS,
        reader: aiosqlite.Connection | None = None,
    ) -> None:
        self._writer = writer
        self._reader = reader if reader is not None else writer
        if self._writer.isolation_level is not None or self._reader.isolation_level is not None:
            raise ConfigurationError("open the SQLite connection with isolation_level=None (autocommit)")
        self._service = check_service(service)
        self._options = options
        self._waiting: deque[Change] = deque()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, service: str, options: StorageOptions = DEFAULT_OPTIONS
    ) -> AsyncGenerator[SqliteStorage]:
        """Open `sqlite:///relative/file` or `sqlite:////absolute/file`; the folder is created."""
        path = _database_path(url)
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(_opened(path, options))
            await migrate(writer)
            reader = await stack.enter_async_context(_opened(path, options))
            storage = cls(writer, service, options, reader)
            stack.push_async_callback(storage.flush)
            yield storage

    async def read(self, grain_id: GrainId, state: str) -> StateRecord:
        """See `GrainStorage.read`."""
        check_name(self._service, grain_id, state)
        async with self._bounded(f"read of state {state!r} of {grain_id}"):
            rows = list(await self._reader.execute_fetchall(_READ, (self._service, grain_id.type, grain_id.key, state)))
        if not rows:
            return StateRecord(None, None)
        payload, etag, schema = rows[0]
        return StateRecord(payload, str(etag), schema)

    async def write(self, grain_id: GrainId, state: str, payload: bytes, etag: str | None, schema: int = 1) -> str:
        """See `GrainStorage.write`."""
        check_name(self._service, grain_id, state)
        text = check_payload(grain_id, state, payload, self._options.payload_limit)
        return await self._change(grain_id, state, text, etag, schema)

    async def clear(self, grain_id: GrainId, state: str, etag: str | None) -> str | None:
        """See `GrainStorage.clear`."""
        if etag is None:
            held = await self.read(grain_id, state)
            if held.etag is not None:
                raise inconsistent(grain_id, state, stored=held.etag, given=None)
            return None
        check_name(self._service, grain_id, state)
        return await self._change(grain_id, state, None, etag, None)

    async def flush(self) -> None:
        """Wait until every change that was asked for has ended. `open` does it before closing."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _change(
        self, grain_id: GrainId, state: str, payload: str | None, etag: str | None, schema: int | None
    ) -> str:
        change = Change(grain_id, state, payload, etag_number(etag), schema)
        self._waiting.append(change)
        if self._task is None:
            self._task = asyncio.create_task(self._store_all(), name="grange-sqlite-writer")
        async with self._bounded(f"write of state {state!r} of {grain_id}"):
            stored = await change.done
        if stored is None:
            held = await self.read(grain_id, state)
            raise inconsistent(grain_id, state, stored=held.etag, given=etag)
        return str(stored)

    async def _store_all(self) -> None:
        batch: list[Change] = []
        try:
            while self._waiting:
                batch = next_batch(self._waiting)
                await self._store(batch)
        finally:
            self._task = None
            for change in (*batch, *self._waiting):
                change.done.cancel()
            self._waiting.clear()

    async def _store(self, batch: list[Change]) -> None:
        try:
            with _typed_errors(f"write of {len(batch)} states"):
                parameters = (self._service, batch_rows(batch))
                stored = await self._writer.execute_fetchall(STORE_BATCH, parameters)
        except Exception as error:  # not swallowed: every waiting caller raises it
            tell_failed(batch, error)
        else:
            tell_stored(batch, stored)

    @asynccontextmanager
    async def _bounded(self, what: str) -> AsyncGenerator[None]:
        try:
            with _typed_errors(what):
                async with asyncio.timeout(self._options.operation_timeout):
                    yield
        except TimeoutError:
            raise StorageUnavailable(
                f"SQLite did not answer within {self._options.operation_timeout} s: {what}; "
                f"is another process holding the file's write lock?"
            ) from None


def _database_path(url: str) -> Path:
    """The file that a URL names. Raises ConfigurationError for anything but `sqlite:///file`."""
    parts = urlsplit(url)
    name = unquote(parts.path)[1:]
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not name or "\0" in name:
        raise ConfigurationError(
            "a SQLite URL is sqlite:///relative/file or sqlite:////absolute/file (three or four slashes), "
            f"without a query; got {url!r}"
        )
    path = Path(name)
    if path.is_dir():
        raise ConfigurationError(f"the SQLite URL {url!r} names a folder; name a file in it")
    return path


@asynccontextmanager
async def _opened(path: Path, options: StorageOptions) -> AsyncGenerator[aiosqlite.Connection]:
    """A connection in autocommit mode, the database in WAL mode, closed at exit."""
    with _typed_errors(f"opening {path}"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"the folder of the SQLite file {path} cannot be made: {error}") from error
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise ConfigurationError(
                f"SQLite {sqlite3.sqlite_version} is too old, grange needs 3.37; use a newer Python"
            )
        # SQLite gives up before our own time-out does, so that its thread is free again.
        wait = options.operation_timeout / 2
        connection = await aiosqlite.connect(path, isolation_level=None, timeout=wait)
    try:
        with _typed_errors(f"opening {path}"):
            await _use_wal(connection)
            await connection.execute("PRAGMA synchronous = FULL")
        yield connection
    finally:
        await connection.close()


async def migrate(connection: aiosqlite.Connection) -> None:
    """Bring the tables up to date under the file's exclusive lock, which is taken only if something is
    missing.

    Processes that start at once wait for each other. Raises ConfigurationError when the file is newer than
    we.
    """
    known = shipped_migrations("grange.storage", "sqlite")
    with _typed_errors("migration of the state tables"):
        if not plan(COMPONENT, known, await _applied(connection)):
            return
        await connection.execute("BEGIN EXCLUSIVE")
        try:
            await _run_plan(connection, known)
        except BaseException:
            await connection.rollback()
            raise
        await connection.commit()


async def _applied(connection: aiosqlite.Connection) -> list[int]:
    known_table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    if not list(await connection.execute_fetchall(known_table, (SCHEMA_TABLE,))):
        return []
    rows = await connection.execute_fetchall(f"SELECT version FROM {SCHEMA_TABLE} WHERE component = ?", (COMPONENT,))
    return [row[0] for row in rows]


async def _run_plan(connection: aiosqlite.Connection, known: tuple[Migration, ...]) -> None:
    await connection.execute(CREATE_SCHEMA_TABLE)
    for migration in plan(COMPONENT, known, await _applied(connection)):
        for statement in migration.statements:
            await connection.execute(statement)
        await connection.execute(
            f"INSERT INTO {SCHEMA_TABLE} (component, version, name) VALUES (?, ?, ?)",
            (COMPONENT, migration.version, migration.name),
        )


@contextmanager
def _typed_errors(what: str) -> Generator[None]:
    """Turn SQLite's errors into StorageUnavailable (locked, unreachable, full) or StorageError (all
    others)."""
    try:
        yield
    except sqlite3.Error as error:
        if _primary_code(error) in _UNAVAILABLE:
            raise StorageUnavailable(f"SQLite is not available for the {what}: {error}") from error
        raise StorageError(f"SQLite refused the {what}: {error}") from error
    except ValueError as error:
        if str(error) in {"no active connection", "Connection closed"}:
            raise StorageError(f"the SQLite connection was closed before the {what}") from error
        raise


async def _use_wal(connection: aiosqlite.Connection) -> None:
    # SQLite does not wait for a lock to change the journal mode, so processes that start at once try again.
    for _ in range(50):
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY:
                raise
            await asyncio.sleep(0.02)
    await connection.execute("PRAGMA journal_mode = WAL")


def _primary_code(error: sqlite3.Error) -> int:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return int(code) & 0xFF
