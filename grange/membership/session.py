"""A silo's dealings with the table: every read is judged, every change is settled by reading again."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from grange.errors import MembershipUnavailable, TableLost
from grange.membership.member import View
from grange.membership.messages import Announcement
from grange.membership.provider import MembershipTable, Table, TableVersion, table_version
from grange.membership.steps import Change, Standing, standing, view_of
from grange.proto.ids import SiloAddress

Decide = Callable[[Table], Change | None]
"""The next change towards what is wanted, or None when the table says it already; see `steps.py`."""

CONTENTION_PAUSE = 0.05
"""Longest wait in seconds after a lost race, so that silos that join together do not stay in step."""


class Session:
    """The table as one silo knows it. `seen` is called with the view of each read and each accepted announcement."""

    def __init__(self, table: MembershipTable, seen: Callable[[View], None], chance: random.Random) -> None:
        self._table = table
        self._seen = seen
        self._chance = chance
        self._known: TableVersion | None = None
        self._reachable_since: float | None = -math.inf

    async def read(self) -> Table:
        """The table now. Raises MembershipUnavailable, and TableLost when it is not the table it was."""
        known = self._known
        try:
            table = await self._table.read()
        except MembershipUnavailable:
            self._reachable_since = None
            raise
        if self._reachable_since is None:
            self._reachable_since = asyncio.get_running_loop().time()
        if standing(known, table.version) is Standing.LOST:
            raise _lost(known, table.version)
        self._learn(table.version, view_of(table))
        return table

    async def settle(self, decide: Decide) -> Table:
        """Change the table until `decide` has nothing left to change; returns the table that it was content
        with.

        Raises what `decide` and `read` raise, and MembershipUnavailable when the outcome of a change is
        unknown: call again, and the table itself will tell.
        """
        while True:
            table = await self.read()
            change = decide(table)
            if change is None:
                return table
            if not await self._write(change, table.version):
                await asyncio.sleep(self._chance.uniform(0, CONTENTION_PAUSE))

    async def alive(self, address: SiloAddress, time: datetime) -> None:
        """Tell the table that this silo lives."""
        await self._table.alive(address, time)

    def hear(self, announcement: Announcement) -> bool:
        """Take over a view that another silo has read. False when it is of another table: read, to find out."""
        known = self._known
        if known is None or known.incarnation != announcement.incarnation:
            return False
        version = table_version(announcement.incarnation, announcement.view.version)
        self._learn(version, announcement.view)
        return True

    def announcement(self, table: Table) -> Announcement:
        """What to tell the others about a table just read."""
        return Announcement(table.version.incarnation, view_of(table))

    def reachable_for(self, span: timedelta) -> bool:
        """Whether the table has answered, without a failure, for so long. True in a silo that knows no failure."""
        since = self._reachable_since
        return since is not None and asyncio.get_running_loop().time() - since >= span.total_seconds()

    async def _write(self, change: Change, version: TableVersion) -> bool:
        if change.row_etag is None:
            return await self._table.insert(change.member, version)
        return await self._table.update(change.member, change.row_etag, version)

    def _learn(self, version: TableVersion, view: View) -> None:
        # Announcements may have overtaken a read: what is known never goes back.
        if standing(self._known, version) is Standing.NEWER:
            self._known = version
            self._seen(view)


def _lost(known: TableVersion | None, read: TableVersion) -> TableLost:
    before = known.number if known else 0
    found = f"at version {read.number}" if read.incarnation else "empty"
    return TableLost(
        f"the membership table was at version {before} and is {found} now: the database lost it or went back in time; "
        f"running silos go on without joins and deaths; restore the table, or restart all silos"
    )
