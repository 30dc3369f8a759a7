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
from grange.counted import counted
from grange.errors import StorageError
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.grains.items import HIDDEN
from grange.grains.tick import Reminders
from grange.grains.work import Work
from grange.proto.ids import GrainAddress, GrainId, SiloAddress
from grange.proto.message import Reason
from grange.runtime.activations.deps import ActivationDeps
from grange.runtime.activations.enumeration import Enumeration
from grange.runtime.activations.hosted import Built, HostedType
from grange.runtime.activations.invoker import run_turn
from grange.runtime.activations.mailbox import Mailbox
from grange.runtime.activations.phase import UNSAVED, Phase, is_abandoned
from grange.runtime.activations.recent_calls import RecentCall, keep
from grange.runtime.activations.request_queue import RequestQueue
from grange.runtime.activations.timers import GrainTimer
from grange.runtime.locator import Claims
from grange.runtime.requests.invocation import Invocation, cancelled, expired
from grange.runtime.requests.plan import MethodPlan
from grange.runtime.requests.refusal import Refused

CLOSING_ADMIT_INTERVAL = 0.2
"""Seconds between two admissions of waiting requests to a closing activation. Each admits those that may run beside its
last turns. With immediate admission, a steady load could keep the activation from ever ending."""

_ACTIVE = Phase.ACTIVE
_ALWAYS_OVER = -math.inf  # one object for all activations: a silo may hold millions

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


class Activation(RequestQueue):
    """One activation of one grain, with its requests (`request_queue.py`) and its context (`grain_context.py`).

    It is kept small, because a silo may hold millions. `place` is its place in the catalog.
    """

    __slots__ = (
        "activation_id", "built", "claimed", "last_used", "owner", "place", "reason", "version",
    )  # fmt: skip

    def __init__(self, grain_id: GrainId, hosted: HostedType, owner: ActivationOwner, now: float) -> None:
        self.grain_id = grain_id
        self.hosted = hosted
        hosted.live += 1
        hosted.figures.created += 1
        self.owner = owner
        self.activation_id = owner.deps.new_activation_id(now)
        self.version = 0
        self.place = 0
        self.claimed = False  # True while the directory holds its entry
        self.built: Built | None = None
        self.phase = Phase.ACTIVATING
        self.reason: DeactivationReason | None = None
        self.first: Invocation | None = None
        self.turn: Invocation | None = None
        self.mailbox: Mailbox[Invocation] | None = None
        self.timers: tuple[GrainTimer, ...] = ()
        self.kept_reminders: Reminders | None = None
        self.last_used = now
        self.keep_until = _ALWAYS_OVER

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
        deps, built = self.owner.deps, self.built
        assert built is not None, "a turn started before the grain was built"
        task = deps.eager.start(run_turn(call, plan, self, built.grain, deps.gate))
        if (self.turn is not None or self.mailbox is not None) and not task.done():  # else it has ended already
            call.task = task
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
            if (self.phase is Phase.ACTIVE and self._may_run(call)) or self._winds_up(call):
                self._start(call)
                return
        elif self.phase is Phase.GONE:
            call.refuse(Refused(Reason.NOT_HERE, "the activation has ended"))
            return
        self._wait(call, now)

    def hold(self, call: Invocation) -> None:
        """Have a request wait that must not run here until this activation is gone. Then its caller repeats it."""
        call.holder, call.alone = self, True
        if self.phase is Phase.GONE:
            call.refuse(Refused(Reason.NOT_HERE, "the activation has ended"))
        else:
            self._wait(call, self.owner.deps.gate.clock())

    def _wait(self, call: Invocation, now: float) -> None:
        """Queue a request, or refuse it if too many wait."""
        if self.phase is Phase.ACTIVATING and self.first is None and self.mailbox is None:
            self.first = call
        elif (mailbox := self._open_mailbox()).depth >= self.hosted.mailbox_limit:
            waiting = counted(mailbox.depth, "request waits", "requests wait")
            call.refuse(Refused(Reason.OVERLOADED, f"{waiting} already", retry_after=0.1))
            return
        else:
            mailbox.wait(call)
        call.arrived_at = call.arrived_at or now  # it may have waited for the activation before
        self.hosted.figures.waiting += 1

    def withdraw(self, call: Invocation, interrupt: bool) -> None:
        """Refuse a waiting request whose caller has gone, and free its place; or interrupt its turn, if it may be."""
        if self.turn_away(call, cancelled()) or not interrupt:
            return
        plan = self.hosted.plans.get(call.method)
        if plan is not None and plan.method.options.cancellable:
            call.interrupt()

    def _winds_up(self, call: Invocation) -> bool:
        """Whether a closing activation serves this request for one of its last enumerations."""
        return self.phase is Phase.CLOSING and call.method.startswith(HIDDEN) and bool(self._enumerations)

    def _may_run(self, call: Invocation) -> bool:
        return (self.turn is None and self.mailbox is None) or self._open_mailbox().may_run(call)

    def _start(self, call: Invocation) -> None:
        refused = expired(call, self.owner.deps.gate.clock())
        if refused is None and call.interface_version and not self.hosted.serves(call.interface_version):
            refused = Refused(Reason.NOT_HERE, "its silo has another version of the interface")
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
            call.task = None  # else the call, the task and its context form a cycle
        if deps.watched and call.entered:
            wait = call.started_at - call.arrived_at if call.arrived_at else 0.0
            text = "" if error is None else type(error).__qualname__
            keep(deps.watched, self.grain_id, RecentCall(call.method, now, wait, now - call.started_at, text))
        if error is not None:
            self.failed(error)
        if self.mailbox is not None or self.phase is not _ACTIVE:
            self.pump()

    def failed(self, error: BaseException) -> None:
        """An error has left a turn, the method inside its filters, or the generator of a streamed method."""
        if self.built is not None and self.built.lost_changes(error):
            self._give_up(self.built)

    def _give_up(self, built: Built) -> None:
        """End without another turn: memory holds changes that are not stored, and no caller may see them.

        One that was killed or abandoned stores nothing as it is, and keeps that reason.
        """
        if self.phase is Phase.GONE or is_abandoned(self.reason):
            return
        built.give_up("a change was not stored, and the error left its turn")
        self.deps.enumerations.abandon(self, UNSAVED)
        self.deactivate(UNSAVED)
        self.reason = UNSAVED  # also if it was about to end for another reason

    async def begin_work(self) -> Work:
        """Begin a unit of work on its facets."""
        assert self.built is not None, "a turn started before the grain was built"
        return await self.hosted.begin_work(self.built)

    def check_saved(self) -> None:
        """Raise StorageError if this activation was given up: a turn that ran meanwhile may have seen lost changes."""
        given_up = self.reason is UNSAVED or is_abandoned(self.reason)
        if given_up and self.built is not None and self.built.unsaved:
            raise StorageError(f"{self.grain_id} ran on a state that could not be stored; repeat the call")

    def pump(self) -> None:
        """Start the requests that may run now; start the deactivation when a closing activation has no turn left."""
        while self.phase is Phase.ACTIVE and (call := self._next()) is not None:
            self._start(call)
        self._close_mailbox()
        if self.phase is Phase.CLOSING and not self.running and not self._enumerations:
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
    def _enumerations(self) -> Collection[Enumeration]:
        return self.deps.enumerations.of(self)

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
            self.deps.enumerations.wind_up(self, reason)
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
        self.deps.enumerations.abandon(self, self.reason)
        self.owner.on_gone(self)
        self.built, self.timers = None, ()  # the collector may hold this activation for its idle time-out
        self.deps.moves.drop(self.activation_id, self.reason or refused.message)
        self._refuse_all(refused)

    def _refuse_all(self, refused: Refused) -> None:
        """Refuse all waiting requests, many of them in portions."""
        in_portions(self.take_waiting(), lambda call: call.refuse(refused))

    @property
    def deps(self) -> ActivationDeps:
        """The parts that all activations of this silo share."""
        return self.owner.deps

    @property
    def grain(self) -> Any:
        """The instance of the grain class."""
        assert self.built is not None, "a turn started before the grain was built"
        return self.built.grain
