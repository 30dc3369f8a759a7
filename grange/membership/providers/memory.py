"""The membership table in this process's memory: for tests and for a cluster of one silo. Lost with the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from grange.databases.urls import shown_url
from grange.errors import ConfigurationError
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.provider import FRESH, Row, Table, TableVersion, table_version
from grange.proto.ids import SiloAddress


class MemoryStore:
    """Stands for the database: the tables of any number of clusters."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self._incarnations = 0

    def new_incarnation(self) -> str:
        """The next incarnation: counted, not random, so that a simulation with the same seed has the same table."""
        self._incarnations += 1
        return f"memory-{self._incarnations}"


class MemoryMembershipTable:
    """A table that all silos of one process share: build one and give it to each. Several tables may share a store.

    Every operation first lets other tasks run, as a real database does, and then runs without suspending.
    """

    def __init__(self, cluster: str = "default", store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()
        self._cluster = cluster

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, cluster: str) -> AsyncGenerator[MemoryMembershipTable, None]:
        """A fresh table of its own. Raises ConfigurationError when the URL is anything but `memory://`."""
        if url != "memory://":
            raise ConfigurationError(f"a membership table in memory takes no path or options: {shown_url(url)}")
        yield cls(cluster)

    async def read(self) -> Table:
        """See MembershipTable."""
        await asyncio.sleep(0)
        return self._table

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """See MembershipTable."""
        await asyncio.sleep(0)
        return self._table.get(address), self._table.version

    async def insert(self, member: Member, version: TableVersion) -> bool:
        """See MembershipTable."""
        await asyncio.sleep(0)
        table = self._table
        if table.version != version or table.get(member.address) is not None:
            return False
        self._write(table, member)
        return True

    async def update(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        """See MembershipTable."""
        await asyncio.sleep(0)
        table = self._table
        row = table.get(member.address)
        if table.version != version or row is None or row.etag != row_etag:
            return False
        self._write(table, msgspec.structs.replace(member, alive=max(member.alive, row.member.alive)))
        return True

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        """See MembershipTable."""
        await asyncio.sleep(0)
        if self._table.version != seen:
            return False
        rows = tuple(Row(member, str(number)) for member in members)
        self._store.tables[self._cluster] = Table(table_version(self._store.new_incarnation(), number), rows)
        return True

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """See MembershipTable."""
        await asyncio.sleep(0)
        table = self._table
        row = table.get(address)
        if row is None or row.member.alive >= time:
            return row is not None
        updated = Row(msgspec.structs.replace(row.member, alive=time), row.etag)
        rows = tuple(updated if other is row else other for other in table.rows)
        self._store.tables[self._cluster] = Table(table.version, rows)
        return True

    async def cleanup(self, before: datetime) -> int:
        """See MembershipTable."""
        await asyncio.sleep(0)
        table = self._table
        kept = tuple(row for row in table.rows if not _defunct(row.member, before))
        if gone := len(table.rows) - len(kept):
            version = table_version(table.version.incarnation, table.version.number + 1)
            self._store.tables[self._cluster] = Table(version, kept)
        return gone

    async def delete(self) -> None:
        """See MembershipTable."""
        await asyncio.sleep(0)
        self._store.tables.pop(self._cluster, None)

    @property
    def _table(self) -> Table:
        return self._store.tables.get(self._cluster, Table(FRESH))

    def _write(self, table: Table, member: Member) -> None:
        number = table.version.number + 1
        version = table_version(table.version.incarnation or self._store.new_incarnation(), number)
        others = tuple(row for row in table.rows if row.member.address != member.address)
        self._store.tables[self._cluster] = Table(version, (*others, Row(member, str(number))))


def _defunct(member: Member, before: datetime) -> bool:
    return member.status is not SiloStatus.ACTIVE and member.alive < before and member.started < before
