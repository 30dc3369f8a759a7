"""Asks every silo for its figures: each second while a page is open, else each ten seconds. One for each process.

A silo that does not answer within its deadline keeps its last answer, with its age; the others are not kept waiting.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime

import msgspec

from grange import clock
from grange.client.questions import Question, ask_one
from grange.dashboard.changes import Changes, changes_between
from grange.dashboard.cluster import ASK_TIMEOUT, WatchedCluster, askable
from grange.dashboard.health import alarms_of
from grange.dashboard.journals import Journals
from grange.dashboard.live import Live
from grange.dashboard.past import LONGEST_SPAN, Past
from grange.dashboard.picture import Picture, SiloSeen
from grange.dashboard.points import Points, points_of
from grange.dashboard.views import Facts, Shown, hello_of, tick_of
from grange.membership.model.member import Member
from grange.observability.snapshot import Snapshot
from grange.proto.ids import SiloAddress
from grange.proto.inspection import FIGURES

WATCHED_INTERVAL = 1.0
"""Seconds between two rounds of questions while a page is open."""

IDLE_INTERVAL = 10.0
"""Seconds between two rounds while none is open, so that the charts of the next one begin with a past."""

RECENT = 10.0
"""Seconds, at least, that the figures of tables are about; at most twice as many."""


class _Watch:
    """What the collector knows of one silo."""

    def __init__(self, member: Member) -> None:
        self.seen = SiloSeen(member)
        self._bases: tuple[Snapshot | None, Snapshot | None] = (None, None)

    def answered(self, member: Member, snapshot: Snapshot, now: float) -> None:
        """The silo answered."""
        before = self.seen.snapshot
        second = None if before is None else changes_between(before, snapshot)
        self.seen = SiloSeen(member, snapshot, now, "", second, self._recent(snapshot))

    def failed(self, member: Member, problem: str) -> None:
        """The silo did not answer. Its last snapshot stays, with its age."""
        self.seen = SiloSeen(member, self.seen.snapshot, self.seen.at, problem)

    def _recent(self, snapshot: Snapshot) -> Changes | None:
        older, newer = self._bases
        if newer is None or newer.address != snapshot.address or snapshot.uptime < newer.uptime:
            self._bases = (None, snapshot)
        elif snapshot.uptime - newer.uptime >= RECENT:
            self._bases = (newer, snapshot)
            older = newer
        base = older or newer
        return None if base is None else changes_between(base, snapshot)


class Collector:
    """The newest answers of all silos, their past, and the streams that show them. `run` asks until it is cancelled."""

    def __init__(self, cluster: WatchedCluster, utc_now: Callable[[], datetime] = clock.utc_now) -> None:
        self._cluster = cluster
        self._utc_now = utc_now
        self._watches: dict[SiloAddress, _Watch] = {}
        self._points: Points = {}
        self._past = Past()
        self._asked = float("-inf")
        self._span = 1.0
        self._picture: Picture | None = None
        self._alarms = 0
        self._epoch = secrets.token_hex(4)
        self.live = Live(self._epoch, self._hello, self._tick)
        self.journals = Journals(cluster, self.live.publish_event)

    def picture(self) -> Picture:
        """The cluster as the newest answers show it."""
        view = self._cluster.view
        now = asyncio.get_running_loop().time()
        seen = tuple(
            msgspec.structs.replace(watch.seen, member=member) if watch else SiloSeen(member)
            for member in askable(view)
            for watch in (self._watches.get(member.address),)
        )
        return Picture(self._cluster.name, view, self._utc_now().timestamp(), now, seen)

    async def run(self) -> None:
        """Ask in rounds, and publish a tick after each."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._round()
            self._show(began)
            if self.live.is_watched:
                await asyncio.sleep(began + WATCHED_INTERVAL - loop.time())
            else:
                await self.live.wait_for_viewer(began + IDLE_INTERVAL)

    @property
    def dropped(self) -> int:
        """The number of series for which there was no room."""
        return self._past.dropped

    def alarms(self, picture: Picture) -> list[Facts]:
        """The alarms that hold now."""
        return alarms_of(picture, self.journals.memory.alarms)

    async def _round(self) -> None:
        """Ask all silos at once, for figures and for events."""
        members = askable(self._cluster.view)
        await asyncio.gather(self.journals.read_events(), *(self._ask(member) for member in members))
        living = {member.address for member in askable(self._cluster.view)}
        self._watches = {address: watch for address, watch in self._watches.items() if address in living}

    async def _ask(self, member: Member) -> None:
        watch = self._watches.setdefault(member.address, _Watch(member))
        answer = await ask_one(self._cluster.ask, member, Question(FIGURES, b"", Snapshot, ASK_TIMEOUT))
        if answer.answer is None:
            watch.failed(member, answer.problem)
        else:
            watch.answered(member, answer.answer, asyncio.get_running_loop().time())

    def _show(self, began: float) -> None:
        picture = self._picture = self.picture()
        self._points = points_of(picture)
        self._alarms = len(self.alarms(picture))
        self._span, self._asked = min(began - self._asked, LONGEST_SPAN), began
        self._past.add(picture.time, self._span, self._points)
        self.live.publish_tick()

    def _tick(self, view: str) -> object:
        return tick_of(self._picture or self.picture(), view, self._points, self._alarms, self._span)

    def _hello(self, view: str) -> object:
        return hello_of(self.picture(), view, self._points, self._past, Shown(self._epoch, self._alarms))
