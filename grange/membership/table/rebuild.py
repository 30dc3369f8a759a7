"""Restores a lost table, and writes again the entries that a table has lost: the shell around `recovery.py`.

While the table is lost every read raises TableLost, so no silo votes or joins; calls continue with the last view. After
`rebuild_after` the active silo with the lowest address rebuilds the table from its memory, by compare-and-swap on the
version that it read. The other silos take over the result (rules R3 and R4).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

import msgspec

from grange.aio.throttled_log import ThrottledLog
from grange.errors import MembershipError, MembershipUnavailable, TableLost
from grange.membership.model.member import ROW_FORMAT, Member, SiloStatus, View, Written
from grange.membership.model.messages import Announcement
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.recovery import Loss, lower, merged, next_number, reassert, rejoin
from grange.membership.table.refresher import Refresher
from grange.membership.table.session import Session
from grange.membership.table.transitions import Change
from grange.membership.table.writer import TableWriter
from grange.observability import catalogue
from grange.observability.events import Events
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")

POLL_INTERVAL = 1.0
"""Seconds between two reads of a lost table: it may be back, or another silo may have rebuilt it."""

PRECEDENCE = 2.0
"""Seconds that each silo with a lower address has to rebuild the table first; only silos that answer are counted."""

MAX_PRECEDING = 5
"""Most other silos that a silo waits for: they may never notice the loss."""


class OtherSilos(Protocol):
    """The other silos, as a rebuild reaches them; `detection/gossip.py` implements it. Neither method raises."""

    async def answers(self, silo: SiloAddress) -> bool:
        """Probe a silo once; whether it answered."""
        ...

    def announce(self, announcement: Announcement, before: View) -> None:
        """Send a view to its own members and to those of the view before."""
        ...


class Rebuild:
    """One silo's part in the repair. `agent.py` runs `run` as a task."""

    def __init__(
        self,
        session: Session,
        writer: TableWriter,
        refresher: Refresher,
        others: OtherSilos,
        events: Events,
        options: MembershipOptions,
    ) -> None:
        self._session = session
        self._writer = writer
        self._refresher = refresher
        self._others = others
        self._events = events
        self._options = options
        self._warnings = ThrottledLog(log)

    async def run(self) -> None:
        """Wait until the table needs repair, repair it, and start again. Ends by cancellation only."""
        while True:
            await self._session.needs_repair.wait()
            self._session.needs_repair.clear()
            try:
                if self._session.loss is not None:
                    await self._recover()
                await self._reassert()
            except TableLost:
                continue  # lost again; that has set `needs_repair` again
            except Exception as error:
                self._warnings.warning("lost entries of the membership table could not be written again", error)
                await asyncio.sleep(POLL_INTERVAL)
                self._session.needs_repair.set()

    async def _recover(self) -> None:
        memory = self._session.memory
        self._events.publish(catalogue.TableLost(memory.view.version, self._options.rebuild_after))
        if memory.known is not None:
            # All silos should work with, and rebuild from, the newest view that any of them has.
            self._others.announce(Announcement(memory.known.incarnation, memory.view, ROW_FORMAT), memory.view)
        while (loss := self._session.loss) is not None:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                await self._session.read()
            except TableLost:
                await self._act(self._session.loss or loss)
            except MembershipError as error:
                self._events.publish(catalogue.TableUnreachable("the lost membership table cannot be read", str(error)))
        version = self._session.memory.view.version
        self._events.publish(catalogue.TableBack(version))

    async def _act(self, loss: Loss) -> None:
        """Take one step towards a table that holds all silos: insert the own row again, or rebuild in turn."""
        memory, own, table = self._session.memory, self._session.own, loss.table
        if own is None or own.status is SiloStatus.DEAD or memory.known is None:
            return
        try:
            change = rejoin(table, memory, own)
            if change is not None:
                await self._session.write(change, table.version)
            elif await self._is_my_turn(loss):
                number = next_number(memory, table, self._refresher.highest_hint)
                rows = _signed(merged(table, memory, self._session.tombstones), own.address, number)
                if await self._session.rebuild(rows, table.version, number):
                    self._events.publish(catalogue.TableRebuilt(number))
                    await self._announce_rebuilt()
        except MembershipUnavailable as error:
            # The outcome is unknown; the next read shows it.
            work = "the membership table could not be rebuilt"
            self._events.publish(catalogue.TableUnreachable(work, str(error)))

    async def _is_my_turn(self, loss: Loss) -> bool:
        memory = self._session.memory
        waited = asyncio.get_running_loop().time() - loss.since
        first_due = self._options.rebuild_after
        if memory.known is not None and loss.rolled_back(memory.known):
            first_due /= 2
        if waited < first_due:
            return False
        preceding = lower(memory)[:MAX_PRECEDING]
        if not preceding or waited >= first_due + PRECEDENCE * len(preceding):
            return True
        answers = await asyncio.gather(*(self._others.answers(silo) for silo in preceding))
        return waited >= first_due + PRECEDENCE * sum(answers)

    async def _announce_rebuilt(self) -> None:
        before = self._session.memory.view
        table = await self._session.read()
        self._others.announce(self._session.announcement(table), before)

    async def _reassert(self) -> None:
        tombstones, own = self._session.tombstones, self._session.own
        logged: set[SiloAddress] = set()

        def decide(table: Table) -> Change | None:
            returned = tombstones.returned(row.member for row in table.rows)
            if not logged.issuperset(returned):
                logged.update(returned)
                self._events.publish(catalogue.DeadRowReturned(", ".join(map(str, returned))))
            return reassert(table, tombstones, own)

        await self._writer.settle(decide)


def _signed(rows: tuple[Member, ...], me: SiloAddress, number: int) -> tuple[Member, ...]:
    """The rows of a rebuilt table, with the rebuild as the last write of this silo's own row."""
    written = Written(me, number, "it has rebuilt the lost table")
    return tuple(msgspec.structs.replace(row, written=written) if row.address == me else row for row in rows)
