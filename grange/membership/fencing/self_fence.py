"""Runs the self-fence of one silo: feeds `fence_state.py` with events and applies its actions to the silo's gate.

The shell holds the watchdog, the timer and the search for proofs (reads of the table, sweeps over the other silos).
Every decision is in `fence_state.py`; `proofs.py` defines the proofs of membership.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from grange.aio.tasks import Tasks
from grange.errors import SelfFenced
from grange.membership.detection.liveness import TICK, Liveness
from grange.membership.fencing.fence_state import (
    Action,
    Ended,
    EndGate,
    EndProcess,
    Event,
    ExtendGate,
    FenceGate,
    FenceState,
    FetchView,
    GateExamined,
    Heard,
    OpenGate,
    PauseGate,
    Phase,
    SetTimer,
    StartProofSearch,
    SweepAnswered,
    TableRead,
    Tick,
    ViewChanged,
)
from grange.membership.fencing.proofs import may_work
from grange.membership.model.member import View
from grange.membership.model.options import MembershipOptions
from grange.membership.model.provider import Table
from grange.membership.table.transitions import view_of
from grange.observability import catalogue
from grange.observability.counters import MembershipFigures
from grange.observability.events import Events
from grange.proto.ids import SiloAddress
from grange.runtime.gate import Gate

log = logging.getLogger("grange.membership")

READ_TIMEOUT = 1.25
"""Seconds that one read of the table may take. With the head start below, a sweep is never older than `fence_after`."""

SWEEP_TIMEOUT = 0.75
"""Seconds that the other silos have to answer a sweep; all are asked at once."""

TABLE_HEAD_START = 0.25
"""Seconds that the table has to answer before the other silos are asked in its place."""

SEARCH_INTERVAL = 0.5
"""Seconds between two searches for proof of membership; upper bound of how long a silo that no probe reaches runs turns
after it was declared dead.
"""

TIMER_MARGIN = 1e-6
"""Seconds added to a timer: a loop calls its timers up to a nanosecond early, when the fence would not be due yet."""


@dataclass(frozen=True, kw_only=True)
class FenceDeps:
    """How a fence reaches the cluster. Made by `agent.py`.

    `read` reads the table. `ask_version` returns the version that another silo has seen, or None when it does not
    answer within the given seconds. `fetch` takes over the view of another silo. `hint` receives the newest version
    that any prober has seen, at each tick: the probe thread cannot call into the event loop itself. `end_process`
    receives the error with which this process must end. `figures` counts the fences.
    """

    read: Callable[[], Awaitable[Table]]
    ask_version: Callable[[SiloAddress, float], Awaitable[int | None]]
    fetch: Callable[[SiloAddress], Awaitable[None]]
    hint: Callable[[int], None]
    end_process: Callable[[SelfFenced], None]
    events: Events
    figures: MembershipFigures = field(default_factory=MembershipFigures)


class SelfFence:
    """Opens and closes one silo's gate. `agent.py` runs `run` as a task and calls `on_view` with each newer view."""

    def __init__(
        self, me: SiloAddress, gate: Gate, liveness: Liveness, deps: FenceDeps, options: MembershipOptions
    ) -> None:
        self._me = me
        self._gate = gate
        self._liveness = liveness
        self._deps = deps
        self._state = FenceState(me, options, gate.clock())
        self._tasks = Tasks()
        self._search: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def fenced(self) -> str:
        """For operators: for how long and why no turn starts; empty while the gate is not fenced."""
        since = self._state.fenced_at
        return "" if since is None else f"for {self._gate.clock() - since:.0f} s: {self._gate.fenced}"

    async def run(self) -> None:
        """Run the watchdog until cancelled, and examine the gate at each tick."""
        self._gate.on_expired(self._examine)
        try:
            while True:
                self._step(Tick())
                self._liveness.tick()
                self._deps.hint(self._liveness.newest)
                await asyncio.sleep(TICK)
        finally:
            self._liveness.stop()
            self._set_timer(None)
            await self._tasks.close()

    def on_view(self, view: View) -> None:
        """Take a newer view into account."""
        self._step(ViewChanged(view))

    def end(self, reason: str) -> None:
        """Refuse all turns for good: this silo stopped, or must end."""
        self._step(Ended(reason))

    def _examine(self) -> None:
        """Called by the timer, and by a turn that finds the gate's time over, as the first turn after a stop does."""
        self._step(GateExamined())

    def _step(self, event: Event) -> list[Action]:
        """Apply the actions for an event, except `FetchView`, which the sweep awaits. Returns all of them."""
        now = self._gate.clock()
        self._state.step(now, Heard(self._liveness.contacts()))
        actions = self._state.step(now, event)
        for action in actions:
            self._apply(action, now)
        return actions

    def _apply(self, action: Action, now: float) -> None:
        match action:
            case StartProofSearch(afresh):
                if afresh or self._search is None or self._search.done():
                    self._search = self._tasks.start(self._search_for_proof())
            case SetTimer(at):
                self._set_timer(at - now)
            case EndProcess(fenced_for):
                self._deps.end_process(self._too_long(fenced_for))
            case _:
                self._apply_to_gate(action)

    def _apply_to_gate(self, action: Action) -> None:
        match action:
            case ExtendGate(until):
                self._gate.extend(until)
            case PauseGate(seconds):
                self._gate.pause()
                self._deps.events.publish(catalogue.SiloStoodStill(seconds))
            case FenceGate(proof_age):
                self._fence(proof_age)
            case OpenGate(until, fenced_for):
                self._gate.open(until)
                if fenced_for is not None:
                    self._deps.events.publish(catalogue.FenceLifted(fenced_for))
            case EndGate(reason):
                self._gate.fence(reason)
            case _:
                pass

    # --- the search for a proof -----------------------------------------------------------------------------------

    async def _search_for_proof(self) -> None:
        """Search in rounds until the gate is open and every watching silo is heard, or a newer search replaces this."""
        loop = asyncio.get_running_loop()
        while self._search is asyncio.current_task() and self._state.phase is not Phase.ENDED:
            began = loop.time()
            await self._search_once()
            self._state.step(self._gate.clock(), Heard(self._liveness.contacts()))
            if not self._state.needs_proof(self._gate.clock()):
                return
            await asyncio.sleep(max(0.0, began + SEARCH_INTERVAL - loop.time()))

    async def _search_once(self) -> None:
        began = self._gate.clock()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_table(began))
            group.create_task(self._sweep(began))

    async def _read_table(self, began: float) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                table = await self._deps.read()
        except Exception as error:
            # `table/refresher.py` logs a table that fails. The other silos are asked after any exception.
            log.debug("silo %s found no proof of membership in the table: %r", self._me, error)
            return
        self._step(TableRead(began, may_work(self._me, view_of(table))))

    async def _sweep(self, began: float) -> None:
        """Ask the other active silos for the versions of their views, unless the table answers soon."""
        await asyncio.sleep(TABLE_HEAD_START)
        if self._state.table_answered_since(began):
            return
        others, asked = self._state.others, self._gate.clock()
        answers: dict[SiloAddress, int] = {}

        async def ask(silo: SiloAddress) -> None:
            version = await self._deps.ask_version(silo, SWEEP_TIMEOUT)
            if version is not None:
                answers[silo] = version
                self._step(SweepAnswered(asked, others, answers, complete=False))

        async with asyncio.TaskGroup() as group:
            for silo in others:
                group.create_task(ask(silo))
        for action in self._step(SweepAnswered(asked, others, answers, complete=True)):
            if isinstance(action, FetchView):
                await self._deps.fetch(action.silo)

    # --- acting ---------------------------------------------------------------------------------------------------

    def _set_timer(self, seconds: float | None) -> None:
        """Examine the gate after `seconds`. The next tick does so in any case, so a later timer is left out."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and seconds <= TICK:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds) + TIMER_MARGIN, self._examine)

    def _fence(self, proof_age: float) -> None:
        self._deps.figures.fences += 1
        self._gate.fence(f"silo {self._me} has had no proof of membership for {proof_age:.1f} s, so it starts no turns")
        self._deps.events.publish(catalogue.SelfFenced(proof_age))

    def _too_long(self, seconds: float) -> SelfFenced:
        return SelfFenced(
            f"silo {self._me} has started no turns for {seconds:.0f} s, because it could neither reach a majority "
            f"of its cluster nor read the membership table; start it again where it can"
        )
