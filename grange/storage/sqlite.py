"""State in one SQLite file: the embedded default. Several processes on one machine may share the file.

Writes that are asked for while one is being stored are stored together by the next statement
(`changes.py`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosqlite
import msgspec

from grange.databases.migrations import CREATE_SCHEMA_TABLE, SCHEMA_TABLE, Migration, plan, shipped_migrations
from grange.errors import ConfigurationError, StorageError, StorageUnavailable, WriteOutcomeUnknown
from grange.proto.ids import SiloAddress
from grange.storage.changes import Change, Name, Sending
from grange.storage.database import DEATHS_KEPT, DatabaseStorage
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of

COMPONENT = "storage"

_READ = """
SELECT CAST(payload AS BLOB), etag, schema, writer, write_number FROM grange_state
WHERE service = ? AND grain_type = ? AND grain_key = ? AND state = ?
"""

# Parameters: the service, the changes as a JSON array of arrays, and their writer's endpoint and generation.
# `json_each` makes a row of each, the join finds what is held, and only changes that name the held etag are stored,
# unless their writer is dead. A statement is atomic and holds the write lock from its start.
_STORE = """
INSERT INTO grange_state (service, grain_type, grain_key, state, payload, etag, schema, writer, write_number)
SELECT ?1, change.grain_type, change.grain_key, change.state, change.payload,
       coalesce(held.etag, 0) + 1, coalesce(change.schema, held.schema, 1), ?3 || '@' || ?4, change.number
FROM (SELECT json_extract(value, '$[0]') AS grain_type, json_extract(value, '$[1]') AS grain_key,
             json_extract(value, '$[2]') AS state, json_extract(value, '$[3]') AS payload,
             json_extract(value, '$[4]') AS etag, json_extract(value, '$[5]') AS schema,
             json_extract(value, '$[6]') AS number
      FROM json_each(?2)) AS change
LEFT JOIN grange_state AS held
  ON held.service = ?1 AND held.grain_type = change.grain_type
 AND held.grain_key = change.grain_key AND held.state = change.state
WHERE coalesce(held.etag, 0) = change.etag
  AND NOT EXISTS (SELECT 1 FROM grange_dead_silos WHERE service = ?1 AND endpoint = ?3 AND generation >= ?4)
ON CONFLICT (service, grain_type, grain_key, state) DO UPDATE
   SET payload = excluded.payload, etag = excluded.etag, schema = excluded.schema,
       writer = excluded.writer, write_number = excluded.write_number
RETURNING grain_type, grain_key, state, etag
"""

# Parameters: the service, and the silos as a JSON array of arrays. Julian days, because SQLite has no dates.
_BURY = """
INSERT INTO grange_dead_silos (service, endpoint, generation, recorded)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), julianday('now') FROM json_each(?2) WHERE true
ON CONFLICT (service, endpoint) DO UPDATE
   SET generation = max(generation, excluded.generation), recorded = excluded.recorded
"""
_FORGET = f"DELETE FROM grange_dead_silos WHERE service = ? AND recorded < julianday('now') - {DEATHS_KEPT / 86_400}"
_IS_DEAD = "SELECT 1 FROM grange_dead_silos WHERE service = ? AND endpoint = ? AND generation >= ?"

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


_BUSY_PAUSE = 0.001
"""Seconds between two tries while another process writes; a commit takes a few times as long."""


class SqliteStorage(DatabaseStorage):
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
        super().__init__(service, options, lanes=1)

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
            await writer.execute("PRAGMA busy_timeout = 0")  # `_change` waits for other processes in its own way
            reader = await stack.enter_async_context(_opened(path, options))
            storage = cls(writer, service, options, reader)
            stack.push_async_callback(storage.flush)
            yield storage

    async def _read(self, name: Name) -> StateRecord:
        with _typed_errors():
            rows = list(await self._reader.execute_fetchall(_READ, (self._service, *name)))
        if not rows:
            return StateRecord(None, None)
        payload, etag, schema, writer, number = rows[0]
        return StateRecord(payload, str(etag), schema, stamp_of(writer, number))

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        rows = [
            (*change.name, change.payload, change.etag, change.schema, change.stamp and change.stamp.number)
            for change in Sending().begin(batch)
        ]
        writer = batch[0].writer
        by = (None, None) if writer is None else (writer.endpoint, writer.generation)
        with _typed_errors(is_change=True):
            stored = await self._change(_STORE, (self._service, msgspec.json.encode(rows).decode(), *by))
        return {(row[0], row[1], row[2]): row[3] for row in stored}

    async def _bury(self, silos: Sequence[SiloAddress]) -> None:
        rows = [(silo.endpoint, silo.generation) for silo in silos]
        with _typed_errors():
            await self._change(_BURY, (self._service, msgspec.json.encode(rows).decode()))
            await self._change(_FORGET, (self._service,))

    async def _is_dead(self, writer: SiloAddress) -> bool:
        with _typed_errors():
            parameters = (self._service, writer.endpoint, writer.generation)
            return bool(list(await self._reader.execute_fetchall(_IS_DEAD, parameters)))

    async def _change(self, sql: str, parameters: Sequence[Any]) -> Iterable[sqlite3.Row]:
        """Run the statement as soon as no other process is writing.

        SQLite's own wait asks ever more rarely, so beside a process that writes without pause it never finds the
        moment between two of its commits. Asking every millisecond finds it.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._options.operation_timeout / 2
        while True:
            try:
                return await self._writer.execute_fetchall(sql, parameters)
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or loop.time() >= ends:
                    raise
            await asyncio.sleep(_BUSY_PAUSE)


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
    with _typed_errors(f"opening {path}: "):
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
        with _typed_errors(f"opening {path}: "):
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
    with _typed_errors("migration of the state tables: "):
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
def _typed_errors(prefix: str = "", is_change: bool = False) -> Generator[None]:
    """Turn SQLite's errors into StorageUnavailable (locked, full, gone) or StorageError.

    A change whose commit met an I/O error may be found in the log file by whoever opens it next.
    """
    try:
        yield
    except sqlite3.Error as error:
        if is_change and _primary_code(error) == sqlite3.SQLITE_IOERR:
            raise WriteOutcomeUnknown(f"{prefix}SQLite could not tell the outcome: {error}") from error
        if _primary_code(error) in _UNAVAILABLE:
            raise StorageUnavailable(f"{prefix}SQLite is not available: {error}") from error
        raise StorageError(f"{prefix}SQLite refused: {error}") from error
    except ValueError as error:
        if str(error) in {"no active connection", "Connection closed"}:
            raise StorageError(f"{prefix}the SQLite connection was closed") from error
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
