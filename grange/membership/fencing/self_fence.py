"""Closes the silo's gate when nothing proves any more that the cluster counts on it, and opens it on the next proof.

Two reasons close it. The self-fence: no proof of contact for `fence_after`. The pause guard: this process has stood
still, so that it cannot know what happened meanwhile. What is a proof, `proofs.py` says; a proof opens the gate only if
the question was asked after the gate had closed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from grange.aio.tasks import Tasks
from grange.aio.throttled_log import ThrottledLog
from grange.errors import SelfFenced
from grange.membership.detection.liveness import TICK, Liveness
from grange.membership.fencing.proofs import (
    Proofs,
    Sweep,
    heard_all,
    may_work,
    others_active,
    swept,
    watched_since,
    watchers_of,
)
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.transitions import view_of
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate

log = logging.getLogger("grange.membership")

READ_PATIENCE = 1.5
"""Seconds that one read of the table may take: with the head start below, a sweep is never older than `fence_after`."""

SWEEP_PATIENCE = 0.75
"""Seconds that the other silos get to answer, all at once."""

HEAD_START = 0.25
"""Seconds that the table gets to answer before the other silos are asked in its place."""

ROUND = 0.5
"""Seconds between two looks for a proof; so long a silo that nobody hears may go on after it was declared dead."""

SILENT_INTERVALS = 1.25
"""Probe intervals after which a silo that watches this one is late, and a proof is looked for elsewhere."""

AFTER_PAUSE = 0.5
"""Seconds that a silo gets after a pause to find a proof before what waits is refused: usually it takes one read."""


@dataclass(frozen=True, kw_only=True)
class FenceDeps:
    """How a guard reaches the cluster. Made by `agent.py`.

    `read` reads the table; `ask_version` returns the version that another silo has seen, None when it does not answer
    in so many seconds; `fetch` has another silo tell its view; `hint` is told the newest version that any prober has
    seen (probes may come by a thread that can tell nobody); `give_up` is told the error with which this process must
    end.
    """

    read: Callable[[], Awaitable[Table]]
    ask_version: Callable[[SiloAddress, float], Awaitable[int | None]]
    fetch: Callable[[SiloAddress], Awaitable[None]]
    hint: Callable[[int], None]
    give_up: Callable[[SelfFenced], None]


class SelfFence:
    """The guard of one silo's gate. `run` is a task of its own; `see` is called with each newer view."""

    def __init__(
        self, me: SiloAddress, gate: Gate, liveness: Liveness, contact: FenceDeps, options: MembershipOptions
    ) -> None:
        self._me = me
        self._gate = gate
        self._liveness = liveness
        self._contact = contact
        self._options = options
        self._tasks = Tasks()
        self._warnings = ThrottledLog(log)
        self._alarms = ThrottledLog(log)
        self._view = View(0)
        self._others: tuple[SiloAddress, ...] = ()
        self._watched: dict[SiloAddress, float] = {}
        self._heard_last = -math.inf
        self._ticked = gate.clock()
        self._swept = -math.inf
        self._table_answered = -math.inf
        self._closed_at = math.inf
        self._fenced_at: float | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def fenced(self) -> str:
        """Why and for how long no turn starts, for people; empty: they do."""
        if self._fenced_at is None:
            return ""
        return f"for {self._gate.clock() - self._fenced_at:.0f} s: {self._gate.fenced}"

    async def run(self) -> None:
        """Watch over the gate until cancelled."""
        self._ticked = self._gate.clock()
        self._gate.guarded_by(self._examine)
        try:
            while True:
                self._tick()
                await asyncio.sleep(TICK)
        finally:
            self._liveness.end()
            if self._timer is not None:
                self._timer.cancel()
            await self._tasks.close()

    def see(self, view: View) -> None:
        """A newer view: other silos watch this one, or nobody is left who could take over from it."""
        own = view.get(self._me)
        working = own is not None and own.status in (SiloStatus.ACTIVE, SiloStatus.LEAVING)
        self._view = view
        # What was known until now counts on where nobody watches any more: there is time to look into the table.
        self._heard_last = min(self._heard(), self._gate.clock())
        self._others = others_active(self._me, view) if working else ()
        watchers = watchers_of(self._me, view, self._options) if self._others else frozenset[SiloAddress]()
        self._watched = watched_since(self._watched, watchers, self._gate.clock())

    def end(self, why: str) -> None:
        """This silo was given up, or has stopped: no turn starts here any more."""
        self._over = True
        self._gate.fence(why)

    # --- closing --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._examine()
        now = self._gate.clock()
        self._ticked = now
        self._liveness.tick()
        self._contact.hint(self._liveness.newest)
        if self._over:
            return
        self._gate.extend(self._until())
        if self._gate.closed or now - self._heard() > SILENT_INTERVALS * self._options.probe_interval:
            self._look_for_proof()
        if self._fenced_at is not None and now - self._fenced_at > self._options.fence_limit:
            self._give_up(now - self._fenced_at)
        self._set_timer(now)

    def _examine(self) -> None:
        """Close the gate if it must be closed, else say how long it may stay open. Called when that time is over too,
        which may be in the first turn after a stop, before any timer.
        """
        now = self._gate.clock()
        if self._over:
            return
        if now - self._ticked > self._options.pause_gap:
            self._pause(now)
        if now >= self._due():
            self._fence(now)
        self._gate.extend(self._until())

    def _pause(self, now: float) -> None:
        gap = now - self._ticked
        self._ticked = now
        self._gate.pause()
        self._closed_at = now
        self._look_for_proof(afresh=True)
        self._warnings.say(
            f"silo {self._me} stood still for {gap:.1f} s: a turn blocked its event loop, or the process or machine "
            f"was stopped; no turn starts until it knows that it was not given up meanwhile",
            "loop_blocked",
        )

    def _fence(self, now: float) -> None:
        if self._fenced_at is not None:
            return
        since = now - self._proofs().latest
        self._fenced_at = now
        self._closed_at = min(self._closed_at, now)
        self._gate.fence(
            f"silo {self._me} has no proof for {since:.1f} s that its cluster counts on it, so it starts no turns"
        )
        self._look_for_proof(afresh=True)
        self._alarms.error(
            f"silo {self._me} starts no turns: for {since:.1f} s it was not heard by all silos that watch it, could "
            f"not read the membership table, and could not reach a majority of the active silos",
            "self_fenced",
        )

    def _due(self) -> float:
        """When the fence is due, if no proof comes."""
        if not self._others:
            return math.inf
        due = self._proofs().latest + self._options.fence_after
        return max(due, self._closed_at + AFTER_PAUSE) if self._closed_at < math.inf else due

    def _until(self) -> float:
        return min(self._ticked + self._options.pause_gap, self._due())

    def _set_timer(self, now: float) -> None:
        """Between two ticks the fence has a timer of its own."""
        if self._timer is not None:
            self._timer.cancel()
        left = self._due() - now
        if left <= TICK and self._fenced_at is None:
            late = 1e-6  # a loop calls its timers up to a nanosecond early: the fence would not be due yet
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left) + late, self._examine)

    def _give_up(self, seconds: float) -> None:
        self.end(f"silo {self._me} was fenced for too long and ends")
        self._contact.give_up(
            SelfFenced(
                f"silo {self._me} has started no turns for {seconds:.0f} s, because it could neither reach a majority "
                f"of its cluster nor read the membership table; start it again where it can"
            )
        )

    # --- proofs ---------------------------------------------------------------------------------------------------

    def _heard(self) -> float:
        return heard_all(self._watched, self._liveness.contacts(), self._heard_last) if self._others else math.inf

    def _proofs(self) -> Proofs:
        return Proofs(self._heard(), self._liveness.last_read(), self._swept)

    def _look_for_proof(self, afresh: bool = False) -> None:
        """Start to look, unless somebody does; `afresh`: what is under way was asked before the gate closed."""
        if afresh or self._rounds is None or self._rounds.done():
            self._rounds = self._tasks.start(self._rounds_of_looking())

    async def _rounds_of_looking(self) -> None:
        """Look until the gate is open and everybody who watches this silo is heard again, or others look afresh."""
        loop = asyncio.get_running_loop()
        while not self._over and self._rounds is asyncio.current_task():
            began = loop.time()
            await self._look()
            silent = self._gate.clock() - self._heard() > SILENT_INTERVALS * self._options.probe_interval
            if not self._gate.closed and not silent:
                return
            await asyncio.sleep(max(0.0, began + ROUND - loop.time()))

    async def _look(self) -> None:
        began = self._gate.clock()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(began))
            group.create_task(self._sweep(began))

    async def _read(self, began: float) -> None:
        try:
            async with asyncio.timeout(READ_PATIENCE):
                table = await self._contact.read()
        except (
            Exception
        ) as error:  # `table/refresher.py` complains; however broken the table is, the others can be asked
            log.debug("silo %s looked for a proof in the membership table: %r", self._me, error)
            return
        self._table_answered = began
        if may_work(self._me, view_of(table)):
            self._liveness.table_read(began)
            self._proved(began)

    async def _sweep(self, began: float) -> None:
        """Ask the other active silos, if the table does not answer soon."""
        await asyncio.sleep(HEAD_START)
        if self._table_answered >= began:
            return  # whatever it said: nobody else knows better
        others, asked = self._others, self._gate.clock()
        answers: dict[SiloAddress, int] = {}

        async def ask(silo: SiloAddress) -> None:
            version = await self._contact.ask_version(silo, SWEEP_PATIENCE)
            if version is not None:
                answers[silo] = version
                if not self._gate.closed and swept(others, self._view.version, answers) is Sweep.MAJORITY:
                    self._swept = max(self._swept, asked)

        async with asyncio.TaskGroup() as group:
            for silo in others:
                group.create_task(ask(silo))
        verdict = swept(others, self._view.version, answers)  # a closed gate opens only when everybody was asked
        if verdict is Sweep.NEWER:
            await self._contact.fetch(max(answers, key=lambda silo: (answers[silo], silo)))
        elif verdict is Sweep.MAJORITY:
            self._swept = max(self._swept, asked)
            self._proved(asked)

    def _proved(self, asked: float) -> None:
        """Open the gate, if it was closed when the question was asked."""
        if self._over or not self._gate.closed or asked < self._closed_at:
            return
        was_fenced, self._fenced_at, self._closed_at = self._fenced_at, None, math.inf
        self._gate.open(self._until())
        if was_fenced is not None:
            seconds = self._gate.clock() - was_fenced
            log.info("silo %s starts turns again, after %.1f s", self._me, seconds, extra={"event": "fence_lifted"})
