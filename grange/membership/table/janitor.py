"""What a silo does for the table as a whole: finishes deaths, declares those dead who never finish joining, sweeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.membership.model.member import SiloStatus
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import MembershipTable, Table
from grange.membership.table.cleanup import cutoff, evict, sweeps
from grange.membership.table.session import Decide, Session
from grange.membership.table.transitions import Change, finish, stale_in
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")


class Janitor:
    """One silo's share of it. Made by `agent.py`, which has `look` called with each table that is read.

    `settle` changes the table; `changed` is called when other silos than before are `stale`.
    """

    def __init__(
        self,
        me: SiloAddress,
        now: Callable[[], datetime],
        settle: Callable[[Decide], Awaitable[Table]],
        changed: Callable[[], None],
        options: MembershipOptions,
    ) -> None:
        self._me = me
        self._now = now
        self._settle = settle
        self._changed = changed
        self._options = options
        self._warnings = ThrottledLog(log)
        self._tasks = Tasks()
        self.stale: frozenset[SiloAddress] = frozenset()

    def look(self, table: Table, trusted: bool) -> None:
        """A table was read. `trusted`: `alive` times mean something, because the table itself was there."""
        own = table.get(self._me)
        if own is None or own.member.status is not SiloStatus.ACTIVE:
            return
        now = self._now()
        living = (row.member.address for row in table.rows if row.member.status is not SiloStatus.DEAD)
        stale = stale_in(table, now, self._options).intersection(living) if trusted else frozenset[SiloAddress]()
        if stale != self.stale:
            self.stale = stale
            self._changed()
        if not self._tasks and self._due(table) is not None:
            self._tasks.start(self._mend())

    async def sweep(self, session: Session, rows: MembershipTable) -> None:
        """Remove rows of the dead, at most once in a period, for as long as this runs."""
        while self._options.cleanup:
            await asyncio.sleep(self._options.cleanup_period)
            try:
                table = await session.read()
                before = cutoff(table, self._now(), self._options) if sweeps(table, self._me) else None
                if before is not None and (gone := await rows.cleanup(before)):
                    log.info("silo %s removed %d rows of dead silos", self._me, gone, extra={"event": "rows_removed"})
                    await session.read()
            except Exception as error:
                self._warnings.warning(f"silo {self._me} could not remove rows of dead silos", error)

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    def _due(self, table: Table) -> Change | None:
        now = self._now()
        return finish(table, self._me, now, self._options) or evict(table, self._me, now, self._options)

    async def _mend(self) -> None:
        written: dict[SiloAddress, str] = {}

        def decide(table: Table) -> Change | None:
            change = self._due(table)
            if change is not None:
                votes = ", ".join(str(vote.voter) for vote in change.member.votes)
                reason = f"it had the votes of {votes}" if votes else "it was joining for longer than it may"
                written[change.member.address] = reason
            return change

        try:
            await self._settle(decide)
        except Exception as error:
            self._warnings.warning(f"silo {self._me} could not write the death of another", error)
            return
        for silo, reason in written.items():
            log.error("silo %s is declared dead: %s", silo, reason, extra={"event": "silo_declared_dead"})
