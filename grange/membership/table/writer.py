"""Changes the table, and announces each change to the other silos."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from grange.aio.backoff import Backoff
from grange.errors import DeclaredDead, JoinFailed, MembershipError, SelfFenced
from grange.membership.model.member import View
from grange.membership.model.messages import Announcement
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.session import Decide, Session
from grange.membership.table.troubles import Troubles
from grange.membership.table.views import Views

Announce = Callable[[Announcement, View], None]
"""Sends a view to its own members and to those of the view before; never blocks, never raises."""


VERDICTS = (JoinFailed, DeclaredDead, SelfFenced)
"""Errors that end the silo's membership; no later read of the table changes them."""


class TableWriter:
    """Makes every change that one silo makes to rows. Made by `agent.py`; `announce` is `Peers.announce`."""

    def __init__(
        self,
        session: Session,
        views: Views,
        announce: Announce,
        options: MembershipOptions,
        rng: random.Random,
        troubles: Troubles,
    ) -> None:
        self._session = session
        self._views = views
        self._announce = announce
        self._options = options
        self._rng = rng
        self._troubles = troubles

    async def settle(self, decide: Decide) -> Table:
        """Settle a decision (see `Session.settle`), and announce the new view if the table has one."""
        before = self._views.current
        table = await self._session.settle(decide)
        if table.version.number > before.version:
            self._announce(self._session.announcement(table), before)
        return table

    async def persist(self, decide: Decide) -> Table:
        """Settle a decision, and try again at growing intervals while the table cannot be used.

        It may be unreachable or lost, or one of its rows may be damaged until an operator repairs it. Raises only the
        verdicts of `decide`: JoinFailed and DeclaredDead.
        """
        backoff = Backoff(self._options.backoff_first, self._options.backoff_limit, self._rng)
        while True:
            try:
                return await self.settle(decide)
            except VERDICTS:
                raise
            except MembershipError as error:
                self._troubles.report("waiting for the membership table", error)
                await asyncio.sleep(backoff.pause())
