"""The table of the audit in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite

from grange.audit.columns import COLUMNS, INSERT, READ, kept, values_of
from grange.audit.provider import MOST_ROWS, OPERATION_TIMEOUT, AuditFilter, KeptRow, Origin
from grange.databases.sqlite import bounded, in_driver, migrate, name_of, open_sqlite, path_of, sqlite_errors
from grange.proto.acts import AuditRow

_INSERT = INSERT.format(", ".join("?" for _ in COLUMNS))
_READ = f"""{READ}
WHERE cluster = ?1 AND (?2 = 0 OR id < ?2) AND time >= ?3 AND (?4 = '' OR kind = ?4)
  AND (?5 = '' OR instr(actor, ?5) OR instr(via, ?5)) AND (?6 = '' OR instr(action, ?6) OR instr(target, ?6))
ORDER BY id DESC LIMIT ?7
"""


class SqliteAuditTable:
    """See AuditTable. Several processes may add rows to one file."""

    def __init__(self, connection: aiosqlite.Connection, origin: Origin, name: str) -> None:
        self._connection = connection
        self._origin = origin
        self._name = name

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, origin: Origin) -> AsyncGenerator[SqliteAuditTable]:
        """`sqlite:///relative/file` or `sqlite:////absolute/file`. See AuditTableFactory."""
        path = path_of(url)
        # SQLite's wait for another process ends before the operation's time-out, so that its thread is free again.
        timeouts = OPERATION_TIMEOUT, OPERATION_TIMEOUT / 2
        async with open_sqlite(path, *timeouts, synchronous="FULL") as connection:
            with sqlite_errors(name_of(path)):
                await migrate(connection, "audit")
            yield cls(connection, origin, name_of(path))

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """See AuditTable."""
        values = [values_of(self._origin, row) for row in rows]
        async with bounded(self._name, OPERATION_TIMEOUT):
            await in_driver(self._connection, lambda raw: _add(raw, values))

    async def read(self, wanted: AuditFilter) -> list[KeptRow]:
        """See AuditTable."""
        limit = max(0, min(wanted.limit, MOST_ROWS))
        values = (
            self._origin.cluster, wanted.before, wanted.since, wanted.kind, wanted.who, wanted.what, limit,
        )  # fmt: skip
        async with bounded(self._name, OPERATION_TIMEOUT):
            return [kept(row) for row in await self._connection.execute_fetchall(_READ, values)]


def _add(raw: sqlite3.Connection, values: list[tuple[Any, ...]]) -> None:
    raw.execute("BEGIN IMMEDIATE")
    try:
        raw.executemany(_INSERT, values)
    except BaseException:
        raw.rollback()
        raise
    raw.commit()
