"""The membership table in Postgres: every change is one statement or one transaction."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import asyncpg

from grange.databases.findings import StoreFinding
from grange.databases.postgres import PostgresLink
from grange.databases.postgres_session import FORM, Connection
from grange.databases.urls import malformed, parse_url
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import FRESH, Row, Table, TableVersion, table_version
from grange.membership.providers.rows import member_from_json, member_to_json, settings_at_start, table_errors
from grange.membership.providers.trial import trial_cluster, try_table
from grange.proto.ids import SiloAddress

OPERATION_TIMEOUT = 2.0
"""Seconds that one operation may take, connecting included."""

POOL_SIZE = 3
"""Connections: a change, an alive time and a read may be under way at once."""

# One statement, so one snapshot: version and rows belong together. No row of the version table: a fresh table.
_READ = """
SELECT v.incarnation, v.version, s.member, s.etag, s.alive
FROM grange_membership_version v LEFT JOIN grange_membership_silo s ON s.cluster = v.cluster
WHERE v.cluster = $1 ORDER BY s.address
"""
_READ_ROW = """
SELECT v.incarnation, v.version, s.member, s.etag, s.alive
FROM grange_membership_version v
LEFT JOIN grange_membership_silo s ON s.cluster = v.cluster AND s.address = $2
WHERE v.cluster = $1
"""
_CREATE = """
INSERT INTO grange_membership_version (cluster, incarnation, version) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING RETURNING version
"""
# The row lock on the version makes changes queue. A change that waited finds another version and changes nothing.
_BUMP = """
UPDATE grange_membership_version SET version = version + 1
WHERE cluster = $1 AND incarnation = $2 AND version = $3 RETURNING version
"""
_INSERT = """
INSERT INTO grange_membership_silo (cluster, address, etag, status, member, started, alive)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING etag
"""
_UPDATE = """
UPDATE grange_membership_silo
SET etag = $3, status = $4, member = $5, started = $6, alive = greatest(alive, $7)
WHERE cluster = $1 AND address = $2 AND etag = $8 RETURNING etag
"""
_RENEW = """
UPDATE grange_membership_version SET incarnation = $2, version = $3
WHERE cluster = $1 AND incarnation = $4 AND version = $5 RETURNING version
"""
_CLEAR = "DELETE FROM grange_membership_silo WHERE cluster = $1"
_ALIVE = """
UPDATE grange_membership_silo SET alive = greatest(alive, $3) WHERE cluster = $1 AND address = $2 RETURNING alive
"""
_LOCK = "SELECT version FROM grange_membership_version WHERE cluster = $1 FOR UPDATE"
_CLEANUP = """
WITH gone AS (
    DELETE FROM grange_membership_silo
    WHERE cluster = $1 AND status <> $2 AND alive < $3 AND started < $3 RETURNING 1
), bumped AS (
    UPDATE grange_membership_version SET version = version + 1
    WHERE cluster = $1 AND EXISTS (SELECT 1 FROM gone)
)
SELECT count(*) FROM gone
"""


class _LostRace(Exception):
    """Rolls the transaction of a change back: another change was first."""


class PostgresMembershipTable:
    """A cluster's table in one Postgres database."""

    def __init__(self, link: PostgresLink, cluster: str) -> None:
        self._link = link
        self._cluster = cluster

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cluster: str) -> AsyncGenerator[PostgresMembershipTable, None]:
        """`postgresql://user[:password]@host[:port]/database`. See TableFactory."""
        async with _link(url, POOL_SIZE) as link:
            with table_errors():
                await link.migrate("membership")
            yield cls(link, cluster)

    @classmethod
    async def try_out(cls, url: str, cluster: str) -> list[StoreFinding]:
        """See TriedTableFactory."""

        async def trial(link: PostgresLink) -> list[StoreFinding]:
            with settings_at_start():
                await cls(link, cluster).read()
            return await try_table(cls(link, trial_cluster(cluster)))

        async with _link(url, 1) as link:
            with table_errors():
                return await link.try_out("membership", trial)

    async def read(self) -> Table:
        """See MembershipTable."""
        async with self._connection() as connection:
            records = await connection.fetch(_READ, self._cluster)
        if not records:
            return Table(FRESH)
        rows = tuple(row for record in records if (row := _row(record)) is not None)
        return Table(table_version(records[0]["incarnation"], records[0]["version"]), rows)

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """See MembershipTable."""
        async with self._connection() as connection:
            record = await connection.fetchrow(_READ_ROW, self._cluster, str(address))
        if record is None:
            return None, FRESH
        return _row(record), table_version(record["incarnation"], record["version"])

    async def insert(self, member: Member, version: TableVersion) -> bool:
        """See MembershipTable."""
        return await self._change(_INSERT, version, *self._columns(member, version))

    async def update(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        """See MembershipTable."""
        if not row_etag.isdigit():
            return False
        return await self._change(_UPDATE, version, *self._columns(member, version), int(row_etag))

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        """See MembershipTable."""
        incarnation = secrets.token_hex(16)
        rows = [self._columns(member, TableVersion(number - 1, "")) for member in members]
        async with self._connection() as connection, connection.transaction():
            if seen == FRESH:
                started = await connection.fetchval(_CREATE, self._cluster, incarnation, number)
            else:
                expected = (seen.incarnation, seen.number)
                started = await connection.fetchval(_RENEW, self._cluster, incarnation, number, *expected)
            if started is None:
                return False
            await connection.execute(_CLEAR, self._cluster)
            await connection.executemany(_INSERT, rows)
            return True

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """See MembershipTable."""
        async with self._connection() as connection:
            return await connection.fetchval(_ALIVE, self._cluster, str(address), time) is not None

    async def cleanup(self, before: datetime) -> int:
        """See MembershipTable."""
        async with self._connection() as connection, connection.transaction():
            # Lock the version first: a change takes the version before a row, and the other order could deadlock.
            await connection.fetchval(_LOCK, self._cluster)
            gone: int = await connection.fetchval(_CLEANUP, self._cluster, SiloStatus.ACTIVE.value, before)
            return gone

    async def delete(self) -> None:
        """See MembershipTable."""
        async with self._connection() as connection, connection.transaction():
            await connection.fetchval(_LOCK, self._cluster)
            await connection.execute(_CLEAR, self._cluster)
            await connection.execute("DELETE FROM grange_membership_version WHERE cluster = $1", self._cluster)

    async def _change(self, statement: str, version: TableVersion, *columns: object) -> bool:
        try:
            async with self._connection() as connection, connection.transaction():
                if version == FRESH:
                    bumped = await connection.fetchval(_CREATE, self._cluster, secrets.token_hex(16), 1)
                else:
                    bumped = await connection.fetchval(_BUMP, self._cluster, version.incarnation, version.number)
                if bumped is None or await connection.fetchval(statement, *columns) is None:
                    raise _LostRace
        except _LostRace:
            return False
        return True

    def _columns(self, member: Member, version: TableVersion) -> tuple[object, ...]:
        row = member_to_json(member), member.started, member.alive
        return self._cluster, str(member.address), version.number + 1, member.status.value, *row

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection, None]:
        with table_errors():
            async with self._link.connection(OPERATION_TIMEOUT) as connection:
                yield connection


@asynccontextmanager
async def _link(url: str, connections: int) -> AsyncGenerator[PostgresLink]:
    if not parse_url(url, FORM).path.strip("/"):
        raise malformed(FORM, "a Postgres URL of a membership table must name a database")
    async with AsyncExitStack() as stack:
        with table_errors():
            opened = PostgresLink.open(url, connections, OPERATION_TIMEOUT, OPERATION_TIMEOUT)
            link = await stack.enter_async_context(opened)
        yield link


def _row(record: asyncpg.Record) -> Row | None:
    if record["member"] is None:
        return None
    return Row(member_from_json(record["member"], record["alive"]), str(record["etag"]))
