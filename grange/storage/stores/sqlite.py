"""State in one SQLite file: the embedded default. Several processes on one machine may share the file.

Change sets that arrive while others are being applied are applied together in the next transaction (`changes.py`,
`sqlite_sets.py`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import aiosqlite
import msgspec

from grange.databases.errors import DatabaseUnavailable
from grange.databases.sqlite import in_driver, migrate, name_of, open_sqlite, path_of, primary_code, sqlite_errors
from grange.errors import ConfigurationError
from grange.proto.ids import SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.sets import Committed
from grange.storage.stores.changes import Name, QueuedSet, Sending
from grange.storage.stores.database import DEATHS_KEPT, storage_errors
from grange.storage.stores.sqlite_priority import STANDS_BACK, Priority
from grange.storage.stores.sqlite_queries import SqliteQueries
from grange.storage.stores.sqlite_sets import SqliteBatch, plain_statement

T = TypeVar("T")

_READ = """
SELECT CAST(payload AS BLOB), etag, schema, writer, write_number, claim FROM grange_state
WHERE service = ? AND grain_type = ? AND grain_key = ? AND state = ?
"""

_READ_ALL = """
SELECT CAST(payload AS BLOB), etag, schema, writer, write_number, claim, held.grain_type, held.grain_key, held.state
FROM json_each(?2) AS wanted
CROSS JOIN grange_state AS held
  ON held.service = ?1 AND held.grain_type = json_extract(wanted.value, '$[0]')
 AND held.grain_key = json_extract(wanted.value, '$[1]') AND held.state = json_extract(wanted.value, '$[2]')
"""

# Answers with no row for a record that is not there, and for a dead writer.
_CLAIM = """
UPDATE grange_state SET claim = ?5
WHERE service = ?1 AND grain_type = ?2 AND grain_key = ?3 AND state = ?4
  AND NOT EXISTS (SELECT 1 FROM grange_dead_silos WHERE service = ?1 AND endpoint = ?6 AND generation >= ?7)
RETURNING CAST(payload AS BLOB), etag, schema, writer, write_number, claim
"""

# Parameters: the service, and the silos as a JSON array of arrays. Julian days, because SQLite has no dates.
_RECORD_DEATHS = """
INSERT INTO grange_dead_silos (service, endpoint, generation, recorded)
SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), julianday('now') FROM json_each(?2) WHERE true
ON CONFLICT (service, endpoint) DO UPDATE
   SET generation = max(generation, excluded.generation), recorded = excluded.recorded
"""
_DELETE_OLD_DEATHS = (
    f"DELETE FROM grange_dead_silos WHERE service = ? AND recorded < julianday('now') - {DEATHS_KEPT / 86_400}"
)
_DEAD_GENERATION = "SELECT generation FROM grange_dead_silos WHERE service = ? AND endpoint = ?"

_BUSY_PAUSE = 0.001
"""Seconds between two tries while another process writes; a commit takes a few milliseconds."""


class SqliteStorage(SqliteQueries):
    """Records in one SQLite database, through one connection for changes and one for reads.

    The connections belong to the caller and are left open; they must be in autocommit mode
    (`isolation_level=None`), and `reader` defaults to `writer`. Survives `kill -9` of the process and, with
    `synchronous=FULL` as `open` sets it, a power failure. `priority` keeps the changes of several processes from
    waiting without end for each other; it belongs to the caller too.
    """

    def __init__(
        self,
        writer: aiosqlite.Connection,
        service: str,
        options: StorageOptions = DEFAULT_OPTIONS,
        reader: aiosqlite.Connection | None = None,
        priority: Priority | None = None,
    ) -> None:
        self._writer = writer
        self._priority = priority
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
        path = path_of(url)
        # SQLite's wait ends before the operation's time-out does, so that its thread is free again.
        timeouts = options.operation_timeout, options.operation_timeout / 2
        async with AsyncExitStack() as stack:
            with storage_errors(), sqlite_errors(name_of(path)):
                writer = await stack.enter_async_context(open_sqlite(path, *timeouts, synchronous="FULL"))
                await migrate(writer, "storage")
                await writer.execute("PRAGMA busy_timeout = 0")  # `_when_free` waits for other processes itself
                reader = await stack.enter_async_context(open_sqlite(path, *timeouts, synchronous="FULL"))
                priority = await _open_priority(writer, min(STANDS_BACK, options.operation_timeout / 4))
            stack.callback(priority.close)
            storage = cls(writer, service, options, reader, priority)
            stack.push_async_callback(storage.flush)
            yield storage

    async def _read(self, name: Name) -> StateRecord:
        rows = await self._fetch(_READ, self._service, *name)
        return _record(rows[0]) if rows else StateRecord(None, None)

    async def _read_all(self, names: Sequence[Name]) -> dict[Name, StateRecord]:
        rows = await self._fetch(_READ_ALL, self._service, msgspec.json.encode(names).decode())
        return {(row[6], row[7], row[8]): _record(row) for row in rows}

    async def _claim(self, name: Name, claim: int, writer: SiloAddress | None) -> StateRecord | None:
        by = (None, None) if writer is None else (writer.endpoint, writer.generation)
        parameters = (self._service, *name, claim, *by)
        with storage_errors(), sqlite_errors():
            rows = await self._when_free(lambda: in_driver(self._writer, lambda raw: _claimed(raw, parameters)))
        if rows:
            return _record(rows[0])
        if writer is not None and await self._dead_generation(writer.endpoint) >= writer.generation:
            return None
        return StateRecord(None, None)

    async def _store(self, batch: Sequence[QueuedSet]) -> dict[QueuedSet, Committed]:
        sending = Sending()
        left = sending.begin(batch)
        stored: dict[QueuedSet, Committed] = {}
        with storage_errors(sending=sending), sqlite_errors():
            statement = plain_statement(self._service, left)
            if statement is not None:
                queued_of = {queued.names[0]: queued for queued in left}
                for row in await self._change(*statement):
                    stored[queued_of.pop((row[0], row[1], row[2]))] = Committed((str(row[3]),))
                # What is left has lost a race, or its record has index rows.
                left = list(queued_of.values())
            if left:
                work = SqliteBatch(self._service, left).run
                stored |= await self._when_free(lambda: in_driver(self._writer, work))
        return stored

    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        rows = [(silo.endpoint, silo.generation) for silo in silos]
        with storage_errors(), sqlite_errors():
            await self._change(_RECORD_DEATHS, (self._service, msgspec.json.encode(rows).decode()))
            await self._change(_DELETE_OLD_DEATHS, (self._service,))

    async def _dead_generation(self, endpoint: str) -> int:
        rows = await self._fetch(_DEAD_GENERATION, self._service, endpoint)
        return rows[0][0] if rows else 0

    async def _fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        with storage_errors(), sqlite_errors():
            return list(await self._reader.execute_fetchall(sql, parameters))

    async def _change(self, sql: str, parameters: Sequence[Any]) -> Iterable[sqlite3.Row]:
        return await self._when_free(lambda: self._writer.execute_fetchall(sql, parameters))

    async def _when_free(self, change: Callable[[], Awaitable[T]]) -> T:
        """Make a change as soon as no other process is writing.

        SQLite's own wait polls less and less often. While another process writes without pause, it misses the short
        times between two commits. Polling every millisecond hits them. On a busy machine it misses them too: see
        `sqlite_priority.py`.
        """
        if self._priority is None:
            return await self._until_free(change, lambda _: True)
        with self._priority.asked() as permits:
            return await self._until_free(change, permits)

    async def _until_free(self, change: Callable[[], Awaitable[T]], permits: Callable[[float], bool]) -> T:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while True:
            waited = loop.time() - begin
            try:
                if permits(waited):
                    return await change()
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or waited >= self._options.operation_timeout / 2:
                    raise
            await asyncio.sleep(_BUSY_PAUSE)


async def _open_priority(connection: aiosqlite.Connection, stands_back: float) -> Priority:
    """The priority of the file of a connection that has read: its log file is there until the connection closes."""
    ((_, _, path),) = await connection.execute_fetchall("PRAGMA database_list")
    try:
        return Priority(f"{path}-wal", stands_back)
    except OSError as error:
        raise DatabaseUnavailable(f"the log file of {path!r} cannot be opened: {error.strerror}") from error


def _claimed(connection: sqlite3.Connection, parameters: Sequence[Any]) -> list[Any]:
    """Set a claim without a wait for the disk, and return the row. Called in the driver's thread."""
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        return connection.execute(_CLAIM, parameters).fetchall()
    finally:
        connection.execute(f"PRAGMA synchronous = {synchronous}")


def _record(row: Any) -> StateRecord:
    payload, etag, schema, writer, number, claim = row[:6]
    return StateRecord(payload, str(etag), schema, stamp_of(writer, number), claim)
