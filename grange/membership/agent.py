"""The membership agent of one silo: it joins, writes its alive time, probes other silos, votes and leaves.

The shell around the pure files: `table/transitions.py` decides the changes of the table,
`detection/monitoring_rings.py` which silos to watch, `detection/detector.py` and `model/votes.py` which silo is dead,
`fencing/fence_state.py` whether this silo may start turns. Follows Orleans' extended membership protocol.
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
from grange.errors import DeclaredDead, MembershipError, SelfFenced
from grange.membership.detection.crash_detector import CrashDetector
from grange.membership.detection.deps import MembershipDeps
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
from grange.membership.table.rebuild import Rebuild
from grange.membership.table.refresher import Refresher
from grange.membership.table.session import Decide, Session, SessionDeps
from grange.membership.table.shared_read import SharedRead
from grange.membership.table.timeline import changes, first_read
from grange.membership.table.transitions import (
    death_error,
    declare_dead,
    has_lost,
    leave,
    mark_dead,
    must_end,
    restate,
    set_cordon,
)
from grange.membership.table.troubles import Troubles
from grange.membership.table.views import Subscriber, Views
from grange.membership.table.writer import TableWriter
from grange.observability import catalogue
from grange.proto.ids import SiloAddress
from grange.runtime.system_target import SystemTargets

log = logging.getLogger("grange.membership")


class MembershipAgent:
    """Owns every task of the protocol. `silo/startup.py` calls `serve`, `start`, `join`; at the end `leave`, `stop`.

    `me` is the row to write; its status and times are set here. While the table is unreachable, the silo works
    with its last view; joins and deaths wait.
    """

    def __init__(self, table: MembershipTable, me: Member, deps: MembershipDeps, options: MembershipOptions) -> None:
        silo = me.address
        self._me, self._table = me, table
        self._options = options
        self._liveness, self.figures, self._now = deps.liveness, deps.figures, deps.now
        self._tasks = Tasks()
        self._ended = asyncio.Event()
        self._end: DeclaredDead | SelfFenced | None = None
        self._joining = self._stopping = self._restating = False

        # The table: each successful read calls `_on_table_read`, and each accepted view `_on_view`.
        self._events, troubles = deps.events, Troubles(deps.events)
        self._views = Views()
        session_deps = SessionDeps(deps.rng, deps.events, deps.uptime)
        self._session = Session(table, self._on_view, session_deps, silo, self._on_table_read)
        self._refresher = Refresher(self._session, self._views, options, deps.rng, troubles)
        self._peers = Peers(silo, deps, self._refresher, options)
        self._writer = TableWriter(self._session, self._views, self._peers.announce, options, deps.rng, troubles)
        self._janitor = Janitor(silo, self._session, self._writer, self._events, options)
        self._rebuild = Rebuild(self._session, self._writer, self._refresher, self._peers, self._events, options)
        self._shared_read = SharedRead(self._session.read, self._tasks)

        # Failure detection.
        self._voter = Voter(silo, deps, self._views, self._session, self._writer, options)
        self._prober = Prober(self._peers, self._voter.suspect, options, deps.rng, deps.liveness, deps.figures)
        self._crash_detector = CrashDetector(silo, deps, self._views, self._peers, self._prober, self._voter.suspect)
        self._peers.on_missed = self.on_contact_lost
        self._health_monitor = HealthMonitor(silo, deps, self._views, self._prober, self._session.ages, options)

        # The self-fence; it ends this silo through `_end_process` when it stays fenced for too long.
        fence_deps = FenceDeps(
            read=self._session.read,
            ask_version=self._peers.ask_version,
            fetch=self._peers.fetch,
            hint=self._refresher.hint,
            end_process=self._end_process,
            events=self._events,
            figures=deps.figures,
        )
        self._fence = SelfFence(silo, deps.gate, deps.liveness, fence_deps, options)

    # --- state ----------------------------------------------------------------------------------------------------

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
        """This silo's status in the newest view; None without a row."""
        own = self.view.get(self.me)
        return own.status if own else None

    @property
    def probed(self) -> frozenset[SiloAddress]:
        """The silos that this one probes now."""
        return self._prober.watched

    @property
    def table(self) -> str:
        """For operators: whether the table is "ok", "unreachable", or "lost" until it is rebuilt or back."""
        return self._session.condition

    @property
    def fenced(self) -> str:
        """For operators: for how long and why this silo starts no turns; empty while it starts turns."""
        return self._fence.fenced

    @property
    def incarnation(self) -> str:
        """The incarnation of the membership table; empty before the first read."""
        known = self._session.current()
        return "" if known is None else known.incarnation

    @property
    def score(self) -> int:
        """This silo's local health score: 0 (healthy) to 8."""
        return self._liveness.score

    @property
    def withheld(self) -> int:
        """Number of votes of this silo that a live connection withheld."""
        return self._voter.withheld

    def last_answer(self, silo: SiloAddress) -> float | None:
        """Seconds that the newest answer of a silo to a direct probe took; None before the first."""
        return self._prober.last_answer(silo)

    def missed(self, silo: SiloAddress) -> int:
        """Probes that this silo has missed in a row."""
        return self._prober.missed(silo)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have `subscriber` called with each newer view, once and in order. Returns the function that ends this."""
        return self._views.subscribe(subscriber)

    async def changed(self) -> View:
        """Wait for a newer view than the current one, and return the newest."""
        return await self._views.changed()

    async def wait_for(self, predicate: Callable[[View], bool]) -> View:
        """Wait until the current view satisfies the predicate, and return it. Returns at once if it does already."""
        return await self._views.wait_for(predicate)

    async def refresh(self, at_least: int | None = None) -> View:
        """Read the table now, unless the view is at version `at_least` already; returns the view. Callers share reads.

        Raises MembershipUnavailable or TableLost; the view then stays as it was.
        """
        if at_least is None:
            await self._shared_read.fresh()
        elif self.view.version < at_least:
            await self._shared_read.fresh(lambda: self.view.version >= at_least)
        return self.view

    async def declared_dead(self) -> DeclaredDead | SelfFenced:
        """Wait until this silo must end: it was declared dead, or was fenced for too long. Returns the error.

        Never returns for a silo that leaves in order.
        """
        while self._end is None:
            await self._ended.wait()
        return self._end

    def answer_probe(self, question: bytes) -> bytes:
        """Answer a probe from the probe line; see `ProbeResponder`. Called from any thread."""
        return self._peers.answer_probe(question)

    # --- start and stop -----------------------------------------------------------------------------------------------

    def serve(self, targets: SystemTargets) -> None:
        """Answer the other silos: probes, looks at silos that may have crashed, and views after a change."""
        self._peers.serve(targets)
        self._crash_detector.serve(targets)

    async def start(self) -> None:
        """Read the table, and keep the view fresh; this silo has no row yet.

        Raises MembershipUnavailable when the table cannot be reached.
        """
        await self._session.read()
        self._tasks.start(self._refresher.keep_fresh())
        self._tasks.start(self._rebuild.run())
        self._tasks.start(self._health_monitor.run())
        self._tasks.start(self._janitor.clean_up(self._table))
        self._tasks.start(self._fence.run())

    async def join(self) -> None:
        """Become active. The silo must answer probes before this is called.

        Raises JoinFailed when that is not possible within the join time-out, and DeclaredDead when other silos
        declared this silo dead meanwhile. Call `stop` after either.
        """
        self._joining = True
        now = self._now()
        me = msgspec.structs.replace(self._me, status=SiloStatus.JOINING, started=now, alive=now, votes=())
        self._tasks.start(self._refresher.write_alive(me, self._now))
        await Join(me, self._writer, self._peers, self._voter.suspect, self._options).run()
        log.info("silo %s is active in version %d", self.me, self.view.version)

    async def cordon(self, cordoned: bool) -> None:
        """Write whether this silo takes new grains. Waits for the table as long as it must.

        Raises DeclaredDead when other silos declared this silo dead meanwhile.
        """
        await self._writer.persist(partial(set_cordon, me=self.me, cordoned=cordoned))

    async def declare_dead(self, silo: SiloAddress) -> None:
        """Write the death of another silo, as an operator wants it. Waits for the table as long as it must.

        Raises DeclaredDead when other silos declared this silo dead meanwhile.
        """
        await self._writer.persist(partial(declare_dead, me=self.me, target=silo, now=self._now()))

    async def leave(self) -> None:
        """Become LEAVING: no silo places new grains here, calls still arrive. Drain afterwards, then `stop`.

        Waits for the table at most the stop time-out. A death that other silos declare from now on is ignored.
        """
        self._stopping = True
        self._prober.watch(())
        if self._joining and self.view.get(self.me) is not None:  # else its start was cancelled before its first write
            await self._persist_in_time(partial(leave, me=self.me), "leave")

    async def stop(self) -> None:
        """Write this silo's own death, announce it, end all tasks. Takes at most the stop time-out."""
        self._stopping = True
        try:
            self._prober.watch(())
            if self._joining:
                await self._persist_in_time(partial(mark_dead, me=self.me, run=self._me.run), "write its own death")
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End all tasks at once and announce nothing, as a crash would."""
        self._stopping = True
        self._fence.end(f"silo {self.me} has stopped")
        await self._prober.close()
        await self._crash_detector.close()
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

    # --- events ---------------------------------------------------------------------------------------------------

    def on_contact_lost(self, silo: SiloAddress) -> None:
        """Look whether a silo has crashed: it broke a connection, or missed a probe. Does not wait."""
        if not self._stopping and self._end is None:
            self._crash_detector.look(silo)

    def on_fenced_by_store(self) -> None:
        """End this silo: a store refused its change, because its death is recorded there. Called by the storage guards.

        The record proves the death, even if the membership table shows this silo as active: the table may have been
        rolled back to a version before the death (rule R4; ADR 0010).
        """
        if not self._stopping:
            reason = "a store refused its change, because its death is recorded there"
            self._end_process(DeclaredDead(f"silo {self.me} must end: {reason}; start it again as a new generation"))

    def _on_view(self, view: View) -> None:
        """A view was read or announced. It may be older than the current one."""
        before = self.view
        self._liveness.version = max(self._liveness.version, view.version)
        if not self._views.publish(view):
            return
        self.figures.changes += 1
        self.figures.deaths += len(just_voted_dead(before, view))
        for event in changes(before, view) if before.version else (first_read(view),):
            self._events.publish(event)
        self._fence.on_view(view)
        had_row = before.get(self.me) is not None or view.get(self.me) is not None
        must_stop = had_row and must_end(view, self.me)
        if self._stopping and must_stop:
            self._fence.end(f"silo {self.me} is dead")  # other silos may run its waiting turns from now on
        if self._stopping or self._end is not None:
            return
        if must_stop:
            self._end_process(death_error(view, self.me))
        for silo in just_voted_dead(before, view):
            self._peers.announce_death(silo, self._session.current())
        own = view.get(self.me)
        if own is not None and own.status is not SiloStatus.DEAD and has_lost(own, self._me) and not self._restating:
            self._restating = True
            self._tasks.start(self._restate())
        self._watch()

    def _on_table_read(self, table: Table) -> None:
        """The table was read, and is not lost."""
        if not self._stopping and self._end is None and self._janitor.on_table_read(table):
            self._watch()

    def _watch(self) -> None:
        """Probe the silos that the view assigns to this one."""
        stale = self._janitor.stale
        watched = probed_by(self.me, self.view, self._session.ages(), self._options, stale)
        self._prober.watch(watched, relays(self.me, self.view, stale))
        self._health_monitor.measure()

    def _end_process(self, error: DeclaredDead | SelfFenced) -> None:
        """Report that this process must end; no turn starts in it until then."""
        if self._end is None:
            kind = catalogue.DeclaredDead if isinstance(error, DeclaredDead) else catalogue.FencedTooLong
            self._events.publish(kind(str(error)))
            self._end = error
            self._fence.end(str(error))
            self._ended.set()

    async def _restate(self) -> None:
        """Complete this silo's own row."""
        try:
            await self._writer.persist(partial(restate, me=self._me))
        except DeclaredDead:
            return  # `_on_view` ends this silo when it reads that
        finally:
            self._restating = False

    async def _persist_in_time(self, decide: Decide, purpose: str) -> None:
        try:
            async with asyncio.timeout(self._options.stop_timeout):
                await self._writer.persist(decide)
                await self._peers.flush()
        except TimeoutError:
            log.warning("silo %s had no time to %s: the other silos find out by probes", self.me, purpose)
        except MembershipError as error:
            log.warning("silo %s could not %s: %s", self.me, purpose, error)
