"""What a silo does about a table that was lost or has forgotten something: the shell around `recovery.py`.

While the table is lost nobody votes and nobody joins, because every read raises TableLost; calls go on with the last
view. After a while the active silo with the lowest address rebuilds the table from its memory, by compare-and-swap on
what it found there; the others take over what they find (rules R3 and R4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from grange.aio.throttled_log import ThrottledLog
from grange.errors import MembershipError, MembershipUnavailable, TableLost
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.messages import Announcement
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.recovery import Loss, lower, merged, next_number, reassert, rejoin
from grange.membership.table.session import Decide, Session
from grange.membership.table.transitions import Change
from grange.proto.ids import SiloAddress

log = logging.getLogger("grange.membership")

LOOK_INTERVAL = 1.0
"""Seconds between two looks at a lost table: it may be back, or another silo may have rebuilt it."""

TURN = 2.0
"""Seconds that each silo with a lower address gets to rebuild the table first; one that does not answer gets none."""

LAST_TURN = 5
"""A silo waits for so many others at most: they may not see a loss at all."""


@dataclass(frozen=True, slots=True)
class Others:
    """The way to the other silos: `settle` changes the table and tells them, `answers` probes one of them once,
    `spread` tells a view to everybody, and `heard` is the highest version that any of them has mentioned.
    """

    settle: Callable[[Decide], Awaitable[Table]]
    answers: Callable[[SiloAddress], Awaitable[bool]]
    spread: Callable[[Announcement, View], None]
    heard: Callable[[], int]


class Rebuild:
    """One silo's part in getting a lost table back. Made and run by `agent.py`; `now` is the wall clock."""

    def __init__(
        self, session: Session, others: Others, options: MembershipOptions, now: Callable[[], datetime]
    ) -> None:
        self._session = session
        self._others = others
        self._options = options
        self._now = now
        self._warnings = ThrottledLog(log)
        self._alarms = ThrottledLog(log)

    async def run(self) -> None:
        """Wait until something is amiss, put it right, and start again. Ends by cancellation only."""
        while True:
            await self._session.amiss.wait()
            self._session.amiss.clear()
            try:
                if self._session.loss is not None:
                    await self._recover()
                await self._reassert()
            except TableLost:
                continue  # lost once more, which has set `amiss` again
            except Exception as error:
                self._warnings.warning("what the membership table forgot could not be written", error)
                await asyncio.sleep(LOOK_INTERVAL)
                self._session.amiss.set()

    async def _recover(self) -> None:
        memory = self._session.memory
        self._alarms.error(
            f"the membership table is lost: it was at version {memory.view.version}; calls go on, joins and deaths "
            f"wait until it is back, or rebuilt after {self._options.rebuild_after:g} s",
            "table_lost",
        )
        if memory.known is not None:
            # So that everybody goes on from the newest view that anybody has.
            self._others.spread(Announcement(memory.known.incarnation, memory.view), memory.view)
        while (loss := self._session.loss) is not None:
            await asyncio.sleep(LOOK_INTERVAL)
            try:
                await self._session.read()
            except TableLost:
                await self._act(self._session.loss or loss)
            except MembershipError as error:
                self._warnings.warning("the lost membership table cannot be read", error, "table_unreachable")
        version = self._session.memory.view.version
        log.info("the membership table is back, at version %d", version, extra={"event": "table_back"})

    async def _act(self, loss: Loss) -> None:
        """One step towards a table that holds everybody, if it is time for it and this silo's turn."""
        memory, own, table = self._session.memory, self._session.own, loss.table
        if own is None or own.status is SiloStatus.DEAD or memory.known is None:
            return
        try:
            change = rejoin(table, memory, own)
            if change is not None:
                await self._session.write(change, table.version)
            elif await self._is_my_turn(loss):
                number = next_number(memory, table, self._others.heard())
                rows = merged(table, memory, self._session.graves, self._now())
                if await self._session.rebuild(rows, table.version, number):
                    event = {"event": "table_rebuilt"}
                    log.info("silo %s has rebuilt the membership table at version %d", own.address, number, extra=event)
                    await self._tell()
        except MembershipUnavailable as error:
            # Whether it was done is seen at the next look.
            self._warnings.warning("the membership table could not be rebuilt", error, "table_unreachable")

    async def _is_my_turn(self, loss: Loss) -> bool:
        memory = self._session.memory
        waited = asyncio.get_running_loop().time() - loss.since
        patience = self._options.rebuild_after
        if memory.known is not None and loss.rolled_back(memory.known):
            patience /= 2
        if waited < patience:
            return False
        first = lower(memory)[:LAST_TURN]
        if not first or waited >= patience + TURN * len(first):
            return True
        answers = await asyncio.gather(*(self._others.answers(silo) for silo in first))
        return waited >= patience + TURN * sum(answers)

    async def _tell(self) -> None:
        before = self._session.memory.view
        table = await self._session.read()
        self._others.spread(self._session.announcement(table), before)

    async def _reassert(self) -> None:
        graves, own = self._session.graves, self._session.own
        told: set[SiloAddress] = set()

        def decide(table: Table) -> Change | None:
            returned = graves.returned(row.member for row in table.rows)
            if not told.issuperset(returned):
                told.update(returned)
                names = ", ".join(map(str, returned))
                event = {"event": "dead_row_returned"}
                log.warning(
                    "the membership table has %s alive, who is dead: the database went back", names, extra=event
                )
            return reassert(table, graves, own)

        await self._others.settle(decide)
