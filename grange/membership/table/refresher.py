"""What a silo does again and again: read the table, and tell it that it lives. A table that is away is waited for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime

from grange.aio.backoff import Backoff
from grange.aio.throttled_log import ThrottledLog
from grange.errors import MembershipUnavailable, TableLost
from grange.membership.model.member import Member
from grange.membership.model.messages import Announcement
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.session import Decide, Session
from grange.membership.table.views import Views
from grange.proto.ids import SiloAddress


class Refresher:
    """The patient side of `session.py`: everything here tries again, at growing intervals, until it is cancelled."""

    def __init__(
        self,
        session: Session,
        views: Views,
        options: MembershipOptions,
        rng: random.Random,
        complaints: ThrottledLog,
    ) -> None:
        self._session = session
        self._views = views
        self._options = options
        self._rng = rng
        self._warnings = complaints
        self._news = asyncio.Event()
        self.heard = 0

    @property
    def version(self) -> int:
        """The version of this silo's view."""
        return self._views.current.version

    def member(self, silo: SiloAddress) -> Member | None:
        """The silo's row in this silo's view."""
        return self._views.current.get(silo)

    def hint(self, version: int) -> None:
        """Somebody has seen this version: read the table soon if it is a newer one."""
        self.heard = max(self.heard, version)
        if version > self.version:
            self._news.set()

    def announcement(self) -> Announcement:
        """What to tell somebody who cannot read the table. Raises MembershipUnavailable before the first read."""
        known = self._session.memory.known
        if known is None:
            raise MembershipUnavailable("this silo has not read the membership table yet")
        return Announcement(known.incarnation, self._views.current)

    def hear(self, announcement: Announcement) -> None:
        """Take over what somebody else has read; if it does not fit what is known, read the table soon."""
        if not self._session.hear(announcement):
            self._news.set()

    async def keep_fresh(self) -> None:
        """Read the table once in a refresh period, and whenever there is news of a newer version."""
        while True:
            await self._news_or_period()
            await self._read_at_last()

    async def tell_alive(self, me: SiloAddress, now: Callable[[], datetime]) -> None:
        """Write that `me` lives, once in an alive period, first at a random moment of it."""
        backoff = self._backoff()
        pause = self._rng.uniform(0, self._options.alive_period)
        failed = False
        while True:
            await asyncio.sleep(pause)
            try:
                if not await self._session.alive(me, now()) or failed:
                    self._news.set()  # the row is gone, or the database was: is it still the same table?
                failed = False
                backoff.reset()
                pause = self._options.alive_period
            except Exception as error:
                self._complain(f"silo {me} could not tell the membership table that it lives", error)
                failed = True
                pause = backoff.pause()

    async def persist(self, settle: Callable[[Decide], Awaitable[Table]], decide: Decide) -> Table:
        """Settle a decision, however long the table is away."""
        backoff = self._backoff()
        while True:
            try:
                return await settle(decide)
            except (MembershipUnavailable, TableLost) as error:
                self._complain("waiting for the membership table", error)
                await asyncio.sleep(backoff.pause())

    async def _read_at_last(self) -> None:
        backoff = self._backoff()
        while True:
            try:
                await self._session.read()
                return
            except TableLost:
                return  # `rebuild.py` looks after it, and often
            except Exception as error:
                self._complain("the membership view could not be refreshed", error)
                await asyncio.sleep(backoff.pause())

    async def _news_or_period(self) -> None:
        try:
            async with asyncio.timeout(self._options.refresh_period * self._rng.uniform(0.5, 1.0)):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _complain(self, message: str, error: Exception) -> None:
        away = isinstance(error, MembershipUnavailable)
        self._warnings.warning(message, error, "table_unreachable" if away else "")

    def _backoff(self) -> Backoff:
        return Backoff(self._options.backoff_first, self._options.backoff_limit, self._rng)
