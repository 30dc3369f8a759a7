"""The membership table in a SQLite file: for several silos on one machine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path

import aiosqlite

from grange.databases.sqlite import bounded, migrate, name_of, open_sqlite, path_of, sqlite_errors
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import FRESH, Row, Table, TableVersion, table_version
from grange.membership.providers.rows import (
    member_from_json,
    member_to_json,
    table_errors,
    time_from_text,
    time_to_text,
)
from grange.proto.ids import SiloAddress

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, waiting for other processes' locks included."""

LOCK_TIMEOUT = 1.5
"""Seconds that SQLite itself waits for another process's lock; shorter, so that the error is SQLite's own."""

_VERSION = "SELECT incarnation, version FROM grange_membership_version WHERE cluster = ?"
_ROW = "SELECT member, etag, alive FROM grange_membership_silo WHERE cluster = ? AND address = ?"
_ROWS = "SELECT member, etag, alive FROM grange_membership_silo WHERE cluster = ? ORDER BY address"
_CREATE_VERSION = "INSERT OR IGNORE INTO grange_membership_version (cluster, incarnation, version) VALUES (?, ?, 1)"
_BUMP = """
UPDATE grange_membership_version SET version = version + 1
WHERE cluster = ? AND incarnation = ? AND version = ?
"""
_INSERT = """
INSERT INTO grange_membership_silo (etag, status, member, started, alive, cluster, address)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
UPDATE grange_membership_silo SET etag = ?, status = ?, member = ?, started = ?, alive = max(alive, ?)
WHERE cluster = ? AND address = ?
"""
_REBUILD_VERSION = "INSERT INTO grange_membership_version (cluster, incarnation, version) VALUES (?, ?, ?)"
_ALIVE = "UPDATE grange_membership_silo SET alive = max(alive, ?) WHERE cluster = ? AND address = ?"
_CLEANUP = "DELETE FROM grange_membership_silo WHERE cluster = ? AND status <> ? AND alive < ? AND started < ?"


class SqliteMembershipTable:
    """A cluster's table in a SQLite file in WAL mode. One connection; its operations run one after the other."""

    def __init__(self, connection: aiosqlite.Connection, path: Path, cluster: str) -> None:
        self._connection = connection
        self._name = name_of(path)
        self._cluster = cluster
        self._lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cluster: str) -> AsyncGenerator[SqliteMembershipTable, None]:
        """`sqlite:///relative/path` or `sqlite:////absolute/path`; a missing file is created. See TableFactory."""
        path = path_of(url)
        async with AsyncExitStack() as stack:
            with table_errors():
                opened = open_sqlite(path, OPERATION_TIMEOUT, LOCK_TIMEOUT, synchronous="NORMAL")
                connection = await stack.enter_async_context(opened)
                table = cls(connection, path, cluster)
                with sqlite_errors(name_of(path)):
                    await migrate(connection, "membership")
            yield table

    async def read(self) -> Table:
        """See MembershipTable."""
        async with self._transaction("BEGIN") as connection:
            version = await self._version(connection)
            rows = await connection.execute_fetchall(_ROWS, (self._cluster,))
            return Table(version, tuple(_row(*row) for row in rows))

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """See MembershipTable."""
        async with self._transaction("BEGIN") as connection:
            version = await self._version(connection)
            return await self._row(connection, address), version

    async def insert(self, member: Member, version: TableVersion) -> bool:
        """See MembershipTable."""
        async with self._transaction() as connection:
            if await self._row(connection, member.address) is not None or not await self._bump(connection, version):
                return False
            await connection.execute(_INSERT, self._columns(member, version.number + 1))
            return True

    async def update(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        """See MembershipTable."""
        async with self._transaction() as connection:
            row = await self._row(connection, member.address)
            if row is None or row.etag != row_etag or not await self._bump(connection, version):
                return False
            await connection.execute(_UPDATE, self._columns(member, version.number + 1))
            return True

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        """See MembershipTable."""
        async with self._transaction() as connection:
            if await self._version(connection) != seen:
                return False
            await self._clear(connection)
            await connection.execute(_REBUILD_VERSION, (self._cluster, secrets.token_hex(16), number))
            await connection.executemany(_INSERT, [self._columns(member, number) for member in members])
            return True

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """See MembershipTable."""
        text = time_to_text(time)
        async with self._transaction() as connection:
            changed = await connection.execute(_ALIVE, (text, self._cluster, str(address)))
            return changed.rowcount > 0

    async def cleanup(self, before: datetime) -> int:
        """See MembershipTable."""
        text = time_to_text(before)
        async with self._transaction() as connection:
            gone = await connection.execute(_CLEANUP, (self._cluster, SiloStatus.ACTIVE, text, text))
            if gone.rowcount:
                version = await self._version(connection)
                await connection.execute(_BUMP, (self._cluster, version.incarnation, version.number))
            return gone.rowcount

    async def delete(self) -> None:
        """See MembershipTable."""
        async with self._transaction() as connection:
            await self._clear(connection)

    async def _clear(self, connection: aiosqlite.Connection) -> None:
        await connection.execute("DELETE FROM grange_membership_silo WHERE cluster = ?", (self._cluster,))
        await connection.execute("DELETE FROM grange_membership_version WHERE cluster = ?", (self._cluster,))

    async def _version(self, connection: aiosqlite.Connection) -> TableVersion:
        rows = list(await connection.execute_fetchall(_VERSION, (self._cluster,)))
        return table_version(*rows[0]) if rows else FRESH

    async def _row(self, connection: aiosqlite.Connection, address: SiloAddress) -> Row | None:
        rows = list(await connection.execute_fetchall(_ROW, (self._cluster, str(address))))
        return _row(*rows[0]) if rows else None

    async def _bump(self, connection: aiosqlite.Connection, version: TableVersion) -> bool:
        """Raise the table's version if it is `version`; whether it was."""
        if version == FRESH:
            changed = await connection.execute(_CREATE_VERSION, (self._cluster, secrets.token_hex(16)))
        else:
            changed = await connection.execute(_BUMP, (self._cluster, version.incarnation, version.number))
        return changed.rowcount == 1

    def _columns(self, member: Member, etag: int) -> tuple[object, ...]:
        times = time_to_text(member.started), time_to_text(member.alive)
        return etag, member.status, member_to_json(member), *times, self._cluster, str(member.address)

    @asynccontextmanager
    async def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> AsyncGenerator[aiosqlite.Connection, None]:
        with table_errors():
            async with self._bounded(), self._lock:
                try:
                    await self._connection.execute(begin)
                    yield self._connection
                    await self._connection.commit()
                except BaseException:
                    # The connection's thread works in order. So the roll-back comes before the next operation, and
                    # after a statement that was under way at a cancellation, even if this wait is cut short.
                    await self._connection.rollback()
                    raise

    def _bounded(self) -> AbstractAsyncContextManager[None]:
        return bounded(self._name, OPERATION_TIMEOUT)


def _row(member: str, etag: int, alive: str) -> Row:
    return Row(member_from_json(member, time_from_text(alive)), str(etag))
