"""The membership table in a SQLite file: for several silos on one machine."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiosqlite

from grange.aio.awake import AwakeTimeout
from grange.databases.migrations import CREATE_SCHEMA_TABLE, SCHEMA_TABLE, plan, shipped_migrations
from grange.errors import ConfigurationError, MembershipError, MembershipUnavailable
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import FRESH, Row, Table, TableVersion, table_version
from grange.membership.providers.rows import member_from_json, member_to_json, time_from_text, time_to_text
from grange.proto.ids import SiloAddress

COMPONENT = "membership"
OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, waiting for other processes' locks included."""

LOCK_TIMEOUT = 1.5
"""Seconds that SQLite itself waits for another process's lock; shorter, so that its own message is what one sees."""

LOCK_RETRY = 0.02
"""Seconds between two tries to switch a new file to WAL mode while another process is doing just that."""

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

    def __init__(self, connection: aiosqlite.Connection, path: str, cluster: str) -> None:
        self._connection = connection
        self._path = path
        self._cluster = cluster
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cluster: str) -> AsyncGenerator[SqliteMembershipTable, None]:
        """`sqlite:///relative/path` or `sqlite:////absolute/path`; the file is made if need be. See TableFactory."""
        path = _path_of(url)
        with _mapped(path):
            # isolation_level=None: transactions begin where we say so, and nowhere else.
            connection = await aiosqlite.connect(path, isolation_level=None, timeout=LOCK_TIMEOUT)
        try:
            table = cls(connection, path, cluster)
            await table._prepare()
            yield table
        finally:
            await connection.close()

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
            told = await connection.execute(_ALIVE, (text, self._cluster, str(address)))
            return told.rowcount > 0

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
        found = list(await connection.execute_fetchall(_VERSION, (self._cluster,)))
        return table_version(*found[0]) if found else FRESH

    async def _row(self, connection: aiosqlite.Connection, address: SiloAddress) -> Row | None:
        found = list(await connection.execute_fetchall(_ROW, (self._cluster, str(address))))
        return _row(*found[0]) if found else None

    async def _bump(self, connection: aiosqlite.Connection, version: TableVersion) -> bool:
        """Whether the table was at `version`; then it is at the next one now."""
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
        with _mapped(self._path):
            async with AwakeTimeout(OPERATION_TIMEOUT), self._turn:
                try:
                    await self._connection.execute(begin)
                    yield self._connection
                    await self._connection.commit()
                except BaseException:
                    # The connection's thread works in order: even if this wait is cut short, the roll-back
                    # comes before the next operation, and after a statement that was under way when we were
                    # cancelled.
                    await self._connection.rollback()
                    raise

    async def _prepare(self) -> None:
        with _mapped(self._path):
            async with AwakeTimeout(OPERATION_TIMEOUT):
                await self._enter_wal_mode()
            await self._connection.execute("PRAGMA synchronous = NORMAL")
        known = shipped_migrations("grange.membership", "sqlite")
        async with self._transaction("BEGIN EXCLUSIVE") as connection:
            await connection.execute(CREATE_SCHEMA_TABLE)
            query = f"SELECT version FROM {SCHEMA_TABLE} WHERE component = ?"
            applied = await connection.execute_fetchall(query, (COMPONENT,))
            for migration in plan(COMPONENT, known, (version for (version,) in applied)):
                for statement in _statements(migration.sql):
                    await connection.execute(statement)
                row = (COMPONENT, migration.version, migration.name)
                await connection.execute(f"INSERT INTO {SCHEMA_TABLE} (component, version, name) VALUES (?, ?, ?)", row)

    async def _enter_wal_mode(self) -> None:
        """Readers beside a writer. SQLite does not wait for the lock that this first switch needs, so we do."""
        while True:
            try:
                await self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                await asyncio.sleep(LOCK_RETRY)


def _row(member: str, etag: int, alive: str) -> Row:
    return Row(member_from_json(member, time_from_text(alive)), str(etag))


def _statements(sql: str) -> Iterator[str]:
    """One at a time: sqlite3's own `executescript` would commit the transaction that holds the lock."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _path_of(url: str) -> str:
    """The file that the URL names; its folder is made if need be."""
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not path or "\0" in path:
        raise ConfigurationError(
            f"not a SQLite membership URL: {url!r}; "
            f"write 'sqlite:///relative/file.db' or 'sqlite:////absolute/file.db' (three or four slashes)"
        )
    try:
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MembershipUnavailable(f"the folder of the membership file {path!r} cannot be made: {error}") from error
    return path


@contextmanager
def _mapped(path: str) -> Generator[None, None, None]:
    """Turn what the driver raises into errors of ours."""
    try:
        yield
    except TimeoutError as error:
        raise MembershipUnavailable(
            f"the membership file {path!r} did not answer within {OPERATION_TIMEOUT} s: "
            f"another process holds its lock, or the disk is stuck"
        ) from error
    except sqlite3.OperationalError as error:
        raise MembershipUnavailable(f"the membership file {path!r} cannot be used now: {error}") from error
    except sqlite3.Error as error:
        raise MembershipError(f"the membership file {path!r} is damaged or not a SQLite file: {error}") from error
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            raise
        raise MembershipUnavailable(f"the membership file {path!r} is closed: {error}") from error
