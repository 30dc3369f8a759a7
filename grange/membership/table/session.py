"""A silo's session with the table: it judges every read, and settles every change by reading again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

import msgspec

from grange import clock
from grange.errors import MembershipUnavailable, TableLost
from grange.membership.model.member import ROW_FORMAT, Member, View, Written
from grange.membership.model.messages import Announcement
from grange.membership.model.observations import Ages, Observations
from grange.membership.model.provider import MembershipTable, Table, TableVersion, table_version
from grange.membership.table.recovery import Loss, Memory, forgotten, judge
from grange.membership.table.tombstones import Tombstones
from grange.membership.table.transitions import Change, VersionOrder, view_of
from grange.observability import catalogue
from grange.observability.events import Events
from grange.proto.ids import SiloAddress

Decide = Callable[[Table], Change | None]
"""Returns the next change towards a goal, or None when the table has reached it; see `transitions.py`."""

CONTENTION_PAUSE = 0.05
"""Longest wait in seconds after a lost race; it keeps silos that join together from staying in step."""

MEMORY_SPAN = 3600.0
"""Seconds. A silo that accepted no view for longer was stopped itself: it trusts the table more than its memory."""


def _ignore(table: Table) -> None:
    """The default `on_table_read`."""


class SessionDeps(msgspec.Struct, frozen=True):
    """`uptime` counts seconds on a clock that is never set, the machine's sleep included."""

    rng: random.Random
    events: Events
    uptime: Callable[[], float] = clock.uptime


class Session:
    """One silo's access to the table, with its memory of the views that it accepted. Made by `agent.py`.

    `on_view` is called with the view of each read and of each accepted announcement; silos that it remembers as
    dead are DEAD in it, even if the table shows them alive. `on_table_read` is called with each table that was read and
    is not lost. `needs_repair` is set when the table is lost, or lacks an entry that this silo remembers; `rebuild.py`
    waits for it.
    """

    def __init__(
        self,
        table: MembershipTable,
        on_view: Callable[[View], None],
        deps: SessionDeps,
        me: SiloAddress | None = None,
        on_table_read: Callable[[Table], None] = _ignore,
    ) -> None:
        self._table = table
        self._on_view = on_view
        self._on_table_read = on_table_read
        self._rng = deps.rng
        self._events = deps.events
        self._uptime = uptime = deps.uptime
        self._is_reachable = True
        self._away_since = 0.0
        self._accepted_at = uptime()
        self._observations = Observations()
        self.memory = Memory(me=me)
        self.tombstones = Tombstones()
        self.own: Member | None = None
        self.loss: Loss | None = None
        self.needs_repair = asyncio.Event()

    @property
    def condition(self) -> str:
        """For operators: "ok", "unreachable", or "lost" until the table is rebuilt or back."""
        if not self._is_reachable:
            return "unreachable"
        return "ok" if self.loss is None else "lost"

    async def read(self) -> Table:
        """The table now. Raises MembershipUnavailable, and TableLost when the database lost it or went back in time."""
        while True:
            before = self.memory
            table = await self._read()
            if self._judge(before, table.version, view_of(table)) is not VersionOrder.LOST:
                self.loss = None
                self._accept(table.version, view_of(table))
                self._observations.on_read((row.member for row in table.rows), asyncio.get_running_loop().time())
                self._on_table_read(table)
                return table
            if self.memory is before:
                raise self._lost(table)
            # An announcement changed the memory during the read, so the judgement is out of date. Read again.

    async def settle(self, decide: Decide) -> Table:
        """Change the table until `decide` returns None for it; returns that table.

        Raises what `decide` and `read` raise, and MembershipUnavailable when the outcome of a change is unknown. Call
        it again then: the next read shows the outcome.
        """
        while True:
            table = await self.read()
            change = decide(table)
            if change is None:
                return table
            if not await self.write(change, table.version):
                await asyncio.sleep(self._rng.uniform(0, CONTENTION_PAUSE))

    async def write(self, change: Change, version: TableVersion) -> bool:
        """Make one change to the table as it was at `version`. False: another change was first."""
        member = change.member
        if self.memory.me is not None:
            member = msgspec.structs.replace(member, written=Written(self.memory.me, version.number + 1, change.why))
        if change.row_etag is None:
            return await self._table.insert(member, version)
        return await self._table.update(member, change.row_etag, version)

    async def rebuild(self, members: tuple[Member, ...], seen: TableVersion, number: int) -> bool:
        """Replace a lost table. False: it has changed since it was read."""
        return await self._table.rebuild(members, seen, number)

    async def alive(self, address: SiloAddress, time: datetime) -> bool:
        """Write that this silo lives. False: the table has no such row."""
        return await self._table.alive(address, time)

    def apply(self, announcement: Announcement) -> bool:
        """Take over a view that another silo has read. False: read the table.

        The view contradicts this silo's memory, or a silo of an earlier release passed its rows on, which may have lost
        fields.
        """
        known = self.memory.known
        if known is None or known.incarnation != announcement.incarnation or announcement.row_format < ROW_FORMAT:
            return False
        version = table_version(announcement.incarnation, announcement.view.version)
        self._accept(version, announcement.view)
        return self.memory.known is not None and version.number <= self.memory.known.number

    def current(self) -> Announcement | None:
        """This silo's newest view, for the other silos; None before the first read."""
        known, view = self.memory.known, self.memory.view
        return None if known is None else Announcement(known.incarnation, view, ROW_FORMAT)

    def announcement(self, table: Table) -> Announcement:
        """The view of a table just read, for the other silos."""
        return Announcement(table.version.incarnation, view_of(table), ROW_FORMAT)

    def ages(self) -> Ages:
        """For how long this silo has seen the entries of the table unchanged, while it could read the table."""
        return self._observations.ages(asyncio.get_running_loop().time())

    async def _read(self) -> Table:
        try:
            table = await self._table.read()
        except MembershipUnavailable:
            if self._is_reachable:
                self._away_since = asyncio.get_running_loop().time()
            self._is_reachable = False
            self._observations.restart_alive()  # the other silos could not write their alive times either
            raise
        if not self._is_reachable:
            self._is_reachable = True
            seconds = asyncio.get_running_loop().time() - self._away_since
            self._events.publish(catalogue.TableReachable(seconds))
        return table

    def _judge(self, memory: Memory, version: TableVersion, view: View) -> VersionOrder:
        if self._uptime() - self._accepted_at > MEMORY_SPAN:
            memory = Memory(memory.known)
        return judge(memory, version, view)

    def _accept(self, version: TableVersion, view: View) -> None:
        # An announcement may have overtaken a read. The memory never goes back.
        order = self._judge(self.memory, version, view)
        if order is VersionOrder.LOST:
            return
        self._accepted_at = self._uptime()
        if order is VersionOrder.SAME:
            return
        self.tombstones.remember(view, self._uptime())
        self._observations.on_members(view.members, asyncio.get_running_loop().time())
        corrected = self.tombstones.corrected(view)
        self.memory = Memory(version, corrected, self.memory.me)
        self._remember_own(view)
        if forgotten(view.members, self.tombstones, self.own):
            self.needs_repair.set()
        self._on_view(corrected)

    def _remember_own(self, view: View) -> None:
        own = view.get(self.memory.me) if self.memory.me is not None else None
        if own is not None and (self.own is None or own.status.rank >= self.own.status.rank):
            self.own = own

    def _lost(self, table: Table) -> TableLost:
        if self.loss is None or self.loss.table.version.incarnation != table.version.incarnation:
            self.loss = Loss(table, asyncio.get_running_loop().time())
        self.loss = Loss(table, self.loss.since)
        self.needs_repair.set()
        self._observations.restart_alive()
        known, read = self.memory.known, table.version
        before = known.number if known else 0
        state = f"at version {read.number}" if read.incarnation else "empty"
        return TableLost(
            f"the membership table was at version {before} and is {state} now: the database lost it or went back in "
            f"time; running silos continue without joins and deaths, and rebuild it"
        )
