"""The state machine of the self-fence: events go in, actions come out. Pure; `self_fence.py` runs it.

Theory. Another silo may take over the grains of this one only after this one was declared dead, and no silo votes
sooner than `vote_after` after it lost contact. A silo that starts no turn later than `fence_after` after its last
proof of membership has therefore stopped before any takeover (rule R5). A process that stood still may have been
declared dead meanwhile, so it needs a new proof before its next turn (rule R6). `proofs.py` defines the proofs; ADRs
0037 and 0038 argue both rules. All times are seconds of one monotonic clock, the gate's.

States:

    OPEN    turns start
    PAUSED  turns wait, because the process stood still
    FENCED  turns are refused, because the last proof is too old
    ENDED   turns are refused for good

Transitions (any other pair of state and event leaves the state as it is):

    from            condition, on a Tick or GateExamined                 to      actions
    OPEN            the last tick is older than `pause_gap`              PAUSED  PauseGate, StartProofSearch(afresh)
    PAUSED, FENCED  the same                                             same    PauseGate, StartProofSearch(afresh)
    OPEN            other silos are active, and the last proof is as     FENCED  FenceGate, StartProofSearch(afresh)
                    old as `fence_after`
    PAUSED          the same, and `GRACE_AFTER_PAUSE` is over            FENCED  FenceGate, StartProofSearch(afresh)
    FENCED          fenced for longer than `fence_limit` (Tick only)     ENDED   EndGate, EndProcess

    from            event                                                to      actions
    PAUSED, FENCED  TableRead or complete SweepAnswered with a proof     OPEN    OpenGate
                    that was asked for after the gate had closed
    any             Ended                                                ENDED   EndGate

A proof counts from the moment at which its question was asked. A question that was asked before the gate closed
proves nothing about the time after, so its answer cannot open the gate.

After `Ended`, a sweep under way fetches no newer view, and a late answer of the table is not noted.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import msgspec

from grange.membership.fencing.proofs import (
    Proofs,
    Sweep,
    heard_all,
    others_active,
    swept,
    watched_since,
    watchers_of,
)
from grange.membership.model.member import SiloStatus, View
from grange.membership.model.options import MembershipOptions
from grange.proto.ids import SiloAddress

SILENT_INTERVALS = 1.75
"""Probe intervals after which the probe of a watching silo is late; the silo then searches for another proof."""

GRACE_AFTER_PAUSE = 0.5
"""Seconds that a paused silo has to find a proof before its waiting turns are refused. One table read is usual."""


class Phase(enum.StrEnum):
    """The four states; the module's docstring has the table of transitions."""

    OPEN = "open"
    PAUSED = "paused"
    FENCED = "fenced"
    ENDED = "ended"


# --- events -----------------------------------------------------------------------------------------------------------


class Tick(msgspec.Struct, frozen=True):
    """The watchdog of the event loop ran."""


class GateExamined(msgspec.Struct, frozen=True):
    """A turn or the timer found that the gate's time is over. After a stop of the process a turn may be first."""


class Heard(msgspec.Struct, frozen=True):
    """The last contact by probe of each prober. The shell sends it before each other event."""

    contacts: Mapping[SiloAddress, float]


class ViewChanged(msgspec.Struct, frozen=True):
    """A newer view: other silos may watch this one, or none may be left that could take over its grains."""

    view: View


class TableRead(msgspec.Struct, frozen=True):
    """The table answered a read that began at `began`. `may_work`: the table shows this silo as a living member."""

    began: float
    may_work: bool


class SweepAnswered(msgspec.Struct, frozen=True):
    """Silos answered a sweep that began at `asked`.

    `others` are the silos asked. `answers` holds the view version of each that has answered. `complete`: no more
    answers come.
    """

    asked: float
    others: tuple[SiloAddress, ...]
    answers: Mapping[SiloAddress, int]
    complete: bool


class Ended(msgspec.Struct, frozen=True):
    """The silo stopped, or must end: no turn may start from now on."""

    reason: str


Event = Tick | GateExamined | Heard | ViewChanged | TableRead | SweepAnswered | Ended


# --- actions ----------------------------------------------------------------------------------------------------------


class PauseGate(msgspec.Struct, frozen=True):
    """Make turns wait: the process stood still for `stood_still` seconds."""

    stood_still: float


class FenceGate(msgspec.Struct, frozen=True):
    """Refuse turns: the last proof is `proof_age` seconds old."""

    proof_age: float


class EndGate(msgspec.Struct, frozen=True):
    """Refuse turns for good, for this reason."""

    reason: str


class ExtendGate(msgspec.Struct, frozen=True):
    """Let turns start up to and including this time."""

    until: float


class OpenGate(msgspec.Struct, frozen=True):
    """Start the waiting turns, and let turns start up to this time. `fenced_for`: seconds; None: it was a pause."""

    until: float
    fenced_for: float | None


class StartProofSearch(msgspec.Struct, frozen=True):
    """Search for a proof. `afresh`: replace a search that runs, because its questions are older than the closing."""

    afresh: bool


class SetTimer(msgspec.Struct, frozen=True):
    """Examine the gate at this time; infinity: no timer. It replaces the timer before it."""

    at: float


class FetchView(msgspec.Struct, frozen=True):
    """Fetch the view of `silo`, which is newer than the view of this silo."""

    silo: SiloAddress


class EndProcess(msgspec.Struct, frozen=True):
    """End the process: it was fenced for `fenced_for` seconds."""

    fenced_for: float


Action = PauseGate | FenceGate | EndGate | ExtendGate | OpenGate | StartProofSearch | SetTimer | FetchView | EndProcess


# --- the machine ------------------------------------------------------------------------------------------------------


class FenceState:
    """The fence of one silo. `step` is the only way to change it.

    It starts OPEN, without other silos, with the start itself (`now`) as its proof. The first Tick starts the search
    for pauses.
    """

    def __init__(self, me: SiloAddress, options: MembershipOptions, now: float) -> None:
        self._me = me
        self._options = options
        self._phase = Phase.OPEN
        self._ticked = math.inf  # no tick yet: the time before the first one is no pause
        self._closed_at = math.inf
        self._fenced_at: float | None = None
        self._view = View(0)
        self._others: tuple[SiloAddress, ...] = ()
        self._watched: dict[SiloAddress, float] = {}
        self._contacts: Mapping[SiloAddress, float] = {}
        self._unwatched_proof = -math.inf
        self._read = now
        self._swept = -math.inf
        self._table_answered = -math.inf

    @property
    def phase(self) -> Phase:
        """The current state."""
        return self._phase

    @property
    def fenced_at(self) -> float | None:
        """When the fence closed the gate; None while it has not, also after a pause."""
        return self._fenced_at

    @property
    def others(self) -> tuple[SiloAddress, ...]:
        """The active silos that could take over from this one: those that a sweep asks."""
        return self._others

    @property
    def until(self) -> float:
        """The last time at which a turn may start in an open gate."""
        return min(self._ticked + self._options.pause_gap, self._due())

    def needs_proof(self, now: float) -> bool:
        """Whether a search for a proof must continue: the gate is closed, or a watching silo is silent."""
        return self._phase is not Phase.ENDED and (self._phase is not Phase.OPEN or self._is_silent(now))

    def table_answered_since(self, began: float) -> bool:
        """Whether the table answered a read that began then or later. Then no sweep is needed: the table decides."""
        return self._table_answered >= began

    def step(self, now: float, event: Event) -> list[Action]:
        """Take one event, and return the actions for it in their order. `now` never goes back."""
        if isinstance(event, Ended):
            self._phase = Phase.ENDED
            return [EndGate(event.reason)]
        if isinstance(event, Heard):
            self._contacts = event.contacts
        elif isinstance(event, ViewChanged):
            self._on_view(now, event.view)
        elif self._phase is Phase.ENDED:
            return []
        elif isinstance(event, Tick):
            return self._on_tick(now)
        elif isinstance(event, GateExamined):
            return [*self._close_if_due(now), *self._extension()]
        elif isinstance(event, TableRead):
            return self._on_table_read(now, event)
        else:
            return self._on_sweep_answered(now, event)
        return []

    # --- closing --------------------------------------------------------------------------------------------------

    def _on_view(self, now: float, view: View) -> None:
        own = view.get(self._me)
        takes_part = own is not None and own.status in (SiloStatus.ACTIVE, SiloStatus.LEAVING)
        # A silo that loses all its watchers keeps the proof that they gave, so it has time to read the table.
        self._unwatched_proof = min(self._heard(), now)
        self._view = view
        self._others = others_active(self._me, view) if takes_part else ()
        watchers = watchers_of(self._me, view, self._options) if self._others else frozenset[SiloAddress]()
        self._watched = watched_since(self._watched, watchers, now)

    def _on_tick(self, now: float) -> list[Action]:
        actions = self._close_if_due(now)
        self._ticked = now
        actions += self._extension()
        if self.needs_proof(now):
            actions.append(StartProofSearch(afresh=False))
        if self._fenced_at is not None and now - self._fenced_at > self._options.fence_limit:
            self._phase = Phase.ENDED
            reason = f"silo {self._me} was fenced for too long and ends"
            return [*actions, EndGate(reason), EndProcess(now - self._fenced_at)]
        actions.append(SetTimer(math.inf if self._phase is Phase.FENCED else self._due()))
        return actions

    def _close_if_due(self, now: float) -> list[Action]:
        actions: list[Action] = []
        gap = now - self._ticked
        if gap > self._options.pause_gap:
            self._ticked = now
            self._closed_at = now
            if self._phase is Phase.OPEN:
                self._phase = Phase.PAUSED
            actions += PauseGate(gap), StartProofSearch(afresh=True)
        if self._phase is not Phase.FENCED and now >= self._due():
            self._phase = Phase.FENCED
            self._fenced_at = now
            self._closed_at = min(self._closed_at, now)
            actions += FenceGate(now - self._proofs().latest), StartProofSearch(afresh=True)
        return actions

    def _due(self) -> float:
        """When the fence must close the gate if no proof comes. Infinite while no other silo is active."""
        if not self._others:
            return math.inf
        due = self._proofs().latest + self._options.fence_after
        return due if self._phase is Phase.OPEN else max(due, self._closed_at + GRACE_AFTER_PAUSE)

    def _extension(self) -> list[Action]:
        return [ExtendGate(self.until)] if self._phase is Phase.OPEN else []

    # --- proofs ---------------------------------------------------------------------------------------------------

    def _heard(self) -> float:
        """The least recent contact among the watching silos; infinite while no other silo is active."""
        return heard_all(self._watched, self._contacts, self._unwatched_proof) if self._others else math.inf

    def _is_silent(self, now: float) -> bool:
        return now - self._heard() > SILENT_INTERVALS * self._options.probe_interval

    def _proofs(self) -> Proofs:
        return Proofs(self._heard(), self._read, self._swept)

    def _on_table_read(self, now: float, event: TableRead) -> list[Action]:
        self._table_answered = event.began
        if not event.may_work:
            return []
        self._read = max(self._read, event.began)
        return self._open_if_proven(now, event.began)

    def _on_sweep_answered(self, now: float, event: SweepAnswered) -> list[Action]:
        """Judge the answers so far. A closed gate opens only after all silos were asked: one may have a newer view."""
        if not event.complete and self._phase is not Phase.OPEN:
            return []
        verdict = swept(event.others, self._view.version, event.answers)
        if verdict is Sweep.MAJORITY:
            self._swept = max(self._swept, event.asked)
            return self._open_if_proven(now, event.asked)
        if verdict is Sweep.NEWER and event.complete:
            return [FetchView(max(event.answers, key=lambda silo: (event.answers[silo], silo)))]
        return []

    def _open_if_proven(self, now: float, asked: float) -> list[Action]:
        if self._phase is Phase.OPEN or asked < self._closed_at:
            return []
        fenced_for = None if self._fenced_at is None else now - self._fenced_at
        self._phase, self._fenced_at, self._closed_at = Phase.OPEN, None, math.inf
        return [OpenGate(self.until, fenced_for)]
