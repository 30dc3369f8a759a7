"""State in one SQLite file: the embedded default. Several processes on one machine may share the file.

Writes that arrive while one is being stored are stored together by the next statement (`changes.py`).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiosqlite
import msgspec

from grange.databases.sqlite import migrate, name_of, open_sqlite, path_of, primary_code, sqlite_errors
from grange.errors import ConfigurationError
from grange.proto.ids import SiloAddress
from grange.storage.options import DEFAULT_OPTIONS, StorageOptions
from grange.storage.provider import StateRecord
from grange.storage.record import stamp_of
from grange.storage.stores.changes import Change, Name, Sending
from grange.storage.stores.database import DEATHS_KEPT, DatabaseStorage, storage_errors

_READ = """
SELECT CAST(payload AS BLOB), etag, schema, writer, write_number FROM grange_state
WHERE service = ? AND grain_type = ? AND grain_key = ? AND state = ?
"""

# Parameters: the service, the changes as a JSON array of arrays, and their writer's endpoint and generation.
# `json_each` makes a row of each change, and the join finds the held record. Only changes that name the held etag are
# stored, unless their writer is dead. A statement is atomic and holds the write lock from its start.
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
        path = path_of(url)
        # SQLite's wait ends before the operation's time-out does, so that its thread is free again.
        timeouts = options.operation_timeout, options.operation_timeout / 2
        async with AsyncExitStack() as stack:
            with storage_errors(), sqlite_errors(name_of(path)):
                writer = await stack.enter_async_context(open_sqlite(path, *timeouts, synchronous="FULL"))
                await migrate(writer, "storage")
                await writer.execute("PRAGMA busy_timeout = 0")  # `_change` waits for other processes itself
                reader = await stack.enter_async_context(open_sqlite(path, *timeouts, synchronous="FULL"))
            storage = cls(writer, service, options, reader)
            stack.push_async_callback(storage.flush)
            yield storage

    async def _read(self, name: Name) -> StateRecord:
        with storage_errors(), sqlite_errors():
            rows = list(await self._reader.execute_fetchall(_READ, (self._service, *name)))
        if not rows:
            return StateRecord(None, None)
        payload, etag, schema, writer, number = rows[0]
        return StateRecord(payload, str(etag), schema, stamp_of(writer, number))

    async def _store(self, batch: Sequence[Change]) -> dict[Name, int]:
        sending = Sending()
        rows = [
            (*change.name, change.payload, change.etag, change.schema, change.stamp and change.stamp.number)
            for change in sending.begin(batch)
        ]
        writer = batch[0].writer
        identity = (None, None) if writer is None else (writer.endpoint, writer.generation)
        with storage_errors(sending=sending), sqlite_errors():
            stored = await self._change(_STORE, (self._service, msgspec.json.encode(rows).decode(), *identity))
        return {(row[0], row[1], row[2]): row[3] for row in stored}

    async def _record_deaths(self, silos: Sequence[SiloAddress]) -> None:
        rows = [(silo.endpoint, silo.generation) for silo in silos]
        with storage_errors(), sqlite_errors():
            await self._change(_RECORD_DEATHS, (self._service, msgspec.json.encode(rows).decode()))
            await self._change(_DELETE_OLD_DEATHS, (self._service,))

    async def _dead_generation(self, endpoint: str) -> int:
        with storage_errors(), sqlite_errors():
            rows = list(await self._reader.execute_fetchall(_DEAD_GENERATION, (self._service, endpoint)))
        return rows[0][0] if rows else 0

    async def _change(self, sql: str, parameters: Sequence[Any]) -> Iterable[sqlite3.Row]:
        """Run the statement as soon as no other process is writing.

        SQLite's own wait polls less and less often. While another process writes without pause, it misses the short
        times between two commits. Polling every millisecond hits them.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._options.operation_timeout / 2
        while True:
            try:
                return await self._writer.execute_fetchall(sql, parameters)
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or loop.time() >= ends:
                    raise
            await asyncio.sleep(_BUSY_PAUSE)
