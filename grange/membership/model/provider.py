"""The contract of the membership table: one version per cluster, one row per silo, every change one compare-and-swap.

Follows Orleans' extended membership protocol: all views are totally ordered by the table version.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from grange.databases.findings import StoreFinding
from grange.membership.model.member import Member
from grange.proto.ids import SiloAddress


class TableVersion(msgspec.Struct, frozen=True):
    """A table's version: a number that rises by one with each change, and an opaque etag of exactly this state.

    The first insert draws `incarnation` at random, and it never changes; it is empty while the table is empty. A
    different incarnation than before, or a lower number, means that the database lost the table or went back in time. A
    provider returns such a version unchanged; `membership/table/recovery.py` judges it.
    """

    number: int
    etag: str
    incarnation: str = ""


FRESH = TableVersion(0, "0", "")
"""The version of a table that was never written."""


def table_version(incarnation: str, number: int) -> TableVersion:
    """The version as grange's own providers build it: the etag holds both parts, so it matches only one incarnation."""
    return TableVersion(number, f"{incarnation}/{number}", incarnation)


class Row(msgspec.Struct, frozen=True):
    """A member as stored, with the etag of its row."""

    member: Member
    etag: str


class Table(msgspec.Struct, frozen=True):
    """One atomic read of a cluster's table."""

    version: TableVersion
    rows: tuple[Row, ...] = ()

    def get(self, address: SiloAddress) -> Row | None:
        """The row of exactly this address."""
        return next((row for row in self.rows if row.member.address == address), None)


class MembershipTable(Protocol):
    """A cluster's table in a database. `membership/agent.py` changes it; clients and tools only read it.

    `insert` and `update` return False when the compare-and-swap lost: nothing changed; read again and decide again. All
    operations raise `MembershipUnavailable` when the database cannot be reached. A change that raised it may have been
    applied, so read before you decide. Exceptions of a driver never escape.
    """

    async def read(self) -> Table:
        """The whole table, atomically. A fresh table has version number 0 and an etag that is not None."""
        ...

    async def read_row(self, address: SiloAddress) -> tuple[Row | None, TableVersion]:
        """One row (None: no such row) with the table's version."""
        ...

    async def insert(self, member: Member, version: TableVersion) -> bool:
        """Add a row if the table is still at `version` and holds no row of this address.

        The first insert into a fresh table draws its incarnation. No other change ever creates a table.
        """
        ...

    async def update(self, member: Member, row_etag: str, version: TableVersion) -> bool:
        """Replace the row if the table is still at `version` and the row at `row_etag`.

        The row's `alive` time is kept as the later of both.
        """
        ...

    async def rebuild(self, members: Sequence[Member], seen: TableVersion, number: int) -> bool:
        """Replace the whole table by these rows, if it is still exactly at `seen` (FRESH: while it holds nothing).

        The new table has a new incarnation and starts at version `number`. For a table that the database lost or took
        back in time; `membership/table/recovery.py` decides when. Of several concurrent attempts one succeeds.
        """
        ...

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """Set the `alive` time of a row, without a new version or row etag.

        False: there is no such row, and nothing changed. Silos notice a lost table by this.
        """
        ...

    async def cleanup(self, before: datetime) -> int:
        """Delete rows of any status except ACTIVE whose `alive` and `started` are both before this time.

        Returns how many; if any, the version rises by one, so that each version names one state.
        """
        ...

    async def delete(self) -> None:
        """Delete this cluster's rows and version, and nothing of another cluster."""
        ...


class TableFactory(Protocol):
    """The class that an entry point of the group `grange.membership` names: it opens a table from a URL."""

    @classmethod
    def open(cls, url: str, cluster: str) -> AbstractAsyncContextManager[MembershipTable]:
        """Open connections and bring the schema up to date; the exit closes them.

        Raises `ConfigurationError` for a malformed URL and for a setting that is wrong, such as a password or a right,
        and `MembershipUnavailable` when the database cannot be reached.
        """
        ...


@runtime_checkable
class TriedTableFactory(Protocol):
    """A TableFactory that can find out, at a silo's start and for `grange doctor`, whether a silo could work."""

    @classmethod
    async def try_out(cls, url: str, cluster: str) -> list[StoreFinding]:
        """Do what a silo does, and leave nothing behind. Returns findings about what works, and what is restricted.

        Raises `ConfigurationError` when a setting must change before a silo can work, and `MembershipError`.
        """
        ...
