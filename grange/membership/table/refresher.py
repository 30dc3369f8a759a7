"""Periodic work of a silo on the table: reads it, and writes that this silo lives. Repeats both after a failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

from grange.aio.backoff import Backoff
from grange.errors import MembershipUnavailable, TableLost
from grange.membership.model.member import ROW_FORMAT, Member
from grange.membership.model.messages import Announcement
from grange.membership.model.options import MembershipOptions
from grange.membership.model.votes import RESOLUTION
from grange.membership.table.session import Session
from grange.membership.table.troubles import Troubles
from grange.membership.table.views import Views
from grange.proto.ids import SiloAddress


class Refresher:
    """Keeps the view fresh. `agent.py` runs `keep_fresh` and `write_alive`; both try again until cancelled.

    It is also the `Knowledge` of `detection/gossip.py`: the current view, and the receiver of hints and announcements.
    """

    def __init__(
        self,
        session: Session,
        views: Views,
        options: MembershipOptions,
        rng: random.Random,
        troubles: Troubles,
    ) -> None:
        self._session = session
        self._views = views
        self._options = options
        self._rng = rng
        self._troubles = troubles
        self._read_soon = asyncio.Event()
        self.highest_hint = 0

    @property
    def version(self) -> int:
        """The version of this silo's view."""
        return self._views.current.version

    def member(self, silo: SiloAddress) -> Member | None:
        """The silo's row in this silo's view."""
        return self._views.current.get(silo)

    def hint(self, version: int) -> None:
        """Note that another silo has seen this version: read the table soon if it is a newer one."""
        self.highest_hint = max(self.highest_hint, version)
        if version > self.version:
            self._read_soon.set()

    def announcement(self) -> Announcement:
        """The current view, for a silo that cannot read the table.

        Raises MembershipUnavailable before the first read.
        """
        known = self._session.memory.known
        if known is None:
            raise MembershipUnavailable("this silo has not read the membership table yet")
        return Announcement(known.incarnation, self._views.current, ROW_FORMAT)

    def on_announcement(self, announcement: Announcement) -> None:
        """Take over a view that another silo has read. If it contradicts this silo's memory, read the table soon."""
        if not self._session.apply(announcement):
            self._read_soon.set()

    async def keep_fresh(self) -> None:
        """Read the table once in a refresh period, and soon after a hint of a newer version."""
        while True:
            await self._hint_or_period()
            await self._read_until_answered()

    async def write_alive(self, me: Member, now: Callable[[], datetime]) -> None:
        """Write that `me` lives, once in an alive period, first at a random moment of it.

        Each time is later than the one before, even if the clock was set back: the other silos see that it changes.
        """
        backoff = self._backoff()
        pause = self._rng.uniform(0, self._options.alive_period)
        failed, alive = False, me.alive
        while True:
            await asyncio.sleep(pause)
            alive = max(now(), alive + RESOLUTION)
            try:
                if not await self._session.alive(me.address, alive) or failed:
                    self._read_soon.set()  # the row is gone, or the database was unreachable: check the table
                failed = False
                backoff.reset()
                pause = self._options.alive_period
            except Exception as error:
                self._troubles.report(f"silo {me.address} could not write to the membership table that it lives", error)
                failed = True
                pause = backoff.pause()

    async def _read_until_answered(self) -> None:
        backoff = self._backoff()
        while True:
            try:
                await self._session.read()
                return
            except TableLost:
                return  # `rebuild.py` reads a lost table each second
            except Exception as error:
                self._troubles.report("the membership view could not be refreshed", error)
                await asyncio.sleep(backoff.pause())

    async def _hint_or_period(self) -> None:
        try:
            async with asyncio.timeout(self._options.refresh_period * self._rng.uniform(0.5, 1.0)):
                await self._read_soon.wait()
        except TimeoutError:
            pass
        self._read_soon.clear()

    def _backoff(self) -> Backoff:
        return Backoff(self._options.backoff_first, self._options.backoff_limit, self._rng)
