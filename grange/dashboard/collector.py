"""Asks every silo for its figures: each second while a page is open, else each ten seconds. One for each process.

A silo that does not answer within its deadline keeps its last answer, with its age; the others are not kept waiting.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from grange import clock
from grange.dashboard.cluster import ASK_TIMEOUT, WatchedCluster, ask_one, askable
from grange.dashboard.live import Live
from grange.dashboard.picture import Picture, SiloSeen
from grange.dashboard.views import hello_of, tick_of
from grange.membership.model.member import Member
from grange.proto.ids import SiloAddress
from grange.proto.management import STATUS, SiloState

log = logging.getLogger("grange.dashboard")

WATCHED_INTERVAL = 1.0
"""Seconds between two rounds of questions while a page is open."""

IDLE_INTERVAL = 10.0
"""Seconds between two rounds while none is open, so that the charts of the next one begin with a past."""


class Collector:
    """The newest answers of all silos, and the streams that show them. `run` asks until it is cancelled."""

    def __init__(self, cluster: WatchedCluster, utc_now: Callable[[], datetime] = clock.utc_now) -> None:
        self._cluster = cluster
        self._utc_now = utc_now
        self._seen: dict[SiloAddress, SiloSeen] = {}
        self.live = Live(secrets.token_hex(4), lambda view: hello_of(self.picture(), view), self._tick)

    def picture(self) -> Picture:
        """The cluster as the newest answers show it."""
        view = self._cluster.view
        now = asyncio.get_running_loop().time()
        seen = tuple(self._seen.get(member.address) or SiloSeen(member) for member in askable(view))
        return Picture(self._cluster.name, view, self._utc_now().timestamp(), now, seen)

    async def run(self) -> None:
        """Ask in rounds, and publish a tick after each."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._round()
            self.live.publish_tick()
            interval = WATCHED_INTERVAL if self.live.is_watched else IDLE_INTERVAL
            self.live.opened.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(began + interval):
                    await (asyncio.sleep(interval) if self.live.is_watched else self.live.opened.wait())

    async def _round(self) -> None:
        members = askable(self._cluster.view)
        await asyncio.gather(*(self._ask(member) for member in members))
        living = {member.address for member in askable(self._cluster.view)}
        self._seen = {address: seen for address, seen in self._seen.items() if address in living}

    async def _ask(self, member: Member) -> None:
        answer = await ask_one(self._cluster, member, (STATUS, b""), SiloState, ASK_TIMEOUT)
        before = self._seen.get(member.address) or SiloSeen(member)
        if answer.answer is None:
            self._seen[member.address] = SiloSeen(member, before.state, before.at, answer.problem)
        else:
            now = asyncio.get_running_loop().time()
            self._seen[member.address] = SiloSeen(member, answer.answer, now)

    def _tick(self, view: str) -> object:
        return tick_of(self.picture(), view)
