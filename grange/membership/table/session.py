"""A silo's dealings with the table: every read is judged, every change is settled by reading again."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from grange import clock
from grange.errors import MembershipUnavailable, TableLost
from grange.membership.model.member import Member, View
from grange.membership.model.messages import Announcement
from grange.membership.model.provider import MembershipTable, Table, TableVersion, table_version
from grange.membership.table.recovery import Loss, Memory, forgotten, judge
from grange.membership.table.tombstones import Tombstones
from grange.membership.table.transitions import Change, Standing, view_of
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")

Decide = Callable[[Table], Change | None]
"""The next change towards what is wanted, or None when the table says it already; see `transitions.py`."""

CONTENTION_PAUSE = 0.05
"""Longest wait in seconds after a lost race, so that silos that join together do not stay in step."""

MEMORY_SPAN = timedelta(hours=1)
"""A silo that saw no table for longer than this was away itself: it believes the table, not its memory of who lives."""


def _nothing(table: Table) -> None:
    """Nobody wants to know."""


class Session:
    """The table as one silo knows it. `seen` is called with the view of each read and each accepted announcement.

    Views have the remembered dead as dead, whatever the table says. `amiss` is set when the table is not what it was,
    or has forgotten something that this silo remembers; `rebuild.py` waits for it. `when_read` is called with each
    table that is as it should be.
    """

    def __init__(
        self,
        table: MembershipTable,
        seen: Callable[[View], None],
        rng: random.Random,
        me: SiloAddress | None = None,
        now: Callable[[], datetime] = clock.utc_now,
    ) -> None:
        self._table = table
        self._seen = seen
        self._rng = rng
        self._now = now
        self._reachable_since: float | None = -math.inf
        self._away_since = -math.inf
        self._accepted_at = now()
        self.memory = Memory(me=me)
        self.graves = Tombstones()
        self.own: Member | None = None
        self.loss: Loss | None = None
        self.amiss = asyncio.Event()
        self.when_read: Callable[[Table], None] = _nothing

    @property
    def standing(self) -> str:
        """For people: "ok", "unreachable", or "lost" while the table is not what it was."""
        if self._reachable_since is None:
            return "unreachable"
        return "ok" if self.loss is None else "lost"

    async def read(self) -> Table:
        """The table now. Raises MembershipUnavailable, and TableLost when it is not the table it was."""
        while True:
            before = self.memory
            table = await self._read()
            if self._judge(before, table.version, view_of(table)) is not Standing.LOST:
                self.loss = None
                self._learn(table.version, view_of(table))
                self.when_read(table)
                return table
            if self.memory is before:
                raise self._lost(table)
            # What is known has changed since the read began: it is judged by an outdated memory. Read again.

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
            if not await self.write(change, table.version):
                await asyncio.sleep(self._rng.uniform(0, CONTENTION_PAUSE))

    async def write(self, change: Change, version: TableVersion) -> bool:
        """Make one change to the table as it was at `version`. False: somebody else was first."""
        if change.row_etag is None:
            return await self._table.insert(change.member, version)
        return await self._table.update(change.member, change.row_etag, version)

    async def rebuild(self, members: tuple[Member, ...], seen: TableVersion, number: int) -> bool:
        """Replace a lost table. False: it is no longer as it was seen."""
        return await self._table.rebuild(members, seen, number)

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """Tell the table that this silo lives. False: it has no such row."""
        return await self._table.alive(address, time)

    def hear(self, announcement: Announcement) -> bool:
        """Take over a view that another silo has read. False when it does not fit what is known: read, to find out."""
        known = self.memory.known
        if known is None or known.incarnation != announcement.incarnation:
            return False
        version = table_version(announcement.incarnation, announcement.view.version)
        self._learn(version, announcement.view)
        return self.memory.known is not None and version.number <= self.memory.known.number

    def current(self) -> Announcement | None:
        """What to tell others about what is known now."""
        known, view = self.memory.known, self.memory.view
        return None if known is None else Announcement(known.incarnation, view)

    def announcement(self, table: Table) -> Announcement:
        """What to tell the others about a table just read."""
        return Announcement(table.version.incarnation, view_of(table))

    def reachable_for(self, span: timedelta) -> bool:
        """Whether the table has answered, without a failure, for so long. True in a silo that knows no failure."""
        since = self._reachable_since
        return since is not None and asyncio.get_running_loop().time() - since >= span.total_seconds()

    async def _read(self) -> Table:
        try:
            table = await self._table.read()
        except MembershipUnavailable:
            if self._reachable_since is not None:
                self._away_since = asyncio.get_running_loop().time()
            self._reachable_since = None
            raise
        if self._reachable_since is None:
            self._reachable_since = asyncio.get_running_loop().time()
            seconds = self._reachable_since - self._away_since
            log.info("the membership table answers again after %.1f s", seconds, extra={"event": "table_reachable"})
        return table

    def _judge(self, memory: Memory, version: TableVersion, found: View) -> Standing:
        if self._now() - self._accepted_at > MEMORY_SPAN:
            memory = Memory(memory.known)
        return judge(memory, version, found)

    def _learn(self, version: TableVersion, view: View) -> None:
        # Announcements may have overtaken a read: what is known never goes back.
        standing = self._judge(self.memory, version, view)
        if standing is Standing.LOST:
            return
        self._accepted_at = self._now()
        if standing is Standing.SAME:
            return
        self.graves.remember(view, self._now())
        corrected = self.graves.corrected(view)
        self.memory = Memory(version, corrected, self.memory.me)
        self._remember_own(view)
        if forgotten(view.members, self.graves, self.own):
            self.amiss.set()
        self._seen(corrected)

    def _remember_own(self, view: View) -> None:
        own = view.get(self.memory.me) if self.memory.me is not None else None
        if own is not None and (self.own is None or own.status.rank >= self.own.status.rank):
            self.own = own

    def _lost(self, table: Table) -> TableLost:
        if self.loss is None or self.loss.table.version.incarnation != table.version.incarnation:
            self.loss = Loss(table, asyncio.get_running_loop().time())
        self.loss = Loss(table, self.loss.since)
        self.amiss.set()
        known, read = self.memory.known, table.version
        before = known.number if known else 0
        found = f"at version {read.number}" if read.incarnation else "empty"
        return TableLost(
            f"the membership table was at version {before} and is {found} now: the database lost it or went back in "
            f"time; running silos go on without joins and deaths, and rebuild it"
        )
