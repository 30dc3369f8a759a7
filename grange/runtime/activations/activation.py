"""One activation of a grain, from activating to gone. It starts the requests of its mailbox as turns.

`catalog.py` creates an activation and inserts it before anything is awaited. Requests that arrive while it is
activating or closing wait. Requests that still wait when it is gone are refused, and their callers repeat them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from typing import Any, Protocol

from grange.aio.portions import in_portions
from grange.errors import StorageError
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.observability.counters import TypeFigures
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.grain_context import ActivationContext
from grange.runtime.activations.hosted import Built, HostedType
from grange.runtime.activations.invoker import run_turn
from grange.runtime.activations.mailbox import MAX_COUNTED, Mailbox
from grange.runtime.activations.phase import UNSAVED, Phase
from grange.runtime.activations.recent_calls import RecentCall, keep
from grange.runtime.activations.timers import GrainTimer
from grange.runtime.locator import Claims
from grange.runtime.requests.invocation import Invocation, cancelled, expired
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused

CLOSING_ADMIT_INTERVAL = 0.2
"""Seconds between two admissions of waiting requests to a closing activation. Each admits those that may run beside its
last turns. With immediate admission, a steady load could keep the activation from ever ending."""

_ACTIVE = Phase.ACTIVE

_NEVER_ACTIVE = {Reason.NOT_HERE: DeactivationCode.DUPLICATE, Reason.NOT_READY: DeactivationCode.STOPPING}
"""The kinds of ends of activations that were refused before they were active; of all others it is FAILED."""


class ActivationOwner(Protocol):
    """The owner of an activation: the catalog, or a pool of stateless workers."""

    deps: ActivationDeps
    claims: Claims

    def start_activation(self, activation: Activation) -> None:
        """Run `lifecycle.activate` in a task."""
        ...

    def on_active(self, activation: Activation) -> None:
        """The activation became active."""
        ...

    def start_deactivation(self, activation: Activation) -> None:
        """Run `lifecycle.deactivate` in a task."""
        ...

    def next_silo(self, grain_id: GrainId) -> SiloAddress | None:
        """The silo that callers should try next for this grain; None: they must locate it."""
        ...

    def continue_here(self, activation: Activation, memory: bytes) -> bool:
        """Continue an activation that did not move, in a new one with its memory. False: the silo takes no grains."""
        ...

    def on_gone(self, activation: Activation) -> None:
        """The activation is gone: remove it."""
        ...


class Activation(ActivationContext):
    """One activation of one grain, and the grain's context (`grain_context.py`).

    It is kept small, because a silo may hold millions. `turn` is the running request while no other one runs or waits.
    `first` is the one request that waits while it activates. As soon as there are two, or one waits for a turn,
    `mailbox` holds them all and decides. An idle activation has none of these.
    """

    __slots__ = (
        "activation_id", "built", "claimed", "first", "last_used", "mailbox", "owner", "phase", "reason", "turn",
        "version",
    )  # fmt: skip

    def __init__(self, grain_id: GrainId, hosted: HostedType, owner: ActivationOwner, now: float) -> None:
        self.grain_id = grain_id
        self.hosted = hosted
        hosted.live += 1
        hosted.figures.created += 1
        self.owner = owner
        self.activation_id = owner.deps.new_activation_id(now)
        self.version = 0
        self.claimed = False  # True while the directory holds its entry
        self.built: Built | None = None
        self.phase = Phase.ACTIVATING
        self.reason: DeactivationReason | None = None
        self.first: Invocation | None = None
        self.turn: Invocation | None = None
        self.mailbox: Mailbox[Invocation] | None = None
        self.timers: tuple[GrainTimer, ...] = ()
        self.last_used = now
        self.keep_until = -math.inf

    # --- requests -------------------------------------------------------------------------------------------------

    def ready(self, method: str) -> MethodPlan | None:
        """The plan of a method if nothing is in the way of its turn. None: `receive` decides on the request."""
        if self.phase is _ACTIVE and self.turn is None and self.mailbox is None:
            return self.hosted.plain.get(method)
        return None

    def start(self, call: Invocation, plan: MethodPlan | None) -> None:
        """Start the turn of a request: the activation is `ready`, or its mailbox lets it run. It checks the gate."""
        if self.mailbox is None:
            self.turn = call
        else:
            self.mailbox.start(call)
        call.holder = self
        deps = self.owner.deps
        task = call.task = deps.eager.start(run_turn(call, plan, self, deps.gate))
        if (self.turn is not None or self.mailbox is not None) and not task.done():  # else it has ended already
            deps.turns[call] = None

    def receive(self, call: Invocation) -> None:
        """Take one request for this grain: run it now, queue it, or refuse it."""
        now = self.owner.deps.gate.clock()
        if call.keeps_alive:
            self.last_used = now
        call.holder = self
        if self.phase in (Phase.ACTIVE, Phase.CLOSING):
            self._copy_options(call)
            hosted = self.hosted
            if (hosted.rates and not hosted.is_within_rates(call, now)) or not hosted.ask_predicate(self.grain, call):
                return
            if self.phase is Phase.ACTIVE and self._may_run(call):
                self._start(call)
                return
        elif self.phase is Phase.GONE:
            call.refuse(Refused(Reason.NOT_HERE, "the activation has ended"))
            return
        if self.phase is Phase.ACTIVATING and self.first is None and self.mailbox is None:
            self.first = call
        elif (mailbox := self._open_mailbox()).depth >= self.hosted.mailbox_limit:
            call.refuse(Refused(Reason.OVERLOADED, f"{mailbox.depth} requests wait already", retry_after=0.1))
            return
        else:
            mailbox.wait(call)
        call.arrived_at = call.arrived_at or now  # it may have waited for the activation before
        self.hosted.figures.waiting += 1

    @property
    def running(self) -> Collection[Invocation]:
        """The requests whose turns have started and not ended."""
        if self.mailbox is not None:
            return self.mailbox.running
        return () if self.turn is None else (self.turn,)

    @property
    def waiting(self) -> Collection[Invocation]:
        """The requests that wait for their turn, in order."""
        if self.mailbox is not None:
            return self.mailbox.waiting or ()
        return () if self.first is None else (self.first,)

    def take_waiting(self) -> list[Invocation]:
        """Remove and return all waiting requests, in order."""
        if self.mailbox is None:
            first, self.first = self.first, None
            taken = [] if first is None else [first]
        else:
            taken = self.mailbox.take_all()
            self._close_mailbox()
        self.hosted.figures.waiting -= len(taken)
        return taken

    def withdraw(self, call: Invocation) -> None:
        """Refuse a waiting request whose caller has gone, and free its place."""
        if self.first is call:
            self.first = None
        elif self.mailbox is None or not self.mailbox.drop(call):
            return
        self.figures.waiting -= 1
        self._close_mailbox()
        call.refuse(cancelled())

    def status(self, call: Invocation) -> str:
        """The progress of a request, for the caller's time-out message."""
        position = 0 if self.first is call else None
        if self.mailbox is not None:
            position = self.mailbox.position(call)
        if position is not None:
            place = f"{position + 1}" if position < MAX_COUNTED else f"{MAX_COUNTED + 1} or later"
            return f"queued at {place} of {len(self.waiting)} ({self.phase.name.lower()})"
        return f"running for {max(0.0, self.owner.deps.gate.clock() - call.started_at):.1f} s"

    def _open_mailbox(self) -> Mailbox[Invocation]:
        """The mailbox; if there is none, one that holds the running request, or the first one."""
        if self.mailbox is None:
            self.mailbox = Mailbox(self.hosted.options.reentrant)
            if self.turn is not None:
                self._copy_options(self.turn)
                self.mailbox.start(self.turn)
                self.turn = None
            if self.first is not None:
                self.mailbox.wait(self.first)
                self.first = None
        return self.mailbox

    def _close_mailbox(self) -> None:
        """Drop the mailbox if it has nothing to decide."""
        if self.mailbox is not None and self.mailbox.idle:
            self.mailbox = None

    def _next(self) -> Invocation | None:
        """Take the first waiting request that may run now out of the mailbox."""
        call = self.mailbox.next() if self.mailbox is not None else None
        self.figures.waiting -= call is not None
        return call

    def _may_run(self, call: Invocation) -> bool:
        return (self.turn is None and self.mailbox is None) or self._open_mailbox().may_run(call)

    def _copy_options(self, call: Invocation) -> None:
        """Copy the method's options, which decide beside which requests it may run, into the request."""
        plan = self.hosted.plans.get(call.method)
        if plan is not None:  # a timer tick has its own; the catalog has refused unknown methods
            options = plan.method.options
            call.read_only = options.read_only
            call.always_interleave = options.always_interleave
            call.in_thread = options.blocking

    def _start(self, call: Invocation) -> None:
        refused = expired(call, self.owner.deps.gate.clock())
        if refused is not None:
            call.refuse(refused)
            return
        self.start(call, self.hosted.plans.get(call.method))

    def end(self, call: Invocation, error: BaseException | None, now: float) -> None:
        """The turn of this request has ended `now`, with the error that left it."""
        if self.mailbox is None:
            self.turn = None
        else:
            self.mailbox.end(call)
        if call.keeps_alive:
            self.last_used = now
        deps = self.owner.deps
        if call.task is not None:  # it has been suspended
            deps.turns.pop(call, None)
        if deps.watched and call.entered:
            wait = call.started_at - call.arrived_at if call.arrived_at else 0.0
            text = "" if error is None else type(error).__qualname__
            keep(deps.watched, self.grain_id, RecentCall(call.method, now, wait, now - call.started_at, text))
        if error is not None and self.built is not None and self.built.lost_changes(error):
            self._give_up(self.built)
        if self.mailbox is not None or self.phase is not _ACTIVE:
            self.pump()

    def _give_up(self, built: Built) -> None:
        """End without another turn: memory holds changes that are not stored, and no caller may see them."""
        built.give_up("a change was not stored, and the error left its turn")
        self.deactivate(UNSAVED)
        self.reason = UNSAVED  # also if it was about to end for another reason

    def check_saved(self) -> None:
        """Raise StorageError if this activation was given up: a turn that ran meanwhile may have seen lost changes."""
        if self.reason is UNSAVED and self.built is not None and self.built.unsaved:
            raise StorageError(f"{self.grain_id} ran on a state that could not be stored; repeat the call")

    def pump(self) -> None:
        """Start the requests that may run now; start the deactivation when a closing activation has no turn left."""
        while self.phase is Phase.ACTIVE and (call := self._next()) is not None:
            self._start(call)
        self._close_mailbox()
        if self.phase is Phase.CLOSING and not self.running:
            self.phase = Phase.ENDING
            self.owner.start_deactivation(self)

    def refuse_waiting(self) -> None:
        """Refuse all waiting requests, because the silo is fenced; their callers try other silos."""
        self._refuse_all(self.owner.deps.gate.refusal())

    # --- lifecycle ------------------------------------------------------------------------------------------------

    @property
    def address(self) -> GrainAddress:
        """The entry that the directory stores for this activation."""
        return GrainAddress(self.grain_id, self.owner.deps.address, self.activation_id, self.version)

    @property
    def idle(self) -> bool:
        """Whether it is active and no request runs or waits."""
        return self.phase is Phase.ACTIVE and not self.running and not self.waiting

    def on_activated(self, built: Built) -> None:
        """Activation succeeded: start serving, the waiting requests first."""
        self.built = built
        self.phase = Phase.ACTIVE
        self.owner.on_active(self)
        calls = self.take_waiting()
        if len(calls) == 1 and (plan := self.ready(calls[0].method)) is not None:
            self.start(calls[0], plan)  # the usual case: only the request for which the activation was made
        else:
            for call in calls:
                self.receive(call)

    def deactivate(self, reason: DeactivationReason) -> None:
        """End after the running requests. Later requests wait; then they are refused, and their callers repeat them."""
        if self.phase is Phase.ACTIVE:
            self.phase = Phase.CLOSING
            self.reason = reason
            self.pump()
            self._schedule_admission()
        elif self.phase is Phase.ACTIVATING:
            self.reason = reason  # lifecycle.activate reads it and fails the activation

    def abandon(self, reason: DeactivationReason) -> None:
        """End although turns run: they are cancelled, and left behind if they go on. Their states store nothing more.

        Waiting requests go to the next activation.
        """
        if self.phase in (Phase.ACTIVE, Phase.CLOSING) and self.built is not None:
            self.phase = Phase.ENDING
            self.reason = reason
            self.built.give_up(reason.text)
            self.owner.start_deactivation(self)

    def _schedule_admission(self) -> None:
        if self.phase is Phase.CLOSING:
            asyncio.get_running_loop().call_later(CLOSING_ADMIT_INTERVAL, self._admit_while_closing)

    def _admit_while_closing(self) -> None:
        """Start waiting requests that may run beside the last turns.

        One of the last turns may depend, even through other grains, on a request that waits here.
        """
        while self.phase is Phase.CLOSING and self.reason is not UNSAVED:
            if (call := self._next()) is None:
                break
            self._start(call)
        self._schedule_admission()

    def kill(self, reason: str) -> bool:
        """End at once: no turn, timer or hook of this activation starts any more, `on_deactivate` included.

        `clear` must follow; marking is apart, because a silo kills all its activations in one moment. False: it was
        gone already.
        """
        if self.phase is Phase.GONE:
            return False
        self.phase = Phase.GONE
        self.reason = DeactivationReason(DeactivationCode.KILLED, reason)
        return True

    def close(self, refused: Refused) -> None:
        """Mark the activation gone, unless it was killed while it was activating or ending, and clear it."""
        if self.phase is not Phase.GONE:
            self.phase = Phase.GONE
            self.clear(refused)

    def clear(self, refused: Refused) -> None:
        """Free all that a gone activation holds, and refuse all waiting requests.

        The owner removes it first, so that a repeated call creates a new activation.
        """
        self.hosted.live -= 1
        failed = _NEVER_ACTIVE.get(refused.reason, DeactivationCode.FAILED)
        self.figures.end(failed if self.reason is None else self.reason.code)
        for timer in self.timers:
            timer.stop()
        self.owner.on_gone(self)
        self.built, self.timers = None, ()  # the collector may hold this activation for its idle time-out
        self.deps.moves.drop(self.activation_id, self.reason)
        self._refuse_all(refused)

    def _refuse_all(self, refused: Refused) -> None:
        """Refuse all waiting requests, many of them in portions."""
        in_portions(self.take_waiting(), lambda call: call.refuse(refused))

    @property
    def deps(self) -> ActivationDeps:
        """The parts that all activations of this silo share."""
        return self.owner.deps

    @property
    def figures(self) -> TypeFigures:
        """The figures of its grain type."""
        return self.hosted.figures

    @property
    def grain(self) -> Any:
        """The instance of the grain class."""
        assert self.built is not None, "a turn started before the grain was built"
        return self.built.grain
