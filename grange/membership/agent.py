"""One silo's part in the membership protocol: joins, tells that it lives, watches others, votes, leaves.

The shell around the pure files: `table/transitions.py` decides the changes of the table,
`detection/monitoring_rings.py` which silos to watch, `detection/detector.py` and `model/votes.py` which silo is dead.
Follows Orleans' extended membership protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

import msgspec

from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.errors import DeclaredDead, MembershipError, SelfFenced
from grange.membership.detection.deps import MembershipDeps
from grange.membership.detection.detector import ProbeResult
from grange.membership.detection.gossip import Peers
from grange.membership.detection.health_monitor import HealthMonitor
from grange.membership.detection.monitoring_rings import probed_by, relays
from grange.membership.detection.prober import Prober
from grange.membership.detection.voter import Voter
from grange.membership.fencing.self_fence import FenceDeps, SelfFence
from grange.membership.join import Join
from grange.membership.model.member import Member, SiloStatus, View, just_voted_dead
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import MembershipTable, Table
from grange.membership.table.janitor import Janitor
from grange.membership.table.rebuild import Others, Rebuild
from grange.membership.table.refresher import Refresher
from grange.membership.table.session import Decide, Session
from grange.membership.table.shared_read import SharedRead
from grange.membership.table.transitions import bury, given_up, leave, must_end
from grange.membership.table.views import Subscriber, Views
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets

log = logging.getLogger("grange.membership")


class MembershipAgent:
    """Built by `silo/startup.py`: `serve`, `start`, open the door, `join`; at the end `leave`, drain, `stop`.

    `me` is the row to write; its status and times are set here. While the table is away everything goes on with the
    last view; joins and deaths wait.
    """

    def __init__(
        self,
        table: MembershipTable,
        me: Member,
        deps: MembershipDeps,
        options: MembershipOptions,
    ) -> None:
        self._me = me
        self._table = table
        self._options = options
        self._liveness = deps.liveness
        self._now = deps.now
        self._views = Views()
        self._session = Session(table, self._see, deps.rng, me.address, deps.now)
        self._warnings = ThrottledLog(log)
        self._refresher = Refresher(self._session, self._views, options, deps.rng, self._warnings)
        self._peers = Peers(me.address, deps, self._refresher, options)
        self._voter = Voter(me.address, deps, lambda: self.view, self._settle, self._is_trusted, options)
        self._prober = Prober(self._peers, self._voter.suspect, options, deps.rng, lambda: self._liveness.score)
        self._health_monitor = HealthMonitor(me.address, deps, lambda: self.view, self._prober, options)
        self._janitor = Janitor(me.address, deps.now, self._settle, self._watch, options)
        self._session.when_read = self._look
        others = Others(self._settle, self._answers, self._peers.spread, lambda: self._refresher.heard)
        contact = FenceDeps(
            read=self._session.read,
            ask_version=self._peers.ask_version,
            fetch=self._peers.fetch,
            hint=self._refresher.hint,
            give_up=self._give_up,
        )
        self._guard = SelfFence(me.address, deps.gate, deps.liveness, contact, options)
        self._rebuild = Rebuild(self._session, others, options, deps.now)
        self._tasks = Tasks()
        self._shared_read = SharedRead(self._session.read, self._tasks)
        self._ended = asyncio.Event()
        self._end: DeclaredDead | SelfFenced | None = None
        self._joining = False
        self._stopping = False

    @property
    def me(self) -> SiloAddress:
        """This silo."""
        return self._me.address

    @property
    def view(self) -> View:
        """The newest view; version 0 and empty before `start`."""
        return self._views.current

    @property
    def status(self) -> SiloStatus | None:
        """This silo's status in the newest view; None: no row yet, or no more."""
        own = self.view.get(self.me)
        return own.status if own else None

    @property
    def probed(self) -> frozenset[SiloAddress]:
        """The silos that this one probes now."""
        return self._prober.watched

    @property
    def table(self) -> str:
        """How the membership table is, for people: "ok", "unreachable", or "lost" until it is rebuilt or back."""
        return self._session.standing

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have `subscriber` called with each newer view, once and in order. Returns what ends that."""
        return self._views.subscribe(subscriber)

    async def changed(self) -> View:
        """Wait for a newer view than the current one, and return the newest."""
        return await self._views.changed()

    async def wait_for(self, predicate: Callable[[View], bool]) -> View:
        """Wait until a view fits, and return it; the current one may."""
        return await self._views.wait_for(predicate)

    async def declared_dead(self) -> DeclaredDead | SelfFenced:
        """Wait until the others give this silo up, or it gives itself up after it was fenced for too long; returns the
        error with which its process must end.

        Never returns for a silo that leaves of its own accord.
        """
        while self._end is None:
            await self._ended.wait()
        return self._end

    def serve(self, targets: SystemTargets) -> None:
        """Offer what other silos ask: probes, and views after a change."""
        self._peers.serve(targets)

    async def start(self) -> None:
        """Read the table and keep up with it; this silo is not in it yet.

        Raises MembershipUnavailable when the table cannot be reached.
        """
        await self._session.read()
        self._tasks.start(self._refresher.keep_fresh())
        self._tasks.start(self._rebuild.run())
        self._tasks.start(self._health_monitor.run())
        self._tasks.start(self._janitor.sweep(self._session, self._table))
        self._tasks.start(self._guard.run())

    async def join(self) -> None:
        """Become active. The silo must answer probes before this is called.

        Raises JoinFailed when that is not possible within the join time-out, and DeclaredDead when the others
        gave this silo up meanwhile. After either, `stop`.
        """
        self._joining = True
        self._tasks.start(self._refresher.tell_alive(self.me, self._now))
        now = self._now()
        me = msgspec.structs.replace(self._me, status=SiloStatus.JOINING, started=now, alive=now, votes=())
        await Join(me, self._persist, self._peers, self._voter.suspect, self._options).run()
        log.info("silo %s is active in version %d", self.me, self.view.version)

    async def leave(self) -> None:
        """Say that this silo leaves: nobody places new grains here, calls still come. Then drain, and `stop`.

        Waits for the table at most the stop time-out; being declared dead meanwhile is no news any more.
        """
        self._stopping = True
        self._prober.watch(())
        if self._joining:
            await self._settle_in_time(partial(leave, me=self.me), "leave")

    async def stop(self) -> None:
        """Write this silo's own death, tell the others, end all tasks. Takes at most the stop time-out."""
        self._stopping = True
        try:
            self._prober.watch(())
            if self._joining:
                await self._settle_in_time(partial(bury, me=self.me), "write its own death")
        finally:
            await self.halt()

    async def halt(self) -> None:
        """End all tasks at once and tell nobody, as a crash would."""
        self._stopping = True
        self._guard.end(f"silo {self.me} has stopped")
        await self._prober.close()
        await self._janitor.close()
        await self._peers.close()
        await self._tasks.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def refresh(self, at_least: int | None = None) -> View:
        """Read the table now, unless the view is at version `at_least` already; returns the view. Callers share reads.

        Raises MembershipUnavailable or TableLost; the view then stays what it was.
        """
        if at_least is None:
            await self._shared_read.fresh()
        elif self.view.version < at_least:
            await self._shared_read.fresh(lambda: self.view.version >= at_least)
        return self.view

    @property
    def fenced(self) -> str:
        """Since when and why this silo starts no turns, for people; empty while it does."""
        return self._guard.fenced

    @property
    def doubts(self) -> tuple[int, int]:
        """This silo's local health score, and how many of its votes a live connection withheld."""
        return self._liveness.score, self._voter.withheld

    def answer_probe(self, question: bytes) -> bytes:
        """Answers a probe that came by the probe line: see `detection/probe_responder.py`. Called from any thread."""
        return self._peers.answer_probe(question)

    async def _answers(self, silo: SiloAddress) -> bool:
        return await self._peers.probe(silo, self._options.probe_timeout) is ProbeResult.ANSWERED

    def _is_trusted(self) -> bool:
        return self._session.reachable_for(self._options.stale_after)

    def _see(self, view: View) -> None:
        before = self.view
        had_row = before.get(self.me) is not None
        self._liveness.version = max(self._liveness.version, view.version)
        if not self._views.publish(view):
            return
        self._guard.on_view(view)
        over = (had_row or view.get(self.me) is not None) and must_end(view, self.me)
        if self._stopping and over:
            self._guard.end(f"silo {self.me} is dead")  # what waits for a turn is carried out elsewhere
        if self._stopping or self._end is not None:
            return
        if over:
            self._give_up(given_up(view, self.me))
        for silo in just_voted_dead(before, view):
            self._peers.tell_its_death(silo, self._session.current())
        self._watch()

    def _look(self, table: Table) -> None:
        if not self._stopping and self._end is None:
            self._janitor.look(table, self._is_trusted())

    def _watch(self) -> None:
        stale = self._janitor.stale
        watched = probed_by(self.me, self.view, self._now(), self._options, stale)
        self._prober.watch(watched, relays(self.me, self.view, stale))
        self._health_monitor.measure()

    def _give_up(self, error: DeclaredDead | SelfFenced) -> None:
        """This process must end; until then no turn starts in it."""
        if self._end is None:
            event = "declared_dead" if isinstance(error, DeclaredDead) else "fenced_too_long"
            log.error("%s", error, extra={"event": event})
            self._end = error
            self._guard.end(str(error))
            self._ended.set()

    async def _settle(self, decide: Decide) -> Table:
        before = self.view
        table = await self._session.settle(decide)
        if table.version.number > before.version:
            self._peers.spread(self._session.announcement(table), before)
        return table

    async def _persist(self, decide: Decide) -> Table:
        return await self._refresher.persist(self._settle, decide)

    async def _settle_in_time(self, decide: Decide, purpose: str) -> None:
        try:
            async with asyncio.timeout(self._options.stop_timeout):
                await self._persist(decide)
                await self._peers.flush()
        except TimeoutError:
            log.warning("silo %s had no time to %s: the others will find out by probes", self.me, purpose)
        except MembershipError as error:
            log.warning("silo %s could not %s: %s", self.me, purpose, error)
