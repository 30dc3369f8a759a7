"""Repairs the table as a whole: finishes deaths, evicts silos that never finish joining, removes old votes and rows."""

from __future__ import annotations

import asyncio
import logging

from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.membership.model.member import Member, SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import MembershipTable, Table
from grange.membership.table.cleanup import cutoff, evict, is_cleaner
from grange.membership.table.session import Session
from grange.membership.table.transitions import Change, drop_votes, finish_death, stale_in
from grange.membership.table.writer import TableWriter
from grange.observability.catalogue import RowsRemoved, SiloDeclaredDead
from grange.observability.events import Events
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")


class Janitor:
    """One silo's share of the repairs. Made by `agent.py`, which calls `on_table_read` with each table that is read.

    `stale` are the living silos whose alive time has not changed for too long.
    """

    def __init__(
        self,
        me: SiloAddress,
        session: Session,
        writer: TableWriter,
        events: Events,
        options: MembershipOptions,
    ) -> None:
        self._me = me
        self._session = session
        self._writer = writer
        self._events = events
        self._options = options
        self._warnings = ThrottledLog(log)
        self._tasks = Tasks()
        self.stale: frozenset[SiloAddress] = frozenset()

    def on_table_read(self, table: Table) -> bool:
        """Start the repair that this table needs, if any. Returns whether other silos than before are `stale`."""
        own = table.get(self._me)
        if own is None or own.member.status is not SiloStatus.ACTIVE:
            return False
        before, self.stale = self.stale, self._stale_in(table)
        if not self._tasks and self._due(table) is not None:
            self._tasks.start(self._repair())
        return self.stale != before

    async def clean_up(self, rows: MembershipTable) -> None:
        """Remove rows of dead silos, at most once in a cleanup period. Ends by cancellation."""
        while self._options.cleanup:
            await asyncio.sleep(self._options.cleanup_period)
            try:
                table = await self._session.read()
                before = cutoff(table, self._session.ages(), self._options) if is_cleaner(table, self._me) else None
                if before is not None and (gone := await rows.cleanup(before)):
                    self._events.publish(RowsRemoved(gone))
                    await self._session.read()
            except Exception as error:
                self._warnings.warning(f"silo {self._me} could not remove rows of dead silos", error)

    async def close(self) -> None:
        """End the repair under way."""
        await self._tasks.close()

    def _stale_in(self, table: Table) -> frozenset[SiloAddress]:
        living = (row.member.address for row in table.rows if row.member.status is not SiloStatus.DEAD)
        return stale_in(table, self._session.ages(), self._options).intersection(living)

    def _due(self, table: Table) -> Change | None:
        ages = self._session.ages()
        death = finish_death(table, self._me, ages, self._options) or evict(table, self._me, ages, self._options)
        if death is None and is_cleaner(table, self._me):
            return drop_votes(table, self._me, ages, self._options)
        return death

    async def _repair(self) -> None:
        written: dict[SiloAddress, SiloDeclaredDead] = {}

        def decide(table: Table) -> Change | None:
            change = self._due(table)
            if change is not None and change.member.status is SiloStatus.DEAD:
                written[change.member.address] = self._death_of(change.member)
            return change

        try:
            await self._writer.settle(decide)
        except Exception as error:
            self._warnings.warning(f"silo {self._me} could not repair the row of another silo", error)
            return
        for death in written.values():
            self._events.publish(death)

    def _death_of(self, member: Member) -> SiloDeclaredDead:
        if votes := ", ".join(str(vote.voter) for vote in member.votes):
            return SiloDeclaredDead(str(member.address), f"the votes of {votes}", "they were enough before")
        return SiloDeclaredDead(str(member.address), f"silo {self._me}", "it was joining for longer than join_timeout")
